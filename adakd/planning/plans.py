"""Suite -> cells and jobs: what will be trained and scored, each under a key.

A key hashes all that decides a result (settings with their defaults, data, plug-ins, seed), so a
finished part is never done twice and a changed one is never mistaken for the old. Nothing here
needs torch.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any, Literal

from pydantic_core import to_jsonable_python

from adakd.adaptive import adaptive
from adakd.bounds import Share
from adakd.config import (
    Baseline,
    Config,
    Hub,
    Jsonl,
    Pretrained,
    Pruned,
    Scratch,
    Source,
    Suite,
    Timing,
    Training,
)
from adakd.divergences import divergence
from adakd.errors import AdakdError, did_you_mean
from adakd.paper import published_rows
from adakd.policies import Policy, policy
from adakd.registry import Registry, Spec, load_plugins

METHOD_VERSION = 3
"""Rises when the same suite would no longer give the same numbers."""

Role = Literal["teacher", "untrained", "sft", "distilled", "longer", "file"]
"""A file holds answers that were made elsewhere; `divergence` is then the name of its method."""
SEEDED: tuple[Role, ...] = ("sft", "distilled", "longer")
"""Roles whose cells are trained once for every seed."""
PLAIN = "none"
"""The arm without a token-adaptive method."""


class Cell(Config):
    """One model to score: a student x divergence x arm x seed, or a control.

    The two cells of a pair differ in ``arm`` alone.
    """

    role: Role
    seed: int
    divergence: str | None = None
    """The label of its baseline: a divergence, with a data policy where it has one."""
    arm: str = PLAIN
    longer: Share = 0.0
    """Of the role ``longer``: the share of steps that it is trained for beyond its plain twin."""
    key: str
    """Hash of all that decides its weights."""

    @property
    def method(self) -> str:
        """The row of a table that this cell belongs to, such as ``reverse_kl + adakd``."""
        return method_name(self.role, self.divergence, self.arm, self.longer)

    @property
    def has_teacher(self) -> bool:
        """Whether it learns from the teacher."""
        return self.role in ("distilled", "longer")

    def __str__(self) -> str:
        """Return the method and, for a trained student, its seed."""
        return f"{self.method}, seed {self.seed}" if self.role in SEEDED else self.method


def method_name(role: str, divergence: str | None, arm: str, longer: float) -> str:
    """Return how a method is called, such as ``reverse_kl, 10 % longer``."""
    if divergence is None:
        return role
    if longer:
        return f"{divergence}, {100 * longer:g} % longer"
    return divergence if arm == PLAIN else f"{divergence} + {arm}"


class Job(Config):
    """One scoring of one cell: a task and, where answers are sampled, a sampling seed."""

    cell: Cell
    task: str
    sampling_seed: int | None
    key: str


class Plan(Config):
    """All that a suite asks for, in the order in which it is done."""

    suite: Suite
    cells: tuple[Cell, ...]
    jobs: tuple[Job, ...]

    def length(self, cell: Cell) -> tuple[int | None, int | None]:
        """Return a cell's optimizer steps, and the most tokens that it can train on.

        None where the rows of a hub data set must be counted first. Rows that the filters leave
        out are not known here, so epochs give at most this many steps.
        """
        training = training_of(cell, self.suite)
        if training is None:
            return 0, 0
        rows = rows_of(self.suite.data.train, self.suite)
        if training.steps is None and rows is None:
            return None, None
        steps = total_steps(training, rows or 0)
        return steps, steps * training.sequences * self.suite.data.max_tokens

    @property
    def teaching_key(self) -> str:
        """The key of what the teacher tells all students."""
        return digest("teaching", [cell.key for cell in self.cells], self.suite.timing)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of all cells, scores, overhead measurements and of the teacher's part."""
        adaptive = [cell for cell in self.cells if cell.arm != PLAIN]
        timings = (timing_key(cell, self.suite.timing) for cell in adaptive)
        parts = (part.key for parts in (self.cells, self.jobs) for part in parts)
        return (*parts, *timings, self.teaching_key)

    @property
    def teacher(self) -> Cell:
        """The cell of the teacher."""
        return next(cell for cell in self.cells if cell.role == "teacher")

    def parts(self, cell: Cell) -> tuple[Baseline | None, Spec | None]:
        """Return the baseline and the adaptive method of a cell; None where it has none."""
        baselines = {str(baseline): baseline for baseline in self.suite.divergences}
        return baselines.get(cell.divergence or ""), self.suite.arms.get(cell.arm)

    def policy(self, cell: Cell) -> Policy:
        """Return a new data policy for a training of a cell."""
        baseline, _ = self.parts(cell)
        made: Policy = policy.build(baseline.policy if baseline else Spec(name="offline"))
        return made


