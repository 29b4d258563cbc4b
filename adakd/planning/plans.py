"""Suite -> plan: the cells to train and the jobs to score, each under a key.

A key hashes all that decides a result (settings with their defaults, data, plug-ins, seed), so
finished work is never repeated and changed work is never mistaken for the old.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from adakd.adaptive import adaptive
from adakd.bridges import bridge
from adakd.config import Baseline, Config, LossTerms, Suite, resources
from adakd.config.hashing import Digests, digest
from adakd.config.scoring import DEFAULT_METRIC
from adakd.data.files import rows_of
from adakd.divergences import divergence
from adakd.errors import AdakdError, did_you_mean
from adakd.metrics import metric
from adakd.metrics.lm_eval import CHOICE
from adakd.planning.assignments import NEUTRAL, Assignment, assignment_of
from adakd.planning.cells import PLAIN, Cell, Job, Role
from adakd.planning.keys import (
    data_digest,
    deciding,
    model_digest,
    own_tasks,
    plugin_digests,
    source_digest,
    timing_key,
)
from adakd.planning.precision import with_precision
from adakd.planning.published import published_rows, published_win_rates
from adakd.policies import Policy, policy
from adakd.registry import Registry, Spec, load_plugins

METHOD_VERSION = 4
"""Rises when the same suite would no longer give the same numbers."""

Planned = tuple[Cell, str]
"""A cell and its recipe, the key of its training without the seed."""


class Plan(Config):
    """All that a suite asks for, in the order in which it is done."""

    suite: Suite
    assignments: tuple[Assignment, ...]
    """Every cell with the settings of its training."""
    jobs: tuple[Job, ...]
    """The scorings, those of a cell one after the other."""

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The cells alone."""
        return tuple(assignment.cell for assignment in self.assignments)

    def jobs_of(self, cell: Cell) -> tuple[Job, ...]:
        """Return the scorings of a cell; none of a cell of another plan."""
        return self._jobs_by_cell.get(cell.key, ())

    @cached_property
    def _jobs_by_cell(self) -> Mapping[str, tuple[Job, ...]]:
        found: dict[str, list[Job]] = {cell.key: [] for cell in self.cells}
        for job in self.jobs:
            found[job.cell.key].append(job)
        return {key: tuple(jobs) for key, jobs in found.items()}

    @property
    def teacher(self) -> Assignment:
        """The assignment of the teacher."""
        return next(one for one in self.assignments if one.cell.role == "teacher")

    def length(self, assignment: Assignment) -> tuple[int | None, int | None]:
        """Return the optimizer steps of a training, and the most tokens that it can train on.

        None where the rows of a hub data set must be counted first. Rows that the filters leave
        out are not known here, so epochs give at most this many steps.
        """
        training = assignment.training
        if training is None:
            return 0, 0
        rows = rows_of(self.suite.data.train, self.suite)
        if training.steps is None and rows is None:
            return None, None
        resolved = assignment.resolved(rows or 0)
        return resolved.steps, resolved.sequences * self.suite.data.max_tokens

    @cached_property
    def teacher_states_key(self) -> str:
        """The key of the record of the teacher's hidden states, which all students share."""
        return digest("teaching", sorted(cell.key for cell in self.cells), self.suite.timing)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The keys of all cells, scores and overhead measurements, and of the teacher's states."""
        adaptive = [one for one in self.assignments if one.cell.arm != PLAIN]
        timings = dict.fromkeys(timing_key(one.recipe, self.suite.timing) for one in adaptive)
        parts = (part.key for parts in (self.cells, self.jobs) for part in parts)
        return (*parts, *timings, self.teacher_states_key)


