"""What a unit takes from the nodes of a cluster."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from adakd.errors import AdakdError
from adakd.planning.units import Unit

THREADS = 1
"""Cores and threads of PyTorch, for each device, of a unit whose ``cpus`` the suite leaves open."""
_GB = 1e9


class Node(NamedTuple):
    """A machine of a cluster."""

    id: str
    resources: Mapping[str, float]
    """``CPU``, ``GPU`` and ``memory`` in bytes, as Ray names them."""


class Place(NamedTuple):
    """What a worker has of a node."""

    gpus: float
    cpus: int
    memory: float = 0.0
    """GB that the node must have left."""
    node: str | None = None
    """The only node that will do; None is any."""


def place_of(unit: Unit, nodes: Sequence[Node]) -> Place:
    """Return what a worker for a unit has: for a timing all cores of one node.

    Raises:
        AdakdError: no node has as much.
    """
    takes, gpus = unit.takes, unit.takes.gpus
    if gpus is None:
        there = any(node.resources.get("GPU") for node in nodes)
        gpus = float(unit.devices) if there else 0.0
    place = Place(gpus, takes.cpus or THREADS * unit.devices, takes.memory or 0.0)
    fitting = [node for node in nodes if capacity(place, [node])]
    if not fitting:
        raise AdakdError(
            f"resources.{unit.kind}: no node of the cluster has {place.gpus:g} GPUs, "
            f"{place.cpus} cores and {place.memory:g} GB: ask for less, or add such a node"
        )
    if unit.kind != "timing":
        return place
    node = min(fitting, key=lambda node: node.id)  # the same one for all timings
    return place._replace(cpus=int(node.resources["CPU"]), node=node.id)


def capacity(place: Place, nodes: Sequence[Node]) -> int:
    """Return how many such workers the nodes have room for, if nothing else runs there."""
    asked = {"CPU": place.cpus, "GPU": place.gpus, "memory": place.memory * _GB}
    return sum(
        int(min(node.resources.get(name, 0) / part for name, part in asked.items() if part))
        for node in nodes
        if place.node in (None, node.id)
    )
