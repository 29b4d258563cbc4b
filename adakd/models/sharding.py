"""A model spread over the processes that train it together, by PyTorch's FSDP2.

Each process holds a part of every weight, and so of its gradient and of Adam's moments. The weights
of a decoder layer are whole while it computes; embeddings and LM head are from the forward pass to
the end of the backward pass, since the loss applies the head outside of the model.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers.pytorch_utils import Conv1D

from adakd.models import loading
from adakd.models.casting import weights_replaced

MATRICES = (nn.Linear, Conv1D)
"""Layers whose weights autocast casts, and nothing else reads."""


def shard(model: Any, precision: torch.dtype = torch.float32, field: str = "training") -> None:
    """Spread a model over all processes of the group, layer by layer, each on its own device.

    Every process calls this with the same model; from then on all of them run it equally often.

    Args:
        model: a causal language model, with adapters or without, on the CPU or on its device.
        precision: in which its matrices are gathered. It is that of autocast, which else would
            keep casts of all of them until the backward pass; all other weights keep theirs.
        field: the settings of the training, named in the error.

    Raises:
        AdakdError: the model has no stack of decoder layers.
    """
    base = _base(model)
    mesh = init_device_mesh(loading.device().type, (distributed.get_world_size(),))
    cast = MixedPrecisionPolicy(param_dtype=precision, reduce_dtype=torch.float32)
    for layer in loading.decoder_layers(base, f"{field}.shard"):
        if precision != torch.float32:
            matrices = list[nn.Module](p for p in layer.modules() if isinstance(p, MATRICES))
            fully_shard(matrices, mesh=mesh, mp_policy=cast)
        fully_shard(layer, mesh=mesh)
    embeddings, head = base.get_input_embeddings(), base.get_output_embeddings()
    if head is None or embeddings.weight is not head.weight:
        alone = fully_shard(embeddings, mesh=mesh)  # so that they are not held for the loss
        alone.set_unshard_in_backward(False)  # which does not read them
    fully_shard(base, mesh=mesh)
    for part in model.modules():
        part.register_load_state_dict_pre_hook(_split)


def is_sharded(model: Any) -> bool:
    """Return whether :func:`shard` has spread a model."""
    return isinstance(_base(model), FSDPModule)


def reshard(model: Any) -> None:
    """Free what a forward pass without gradient has gathered, so that all weights are parts."""
    for part in model.modules():
        if isinstance(part, FSDPModule):
            part.reshard()


def _base(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


# --- whole weights --------------------------------------------------------------------------


def whole_state(model: Any) -> dict[str, Tensor]:
    """Return the weights and buffers of a model, whole and on the CPU; all processes call this.

    Layers that share a weight share it here too. It is empty but in the first process.
    """
    reshard(model)
    found, whole = dict[str, Tensor](), dict[int, Tensor]()
    for name, own in model.state_dict(keep_vars=True).items():
        if id(own) not in whole:
            whole[id(own)] = _on_first(own)
        found[name] = whole[id(own)]
    return found if distributed.get_rank() == 0 else {}


def whole_optimizer_state(optimizer: Any) -> dict[str, Any]:
    """Return an optimizer's state as one process would have it; all processes call this.

    Its tensors are whole and on the CPU, and empty but in the first process.
    """
    own = optimizer.state_dict()
    state = {
        number: {
            name: _on_first(value) if isinstance(value, Tensor) else value
            for name, value in of.items()
        }
        for number, of in own["state"].items()
    }
    return {**own, "state": state}


def split_optimizer_state(state: Mapping[str, Any], optimizer: Any) -> dict[str, Any]:
    """Return this process's part of an optimizer's whole state.

    Args:
        state: as of one process, or of :func:`whole_optimizer_state`.
        optimizer: the one that it is for.
    """
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    split = {
        number: {name: _like(value, parameters[number]) for name, value in of.items()}
        for number, of in state["state"].items()
    }
    return {**state, "state": split}


def _on_first(own: Tensor) -> Tensor:
    """Return a tensor whole and on the CPU of the first process; in others without content."""
    whole = own.full_tensor() if isinstance(own, DTensor) else own
    return whole.detach().cpu() if distributed.get_rank() == 0 else torch.empty(0)


def _like(value: Any, own: Tensor) -> Any:
    """Return this process's part of a whole tensor of a parameter; anything else as it is."""
    if not isinstance(own, DTensor) or not isinstance(value, Tensor) or value.shape != own.shape:
        return value
    # No process sends: all have read the same.
    here = value.to(own.device)
    return distribute_tensor(here, own.device_mesh, own.placements, src_data_rank=None)


def _split(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Let a module load its parts of whole weights."""
    for name, own in module._parameters.items():
        if own is not None and isinstance(given := state.get(prefix + name), Tensor):
            state[prefix + name] = given if isinstance(given, DTensor) else _like(given, own)


# --- a whole copy for a while ---------------------------------------------------------------


def hollow_copy(model: Any) -> Any:
    """Return a copy of a model that has no weights yet, made before it is sharded."""
    empty = {
        id(own): nn.Parameter(torch.empty_like(own, device="meta"), requires_grad=False)
        for own in model.parameters()
    }
    hollow = copy.deepcopy(model, dict[int, Any](empty))
    for part in hollow.modules():
        for name, own in part._buffers.items():
            part._buffers[name] = None if own is None else own.to(loading.device())
    return hollow


@contextmanager
def gathered(model: Any, hollow: Any, precision: torch.dtype) -> Iterator[Any]:
    """Yield a whole copy of a sharded model, which one process may run alone.

    All processes enter the block, each with room for all weights in the precision.

    Args:
        model: the sharded model.
        hollow: its :func:`hollow_copy`.
        precision: of the copy's weights.
    """
    reshard(model)
    copies = {
        id(hollow.get_parameter(name)): nn.Parameter(_gathered(own, precision), requires_grad=False)
        for name, own in model.named_parameters()
    }
    with weights_replaced(hollow, copies):
        yield hollow


def _gathered(own: Tensor, precision: torch.dtype) -> Tensor:
    whole = own.detach()
    whole = whole.full_tensor() if isinstance(whole, DTensor) else whole
    return whole.to(precision)