def plan(suite: Suite) -> Plan:
    """Return what `suite` asks for; pure but for reading the data files, and without torch.

    A precision of ``auto`` is resolved for this machine.

    Raises:
        AdakdError: an unknown part, a setting that a part does not take, a missing data file.
    """
    load_plugins(suite.plugins)
    suite = with_precision(suite)
    planned = _cells(suite)
    cells = tuple(cell for cell, _ in planned)
    by_key: dict[str, Cell] = {}
    for cell in cells:
        if (twin := by_key.setdefault(cell.key, cell)) is not cell:
            raise AdakdError(
                f"suite {suite.name!r}: {twin.method} and {cell.method} are the same: leave one out"
            )
    _check_names(suite, cells)
    _check_paper(suite, {cell.method for cell in cells})
    baselines = {str(baseline): baseline for baseline in suite.divergences}
    assignments = tuple(
        assignment_of(cell, recipe, suite, baselines.get(cell.divergence or ""))
        for cell, recipe in planned
    )
    return Plan(suite=suite, assignments=assignments, jobs=_jobs(suite, cells))


def _check_names(suite: Suite, cells: tuple[Cell, ...]) -> None:
    """Check that no two rows of the tables have one name.

    Raises:
        AdakdError: a label is what another label and an arm make.
    """
    first: dict[str, tuple[Any, ...]] = {}
    for cell in cells:
        parts = (cell.role, cell.divergence, cell.arm, cell.longer)
        if first.setdefault(cell.method, parts) != parts:
            raise AdakdError(
                f"suite {suite.name!r}: two methods would be called {cell.method!r}: "
                "rename a label, an arm or a student"
            )


def _check_paper(suite: Suite, methods: set[str]) -> None:
    """Check before any training that the published rows that the report will show exist.

    Raises:
        AdakdError: a table, a row, a judge or a method that does not exist.
    """
    for number, section in enumerate(suite.paper):
        where = f"suite {suite.name!r}, paper.{number}"
        try:
            if section.judge is None:
                published_rows(section)
            else:
                published_win_rates(section)
                resources.find("judges", section.judge)
        except AdakdError as error:
            raise type(error)(f"{where}: {error}") from None
        for method in section.rows:
            if method not in methods:
                raise AdakdError(f"{where}: no method {method!r}{did_you_mean(method, methods)}")
        if section.over is not None and section.over not in section.rows:
            near = did_you_mean(section.over, section.rows)
            raise AdakdError(f"{where}: over: no row {section.over!r}{near}")


def _cells(suite: Suite) -> tuple[Planned, ...]:
    """Return the controls, the arms of every divergence and seed, and students made elsewhere."""
    base, rows = model_digest(suite.teacher.base), data_digest(suite)
    sft = suite.teacher.sft and deciding(suite.teacher.sft)
    teacher = _cell("teacher", suite.teacher.seed, {"base": base, "sft": sft, "data": rows})
    # All students have the teacher's tokenizer and data; only some learn from it or start from it.
    # With a bridge they have their own tokenizer.
    own = "own" if suite.crosses else base
    shared = {"tokenizer": own, "data": rows, "student": model_digest(suite.student)}
    inherited = {"teacher": teacher[0].key}
    untrained = {**shared, **(inherited if suite.student.kind == "pruned" else {})}
    student = {**untrained, "training": deciding(suite.training)}
    learned = {**student, **inherited, "cache": suite.teacher.cache}
    cells = [teacher, _cell("untrained", suite.teacher.seed, untrained)]
    if suite.controls.sft or suite.controls.check:
        cells += [_cell("sft", seed, student) for seed in suite.seeds]
    plugins = plugin_digests(suite.plugins, of_metrics=False)
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
        source |= _generated(baseline, suite)
        between = _between(suite, baseline, where)
        taught = {**learned, **between, "divergence": method, "policy": source}
        for seed in suite.seeds:
            for arm in (PLAIN, *suite.arms_of(baseline)):
                wrapper = wrappers.get(arm)
                parts = {**taught, "adaptive": wrapper}
                cells.append(_cell("distilled", seed, parts, str(baseline), arm))
            if longer := suite.controls.longer:
                parts = {**taught, "longer": longer}
                cells.append(_cell("longer", seed, parts, str(baseline), longer=longer))
        if baseline == suite.checked:
            wrapper = {
                NEUTRAL.name: _resolved(adaptive, NEUTRAL, f"{suite.name!r}, controls.check")
            }
            parts = {**taught, "adaptive": wrapper}
            cells.append(_cell("neutral", suite.seeds[0], parts, str(baseline)))
    for one in suite.students:
        reads = shared["student"] if suite.crosses else base  # the students' tokenizer
        parts = {"tokenizer": reads, "model": model_digest(one.base)}
        cells.append(_cell("elsewhere", one.seed, parts, one.name))
    return tuple(cells)


