"""What units take from the nodes of a cluster."""

from typing import Any

import pytest

from adakd.errors import AdakdError
from adakd.execution.places import Node, Place, capacity, place_of
from adakd.planning import plan
from adakd.planning.units import Unit, units

GPUS = Node("a", {"CPU": 16.0, "GPU": 8.0, "memory": 64e9})
CORES = Node("b", {"CPU": 4.0, "memory": 8e9})
HEAD = Node("0", {"memory": 8e9})


@pytest.fixture
def unit(make_suite):
    def make(kind: str, **takes: Any) -> Unit:
        suite = make_suite({"resources": {kind: takes}} if takes else {})
        return next(unit for unit in units(plan(suite)) if unit.kind == kind)

    return make


def test_a_unit_takes_a_gpu_where_there_are_some_and_one_core(unit) -> None:
    assert place_of(unit("student"), [CORES, HEAD]) == Place(0.0, 1)
    assert place_of(unit("student"), [CORES, GPUS]) == Place(1.0, 1)
    assert place_of(unit("student", gpus=0), [GPUS]) == Place(0.0, 1)
    assert place_of(unit("student", gpus=0.25, cpus=3, memory=5), [GPUS]) == Place(0.25, 3, 5.0)


def test_a_shared_training_takes_a_gpu_for_each_device(make_suite) -> None:
    shared = {"training.devices": 2, "training.gradient_accumulation": 2}

    def place(nodes: list[Node], **takes: Any) -> Place:
        suite = make_suite({**shared, "resources": {"student": takes}})
        return place_of(next(u for u in units(plan(suite)) if u.devices == 2), nodes)

    assert place([GPUS]) == Place(2.0, 2)
    assert place([CORES]) == place([GPUS], gpus=0) == Place(0.0, 2)
    assert place([GPUS], gpus=2, cpus=8) == Place(2.0, 8)
    with pytest.raises(AdakdError, match=r"student\.gpus: 0\.5, but training\.devices: 2"):
        make_suite({**shared, "resources": {"student": {"gpus": 0.5}}})
    with pytest.raises(AdakdError, match=r"no node of the cluster has 2 GPUs"):
        place([Node("small", {"CPU": 8.0, "GPU": 1.0})])


def test_a_timing_has_the_cores_of_one_node_that_fits(unit) -> None:
    assert place_of(unit("timing"), [CORES, GPUS]) == Place(1.0, 16, node="a")
    assert place_of(unit("timing"), [CORES, HEAD]) == Place(0.0, 4, node="b")
    both = [CORES, GPUS, Node("c", CORES.resources)]
    timed = place_of(unit("timing", gpus=0), both)
    assert timed.node == place_of(unit("timing", gpus=0), both[::-1]).node
    assert capacity(timed, both) == 1


@pytest.mark.parametrize("takes", [{"gpus": 9}, {"cpus": 17}, {"memory": 65}])
def test_what_no_node_has_is_an_error(unit, takes: dict[str, Any]) -> None:
    with pytest.raises(AdakdError, match=r"resources\.student: no node of the cluster has"):
        place_of(unit("student", **takes), [GPUS, CORES])


@pytest.mark.parametrize(
    ("place", "count"),
    [
        (Place(0.0, 1), 20),
        (Place(1.0, 1), 8),
        (Place(0.25, 1), 16),  # the cores are short
        (Place(0.25, 1, 4.0), 16),
        (Place(0.0, 3, 8.0), 6),
        (Place(0.0, 3, node="b"), 1),
        (Place(0.0, 5, node="b"), 0),
        (Place(0.0, 1, node="gone"), 0),
    ],
)
def test_the_room_of_nodes(place: Place, count: int) -> None:
    assert capacity(place, [GPUS, CORES, HEAD]) == count
