"""Units on Ray: the records of one process, whatever is lost on the way."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import adakd
from adakd.config.loading import load_suite
from adakd.progress import Silent
from adakd.store import Store

ray = pytest.importorskip("ray")
from ray.cluster_utils import Cluster  # noqa: E402

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning",
                               "ignore::DeprecationWarning"),
]  # fmt: skip
CHANGING = {"seconds", "peak_bytes", "pairs"}
SUITE = {
    "judges": [],
    "controls.sft": False,
    "seeds": [1, 2],
    "training.save_every": 1,
    "evaluation.sampling": {"max_new_tokens": 8},
    "resources": {kind: {"cpus": 1} for kind in ("teacher", "teaching", "student", "score")},
}


def lasting(value: Any) -> Any:
    """Leave out what no two runs share."""
    if isinstance(value, dict):
        return {key: lasting(inner) for key, inner in value.items() if key not in CHANGING}
    return [lasting(inner) for inner in value] if isinstance(value, list) else value


def results(run: Path) -> dict[tuple[str, str], Any]:
    records = map(json.loads, (run / "results.jsonl").read_text().splitlines())
    return {(one["kind"], one["key"]): lasting(one) for one in records if one["kind"] != "run"}


class Told:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.stages: list[str] = []

    def stage(self, title: str, total: int) -> Any:
        self.stages.append(title)
        return Silent().stage(title, total)

    def note(self, text: str, style: str = "") -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory, write_suite) -> Path:
    folder = tmp_path_factory.mktemp("serial")
    adakd.run(load_suite(str(write_suite(folder, SUITE))), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes with a core each, in processes of this machine."""
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  # its name
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made
    ray.shutdown()
    made.shutdown()


def workers_of(run: Path) -> list[int]:
    """Return the processes of workers that are at a unit of a run."""
    text = str(run.resolve())
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = (process / "cmdline").read_bytes()
            files = [os.readlink(file) for file in (process / "fd").iterdir()]
        except OSError:
            continue
        if name.startswith(b"ray::RayWorker") and any(text in file for file in files):
            found.append(int(process.name))
    return found


def test_two_nodes_give_the_records_of_one_process(
    serial: Path, cluster: Cluster, tmp_path: Path
) -> None:
    """Though a worker is killed in the midst of a training."""
    run, killed, over = tmp_path / "run", list[int](), threading.Event()

    def kill() -> None:
        while not killed and not over.wait(0.02):
            if list(run.glob("cells/*/checkpoints/checkpoint-*")):
                for process in workers_of(run)[:1]:
                    os.kill(process, signal.SIGKILL)
                    killed.append(process)

    thread = threading.Thread(target=kill)
    thread.start()
    told = Told()
    try:
        adakd.run(Store(serial).suite(), run, told, on=f"ray:{cluster.address}")
    finally:
        over.set()
        thread.join()
    assert killed
    assert any("its worker is lost" in note for note in told.notes)
    assert results(run) == results(serial)
    assert not (run / "units").exists()
    assert not list(run.glob("cells/*/checkpoints"))