def _generated(baseline: Baseline, suite: Suite) -> dict[str, Any]:
    """Return what decides, to rounding, the responses that models write for a training."""
    made: Policy = policy.build(baseline.policy)
    if not made.fresh and made.rewriting is None:
        return {}
    return {"engine": suite.evaluation.own_engine, "batch_size": suite.evaluation.batch_size}


def _between(suite: Suite, baseline: Baseline, where: str) -> dict[str, Any]:
    """Return what decides a loss besides its divergence; empty without a bridge or another term."""
    parts: dict[str, Any] = {}
    if (spec := suite.bridge_of(baseline)) is not None:
        place = f"{suite.name!r}, bridge" if baseline.bridge is None else f"{where}.bridge"
        parts["bridge"] = {"name": spec.name, "settings": _resolved(bridge, spec, place)}
    if suite.objective != LossTerms():
        parts["objective"] = suite.objective
    return parts


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
) -> Planned:
    key = digest(METHOD_VERSION, role, seed, parts)
    cell = Cell(role=role, seed=seed, divergence=label, arm=arm, longer=longer, key=key)
    return cell, digest(METHOD_VERSION, role, parts)


def _jobs(suite: Suite, cells: tuple[Cell, ...]) -> tuple[Job, ...]:
    """Return every cell x task x sampling seed x metric."""
    evaluation, data = suite.evaluation, suite.data
    common = (data.template, data.max_tokens, evaluation.batch_size, evaluation.precision)
    engine = evaluation.engine
    sampling = evaluation.sampling.model_dump(exclude={"seeds"})
    sampling["engine"] = engine if isinstance(engine, str) else engine.deciding
    seeds = evaluation.sampling.seeds if evaluation.sampling.do_sample else (None,)
    metrics = _metrics(suite)
    tasks: list[tuple[str, int | None, str, Mapping[str | None, tuple[Any, ...]]]] = []
    for name, source in evaluation.sets.items():
        asked = digest(common, sampling, source_digest(source, suite))
        tasks += [(name, seed, asked, metrics) for seed in seeds]
    for choice in evaluation.choices:
        asked = digest(common, choice, source_digest(evaluation.sets[choice.set], suite))
        tasks.append((choice.name, None, asked, {CHOICE: ()}))
    own, as_lm_eval = own_tasks(evaluation.include_path), common[2:]  # whatever the data
    for task in evaluation.tasks:
        tasks.append((task.name, None, digest(as_lm_eval, task, *own), {task.metric: ()}))
    answers = [Digests(name, seed, asked) for name, seed, asked, _ in tasks]
    return tuple(
        _job(cell, name, seed, digests(cell.key), metric_name, parts)
        for cell in cells
        for digests, (name, seed, _, its_metrics) in zip(answers, tasks, strict=True)
        for metric_name, parts in its_metrics.items()
    )


def _metrics(suite: Suite) -> Mapping[str | None, tuple[Any, ...]]:
    """Return, for each metric of generated answers, all that decides its values given the answers.

    Nothing for the default metric, which has no settings: its scores keep the key of the answers,
    which was theirs before there were other metrics, so that finished runs are not scored again.
    """
    plugins = plugin_digests(suite.plugins, of_metrics=True)
    parts: dict[str | None, tuple[Any, ...]] = {}
    for number, spec in enumerate(suite.evaluation.metrics):
        settings = _resolved(metric, spec, f"{suite.name!r}, evaluation.metrics.{number}")
        parts[spec.name] = (spec.name, settings, plugins) if spec.name != DEFAULT_METRIC else ()
    return parts


def _job(
    cell: Cell, task: str, seed: int | None, answers: str, name: str | None, parts: tuple[Any, ...]
) -> Job:
    key = digest(answers, *parts) if parts else answers
    return Job(cell=cell, task=task, metric=name, sampling_seed=seed, answers=answers, key=key)