def plan(suite: Suite) -> Plan:
    """Return what `suite` asks for; pure but for reading the data files, and without torch.

    Raises:
        AdakdError: an unknown part, a setting that a part does not take, a missing data file.
    """
    load_plugins(suite.plugins)
    cells = _cells(suite)
    by_key: dict[str, Cell] = {}
    for cell in cells:
        if (twin := by_key.setdefault(cell.key, cell)) is not cell:
            raise AdakdError(
                f"suite {suite.name!r}: {twin.method} and {cell.method} are the same: leave one out"
            )
    _check_paper(suite, {cell.method for cell in cells})
    return Plan(suite=suite, cells=cells, jobs=_jobs(suite, cells))


def _check_paper(suite: Suite, methods: set[str]) -> None:
    """Find out before any training whether the report can set published rows beside ours.

    Raises:
        AdakdError: a table, a row or a method that does not exist.
    """
    for number, section in enumerate(suite.paper):
        where = f"suite {suite.name!r}, paper.{number}"
        try:
            published_rows(section)
        except AdakdError as error:
            raise type(error)(f"{where}: {error}") from None
        for method in section.rows:
            if method not in methods:
                raise AdakdError(f"{where}: no method {method!r}{did_you_mean(method, methods)}")
        if section.over is not None and section.over not in section.rows:
            near = did_you_mean(section.over, section.rows)
            raise AdakdError(f"{where}: over: no row {section.over!r}{near}")


def training_of(cell: Cell, suite: Suite) -> Training | None:
    """Return how a cell is trained, or None where it is not."""
    if cell.role == "untrained":
        return None
    if cell.role == "teacher":
        return suite.teacher.sft
    return _lengthened(suite.training, cell.longer)


def _lengthened(training: Training, share: float) -> Training:
    """Return a training with a share of steps more, its learning rate stretched over them."""
    if training.steps is not None:
        more = {"steps": _rounded_up(training.steps * (1 + share))}
        return training.model_copy(update=more)
    assert training.epochs is not None
    return training.model_copy(update={"epochs": training.epochs * (1 + share)})


def _cells(suite: Suite) -> tuple[Cell, ...]:
    """Return the controls, then every divergence x seed with its arms side by side."""
    sft = suite.teacher.sft and _deciding(suite.teacher.sft)
    teacher = {"teacher": _model(suite.teacher.base), "sft": sft, "data": _data_digest(suite)}
    untrained = {**teacher, "student": _model(suite.student)}
    student = {**untrained, "training": _deciding(suite.training)}
    learned = {**student, "cache": suite.teacher.cache}
    first = suite.seeds[0]
    cells = [
        _cell("teacher", first, teacher),
        _cell("untrained", first, untrained),
    ]
    if suite.controls.sft:
        cells += [_cell("sft", seed, student) for seed in suite.seeds]
    plugins = [file_digest(file) for file in suite.plugins]
    wrappers = {
        arm: {spec.name: _resolved(adaptive, spec, f"{suite.name!r}, arms.{arm}")}
        for arm, spec in suite.arms.items()
    }
    for number, baseline in enumerate(suite.divergences):
        where = f"{suite.name!r}, divergences.{number}"
        spec, data = baseline.divergence, baseline.policy
        settings = _resolved(divergence, spec, where)
        method = {"name": spec.name, "settings": settings, "plugins": plugins}
        source = {"name": data.name, "settings": _resolved(policy, data, where)}
        taught = {**learned, "divergence": method, "policy": source}
        for seed in suite.seeds:
            for arm in (PLAIN, *suite.arms_of(baseline)):
                wrapper = wrappers.get(arm)
                parts = {**taught, "adaptive": wrapper}
                cells.append(_cell("distilled", seed, parts, str(baseline), arm))
            if longer := suite.controls.longer:
                parts = {**taught, "longer": longer}
                cells.append(_cell("longer", seed, parts, str(baseline), longer=longer))
    return tuple(cells)


def _resolved(registry: Registry[Any], spec: Spec, where: str) -> dict[str, Any]:
    try:
        return registry.resolve(spec)
    except AdakdError as error:
        raise type(error)(f"suite {where}: {error}") from None


def _cell(
    role: Role,
    seed: int,
    parts: Mapping[str, Any],
    label: str | None = None,
    arm: str = PLAIN,
    longer: float = 0.0,
) -> Cell:
    key = digest(METHOD_VERSION, role, seed, parts)
    return Cell(role=role, seed=seed, divergence=label, arm=arm, longer=longer, key=key)


