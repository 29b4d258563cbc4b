"""Units on Ray: the records of one process, whatever is lost on the way."""

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import yaml

import adakd
from adakd.cli import STOPPED
from adakd.config.loading import load_suite
from adakd.errors import AdakdError
from adakd.progress import Silent
from adakd.store import Store
from tests.execution import lasting

if not os.environ.get("ADAKD_RAY"):
    pytest.skip("starts clusters on this machine: tox -e ray", allow_module_level=True)

import jsonschema
import ray
from ray.cluster_utils import Cluster

pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"
)
CHANGING = lasting.CHANGING | {"pairs"}
CODES: dict[int, int] = {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}
SUITE = {
    "judges": [],
    "controls.sft": False,
    "seeds": [1, 2],
    "training.save_every": 1,
    "evaluation.sampling": {"max_new_tokens": 8},
    "resources": {kind: {"cpus": 1} for kind in ("teacher", "teaching", "student", "score")},
}


class Told:
    """Remembers notes, and acts once when a stage begins."""

    def __init__(self, title: str = "-", act: Callable[[], None] = lambda: None) -> None:
        self.notes: list[str] = []
        self.title, self.act = title, act

    def stage(self, title: str, total: int) -> Any:
        if title.startswith(self.title):
            self.title = "-"
            self.act()
        return Silent().stage(title, total)

    def note(self, text: str, style: str = "") -> None:
        self.notes.append(text)

    def ahead(self, text: str) -> None:
        pass


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory, write_suite) -> Path:
    folder = tmp_path_factory.mktemp("serial")
    adakd.run(load_suite(str(write_suite(folder, SUITE))), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head, and two nodes with a core each, in processes of this machine."""
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  # its name
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made
    ray.shutdown()
    made.shutdown()


@contextmanager
def beside(act: Callable[[], None], over: Event) -> Iterator[None]:
    """Let a function run beside the block, and tell it when that is over."""
    thread = Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


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
    run, killed, over = tmp_path / "run", list[int](), Event()

    def kill() -> None:
        while not killed and not over.wait(0.02):
            if list(run.glob("cells/*/checkpoints/checkpoint-*")):
                for process in workers_of(run)[:1]:
                    os.kill(process, signal.SIGKILL)
                    killed.append(process)

    told = Told()
    with beside(kill, over):
        adakd.run(Store(serial).suite(), run, told, on=f"ray:{cluster.address}")
    assert killed
    assert any("its worker is lost" in note for note in told.notes)
    assert lasting.results(run, CHANGING) == lasting.results(serial, CHANGING)
    assert not (run / "units").exists()
    assert not list(run.glob("cells/*/checkpoints"))


def test_ray_reads_the_description_of_a_cloud() -> None:
    file = Path(__file__).resolve().parents[2] / "docs" / "cluster" / "ray-up.yaml"
    schema = Path(ray.__file__).parent / "autoscaler" / "ray-schema.json"
    jsonschema.validate(yaml.safe_load(file.read_text()), json.loads(schema.read_text()))


def test_nodes_that_are_lost_lose_nothing(serial: Path, cluster: Cluster, tmp_path: Path) -> None:
    """All that work, in the midst of a training; others come in their place."""

    def move() -> None:
        for node in [*cluster.worker_nodes]:
            cluster.remove_node(node)
            cluster.add_node(num_cpus=1)

    run, told = tmp_path / "run", Told("train reverse_kl", move)
    adakd.run(Store(serial).suite(), run, told, on=f"ray:{cluster.address}")
    assert any("its worker is lost" in note for note in told.notes)
    assert lasting.results(run, CHANGING) == lasting.results(serial, CHANGING)


def test_errors_have_the_words_of_one_process(
    serial: Path, cluster: Cluster, tmp_path: Path
) -> None:
    """And the other workers end with it."""
    run, said = Path(shutil.copytree(serial, tmp_path / "run")), list[str]()
    lines = (run / "results.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if '"kind":"score"' not in line]
    (run / "results.jsonl").write_text("".join(kept))
    weights = next(run.glob("cells/*/model/model.safetensors"))
    content = weights.read_bytes()
    weights.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    for on in (None, f"ray:{cluster.address}"):
        with pytest.raises(AdakdError, match=r"model\.safetensors: its content has changed") as e:
            adakd.run(Store(run).suite(), run, on=on)
        said.append(str(e.value))
    assert said[0].replace(str(run), "") == said[1].replace(str(run), "")


def processes_of_ray(owner: int) -> list[int]:
    """Return the processes of the Ray that an owner has started: by their session folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            text = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if re.search(rb"session_[-_0-9]+_%d\b" % owner, text) and int(process.name) != owner:
            found.append(int(process.name))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_an_owner_that_is_stopped_goes_on(
    serial: Path, tmp_path: Path, write_suite, command, number: int
) -> None:
    """All that it has started ends by itself, and what was done is taken in."""
    file, run = write_suite(tmp_path, SUITE), tmp_path / "run"
    process = command("run", file, "--out", run, "--on", "ray", start_new_session=True)
    deadline = time.monotonic() + 300
    while not list(run.glob("cells/*/checkpoints/checkpoint-*")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    started = processes_of_ray(process.pid)
    assert len(started) >= 4  # a control store, a raylet and two workers
    if number == signal.SIGKILL:
        process.kill()
    else:  # a terminal sends Ctrl-C to all of its group
        os.killpg(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert (
        process.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    )
    assert number == signal.SIGKILL or err.splitlines()[-1] == f"adakd: {STOPPED}"
    end = time.monotonic() + 20
    while processes_of_ray(process.pid):
        assert time.monotonic() < end
        time.sleep(0.1)
    done = command("run", file, "--out", run, "--on", "ray")
    out, err = done.communicate()
    assert done.returncode == 0, out + err
    assert lasting.results(run, CHANGING) == lasting.results(serial, CHANGING)
    assert not (run / "units").exists()
