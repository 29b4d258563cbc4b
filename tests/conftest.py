"""What all tests share: no network, one thread, and a suite so small that a run takes seconds."""

import os

os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "LMEVAL_LOG_LEVEL": "ERROR",
    "COLUMNS": "200",
}

import copy
import json
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import HealthCheck, settings

if not torch.cuda.is_available():
    # Read where Triton is first imported, which peft does: so before every import of adakd.
    os.environ["TRITON_INTERPRET"] = "1"

from adakd.adaptive import adaptive, focus, indicator, temperature
from adakd.bridges import bridge
from adakd.config import Suite
from adakd.config.loading import load_suite
from adakd.data.puzzles import generate
from adakd.divergences import divergence
from adakd.judging import judge_backend
from adakd.metrics import metric
from adakd.models.loading import train_tokenizer
from adakd.planning import Cell, Plan, ResolvedAssignment, plan
from adakd.policies import policy
from adakd.store.records import TimingRecord, TrainingRecord
from adakd.training.context import RunContext
from adakd.training.fitting import train
from adakd.training.overhead import measure_overhead
from adakd.training.sequences import TrainingData
from adakd.training.teacher_states import TeacherStates

# A machine with other work is slow for reasons that no test is about.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

GONE: Any = ...
"""As the value of a change: take the field out."""


def _llama(hidden: int, layers: int) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "tie_word_embeddings": True,
        "max_position_embeddings": 96,
    }


MICRO: dict[str, Any] = {
    "description": "A run of seconds",
    "seeds": [1],
    "data": {
        "train": {"kind": "generated", "rows": 40},
        "template": "plain",
        "max_prompt_tokens": 64,
        "max_tokens": 96,
    },
    "teacher": {
        "base": {"kind": "scratch", "vocabulary": 400, "config": _llama(32, 2)},
        "sft": {"steps": 4, "batch_size": 4, "learning_rate": 0.01},
    },
    "student": {"kind": "scratch", "config": _llama(16, 1)},
    "divergences": ["reverse_kl"],
    "training": {"steps": 4, "batch_size": 4, "learning_rate": 0.01, "save_every": 2},
    "evaluation": {
        "sets": {"puzzles": {"kind": "generated", "split": "test", "rows": 6}},
        "choices": [{"set": "puzzles"}],
        "sampling": {"do_sample": False, "max_new_tokens": 8},
        "batch_size": 6,
    },
    "timing": {"pairs": 1, "warmup": 0},
    "judges": ["rule"],
}

THIRD_PARTY_WARNINGS = (
    # transformers renames an argument that its 5.20, our floor, knows by the old name alone
    "ignore:`(is_)?gradient_checkpointing` is deprecated:FutureWarning",
)


def pytest_configure(config: pytest.Config) -> None:
    for line in THIRD_PARTY_WARNINGS:
        config.addinivalue_line("filterwarnings", line)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name a parameter the same in every process: no address, no order of a set."""
    if isinstance(val, set | frozenset):
        return str(sorted(map(str, val)))
    if isinstance(val, dict):
        return str(val)
    if " at 0x" in str(val):
        return str(getattr(val, "__name__", type(val).__name__))
    return None


Changes = Mapping[str, Any]
WriteSuite = Callable[..., Path]
MakeSuite = Callable[..., Suite]


def changed(changes: Changes) -> dict[str, Any]:
    content = copy.deepcopy(MICRO)
    for path, value in changes.items():
        node, (*parents, last) = content, path.split(".")
        for part in parents:
            node = node.setdefault(part, {})
        if value is GONE:
            del node[last]
        else:
            node[last] = copy.deepcopy(value)
    return content


@pytest.fixture(scope="session")
def write_suite() -> WriteSuite:
    """Write the micro suite with ``{"a.b": value}`` changes into a folder and return its path."""

    def write(folder: Path, changes: Changes | None = None, name: str = "micro") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump(changed(changes or {}), sort_keys=False), encoding="utf-8")
        return file

    return write


@pytest.fixture
def suite_file(tmp_path: Path, write_suite: WriteSuite) -> WriteSuite:
    """Write the micro suite with changes into the test's own folder and return its path."""

    def write(changes: Changes | None = None, name: str = "micro") -> Path:
        return write_suite(tmp_path, changes, name)

    return write


@pytest.fixture
def make_suite(suite_file: WriteSuite) -> MakeSuite:
    """Load the micro suite with changes."""

    def make(changes: Changes | None = None) -> Suite:
        return load_suite(str(suite_file(changes)))

    return make


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep converted models and hashes out of the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


REGISTRIES = (
    divergence,
    policy,
    adaptive,
    focus,
    indicator,
    temperature,
    metric,
    judge_backend,
    bridge,
)
SHIPPED_PARTS = [dict(registry._parts) for registry in REGISTRIES]


@pytest.fixture(autouse=True)
def _plugins_of_one_test() -> Iterator[None]:
    """Forget the parts that a test, or a fixture of wider scope, registers."""
    yield
    for registry, parts in zip(REGISTRIES, SHIPPED_PARTS, strict=True):
        registry._parts.clear()
        registry._parts.update(parts)
    for name in [name for name in sys.modules if name.startswith("adakd_plugin_")]:
        del sys.modules[name]