def _jobs(suite: Suite, cells: tuple[Cell, ...]) -> tuple[Job, ...]:
    """Return every cell x task x sampling seed."""
    evaluation, data = suite.evaluation, suite.data
    common = (data.template, data.max_tokens, evaluation.batch_size, evaluation.precision)
    sampling = evaluation.sampling.model_dump(exclude={"seeds"})
    seeds = evaluation.sampling.seeds if evaluation.sampling.do_sample else (None,)
    tasks: list[tuple[str, int | None, str]] = []
    for name, source in evaluation.sets.items():
        asked = digest(common, sampling, source_digest(source, suite))
        tasks += [(name, seed, asked) for seed in seeds]
    for choice in evaluation.choices:
        asked = digest(common, choice, source_digest(evaluation.sets[choice.set], suite))
        tasks.append((choice.name, None, asked))
    own = _own_tasks(evaluation.include_path)
    tasks += [(task.name, None, digest(common, task, *own)) for task in evaluation.tasks]
    return tuple(
        Job(cell=cell, task=name, sampling_seed=seed, key=digest(cell.key, name, seed, asked))
        for cell in cells
        for name, seed, asked in tasks
    )


def timing_key(adaptive: Cell, timing: Timing) -> str:
    """Return the key of the overhead measurement of an adaptive cell against its plain twin."""
    return digest("timing", adaptive.key, timing)


def rows_of(source: Source, suite: Suite) -> int | None:
    """Return how many rows a source has, or None where only the hub knows."""
    if source.kind == "generated":
        rows = source.rows
    elif (file := local_file(source, suite)) is not None:
        with file.open("rb") as lines:
            rows = sum(1 for line in lines if line.strip())
    else:
        return source.limit
    return min(rows, source.limit or rows)


def local_file(source: Jsonl | Hub, suite: Suite) -> Path | None:
    """Return the file that a source is read from, or None where it comes from the hub.

    Raises:
        AdakdError: the file does not exist.
    """
    if source.kind == "jsonl":
        file = source.path
    elif suite.data.folder is not None and source.local is not None:
        file = suite.data.folder / source.local
    else:
        return None
    if not file.is_file():
        raise AdakdError(
            f"suite {suite.name!r}: data file {file} does not exist; "
            "mend its path in the suite, or set data.folder"
        )
    return file


def total_steps(training: Training, rows: int, devices: int = 1) -> int:
    """Return the optimizer steps of a training on `rows` sequences."""
    if training.steps is not None:
        return training.steps
    assert training.epochs is not None
    batches = ceil(rows / (training.batch_size * devices))
    return _rounded_up(ceil(batches / training.gradient_accumulation) * training.epochs)


def _rounded_up(steps: float) -> int:
    """Return whole steps: 100 * 1.1 are 110 of them, whatever floating point makes of it."""
    return ceil(round(steps, 6))


# --- keys -----------------------------------------------------------------------------------


def digest(*parts: Any) -> str:
    """Return a short hash of settings: stable over processes and machines."""
    text = json.dumps(to_jsonable_python(parts), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(file: Path) -> str:
    """Return the hash of a file's content.

    Raises:
        AdakdError: the file cannot be read.
    """
    try:
        found = file.stat()
        return _content_digest(file.resolve(), found.st_size, found.st_mtime_ns)
    except OSError as error:
        raise AdakdError(f"{file}: {error.strerror}") from None


@cache
def _content_digest(file: Path, size: int, changed: int) -> str:
    """Return the hash of a file's content, read again only where size or time changed."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def _own_tasks(folder: Path | None) -> list[str]:
    """Return the hashes of the task files of a suite's own folder."""
    files = sorted(folder.rglob("*")) if folder else []
    return [file_digest(file) for file in files if file.suffix in {".yaml", ".py", ".jsonl"}]


def source_digest(source: Source, suite: Suite) -> str:
    """Return a hash of a source: of its content where it is a file, so that it may move."""
    file = None if source.kind == "generated" else local_file(source, suite)
    if file is None:
        return digest(source)
    chosen = source.model_dump(include={"limit", "min_response_words"})
    return digest(file_digest(file), chosen)


def _data_digest(suite: Suite) -> str:
    settings = suite.data.model_dump(exclude={"train", "folder"})
    return digest(settings, source_digest(suite.data.train, suite))


def _model(base: Pretrained | Scratch | Pruned) -> Any:
    """Return what decides a base model: of a folder its files, so that it may move."""
    if not isinstance(base, Pretrained) or not (folder := Path(base.model)).is_dir():
        return base
    files = sorted(file for file in folder.iterdir() if file.is_file())
    return base.gguf_file, [(f.name, f.stat().st_size, _first_bytes(f)) for f in files]


def _first_bytes(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.sha256(stream.read(1 << 20)).hexdigest()


def _deciding(training: Training) -> dict[str, Any]:
    """Return the settings of a training that its result depends on."""
    return training.model_dump(exclude={"save_every", "report_to"})
