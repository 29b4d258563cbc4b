"""The processes that train one model together, as ``torch.distributed`` numbers them."""

from typing import TypeVar

from torch import distributed

T = TypeVar("T")


def count() -> int:
    """Return the number of processes that train together; 1 for one alone."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Return the number of this process among them, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def of_first(value: T) -> T:
    """Return the value that the first process passes, in all of them; any object."""
    if count() == 1:
        return value
    values = [value]
    distributed.broadcast_object_list(values)
    return values[0]