@dataclass(frozen=True)
class Done:
    """A command of the command line that has ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Run the command line in this process, as its entry point does."""
    from adakd import cli

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["adakd", *map(str, arguments)])
        capsys.readouterr()
        with warnings.catch_warnings(), pytest.raises(SystemExit) as left:
            cli.main()
        said = capsys.readouterr()
        return Done(int(left.value.code or 0), said.out, said.err)

    return run


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, write_suite: WriteSuite) -> Path:
    """A small finished run without verdicts, in which nobody writes: copy it."""
    import adakd

    folder = tmp_path_factory.mktemp("finished")
    sampling = {"max_new_tokens": 8}
    changes = {"judges": [], "timing.pairs": 0, "evaluation.sampling": sampling}
    changes["training.learning_rate"] = 0.2  # so that answers differ, and there is one to judge
    adakd.run(load_suite(str(write_suite(folder, changes))), folder / "run")
    return folder / "run"


@pytest.fixture
def stub_benchmarks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let `adakd bench` measure nothing, on a made-up machine."""
    from adakd.benchmarks import Bench

    def stub(**changes: Any) -> None:
        def run(expression: str | None, progress: object) -> Bench:
            return Bench(
                datetime="2026-02-03T04:05:06+00:00",
                machine_info={"processor": "a made-up processor"},
                versions={},
                commit=None,
                others=None,
                environment={},
                expression=expression,
                benchmarks=(),
                **changes,
            )

        monkeypatch.setattr("adakd.commands.bench.run_benchmarks", run)

    return stub


Command = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="session")
def command() -> Command:
    """Start the command line in a process of its own."""

    def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
        code = "from adakd.cli import main; main()"
        return subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    return start


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return train_tokenizer([" ".join(row[1:3]) for row in generate(60, "train")], 400)


class Trainings:
    """The trainings of a suite in a folder, one by one; a new object is as after a restart."""

    def __init__(self, suite: Suite, folder: Path) -> None:
        self.plan: Plan = plan(suite)
        self.suite, self.folder = suite, folder
        self.context = RunContext(self.plan, folder)
        self.data = TrainingData(self.context)
        self.teacher = TeacherStates(self.data)

    def find(self, role: str = "distilled", arm: str = "plain") -> Cell:
        cells = (cell for cell in self.plan.cells if (cell.role, cell.arm) == (role, arm))
        return next(cells)

    def distilled(self) -> list[Cell]:
        return [cell for cell in self.plan.cells if cell.role == "distilled"]

    def assignment(self, cell: Cell) -> ResolvedAssignment:
        found = next(one for one in self.plan.assignments if one.cell == cell)
        return self.data.resolve(found)

    def train(self, cell: Cell, *on_step: Any, **options: Any) -> TrainingRecord:
        return train(self.assignment(cell), self.data, self.teacher, *on_step, **options)

    def load(self, cell: Cell) -> Any:
        return self.context.load(self.assignment(cell))

    def weights(self, cell: Cell) -> dict[str, torch.Tensor]:
        return dict(self.load(cell).state_dict())

    def measure(self, *on_step: Any) -> TimingRecord:
        arms = (self.assignment(self.find(arm=arm)) for arm in ("plain", "adakd"))
        return measure_overhead(*arms, self.data, self.teacher, *on_step)

    def home(self, cell: Cell) -> Path:
        return self.context.model_folder(cell)


@pytest.fixture(scope="session")
def trained_teachers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the teachers that tests share, by their keys."""
    return tmp_path_factory.mktemp("teachers")


OpenTrainings = Callable[..., Trainings]


@pytest.fixture
def trainings(tmp_path: Path, trained_teachers: Path) -> OpenTrainings:
    """Open the trainings of a suite, with its teacher trained: once for all tests that have it.

    The key of a cell says all that decides its weights, so teachers of one key are the same.
    """

    def make(suite: Suite, name: str = "run") -> Trainings:
        made = Trainings(suite, tmp_path / name)
        cell, is_trained = made.plan.teacher.cell, made.plan.teacher.training is not None
        if is_trained and not made.home(cell).exists():
            shared = Trainings(suite, trained_teachers)
            if not shared.home(cell).exists():
                shared.train(cell)
            shutil.copytree(shared.home(cell), made.home(cell))
        return made

    return make


LONG = "one two three four five six seven eight nine ten eleven twelve"
HUB_SETS = ("dolly", "self-inst", "Vicuna", "sinst", "uinst")


def _write_set(folder: Path, rows: list[dict[str, Any]], file: str = "valid.jsonl") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / file).write_text(lines, encoding="utf-8")
    (folder / "valid.txt").write_text(f"{LONG}\n" * len(rows))


def _hub_item(prompt: str) -> dict[str, Any]:
    return {"instruction": prompt, "input": "", "prompt": f"## {prompt}", "output": LONG}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder laid out as the hub has it, with each set that a shipped suite names."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    root = tmp_path / "hub"
    dolly = [
        {"instruction": f"Task {n}.", "context": "", "response": LONG, "category": "open_qa"}
        for n in range(40)
    ]
    public = root / "databricks/databricks-dolly-15k"
    _write_set(public, dolly, "databricks-dolly-15k.jsonl")
    (public / "valid.txt").unlink()
    raw = [_hub_item(f"Raw task {n}.") for n in range(1100)]
    _write_set(root / "MiniLLM/dolly", raw, "raw.jsonl")
    for place, name in enumerate(HUB_SETS):
        folder = root / "MiniLLM" / name
        rows = [_hub_item(f"Task {100 * place + n}.") for n in range(10)]
        if name in ("sinst", "uinst"):
            rows = [{**row, "output": [row["output"], "another"]} for row in rows]
            for length in ("0_2", "3_5", "6_10", "11_"):
                _write_set(folder / length, rows)
        else:
            _write_set(folder, rows)
    for folder in (public, *(root / "MiniLLM").iterdir()):
        (folder / "README.md").write_text("---\nlicense: cc-by-sa-3.0\n---\n# A set\n")
        (folder / ".gitattributes").write_text("*.jsonl filter=lfs\n")
    return root
