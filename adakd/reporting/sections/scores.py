"""Scores: methods x tasks with means and spreads, for the report and for the terminal."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

import numpy as np
from rich.table import Table
from rich.text import Text

from adakd.console import shown
from adakd.metrics.coverage import unseen_line
from adakd.reporting import formatting
from adakd.reporting.index import Index, Method
from adakd.reporting.scorings import Scoring
from adakd.reporting.sections.base import Context
from adakd.store import Store
from adakd.store.records import TaskRecord

Spread = Literal["training", "sampling"]


@dataclass(frozen=True)
class Score:
    """One cell of a table: a mean with its spread, or the reason why there is none."""

    mean: float | None = None
    std: float | None = None
    """Over the seeds in the table's caption; None where there is only one."""
    seeds: int = 0
    """Training seeds behind the mean."""
    items: int = 0
    unscored: int = 0
    """Items without a value, over all seeds."""
    status: Literal["complete", "partial", "failed", "missing"] = "missing"
    note: str = ""


@dataclass(frozen=True)
class ScoreTable:
    """Rows are methods; the last column of the instruction sets is their mean."""

    columns: tuple[str, ...]
    units: tuple[str, ...]
    rows: tuple[tuple[Method, tuple[Score, ...]], ...]
    spread: Spread
    """The seeds behind the ±: training seeds if there are several, else sampling seeds."""
    seeds: int
    """How many of them."""
    samplings: int
    """Sampling seeds of each training; 0 where nothing is sampled."""
    best: tuple[float | None, ...]
    """The best mean of the distilled students in each column; None where all are equal."""

    @property
    def varied(self) -> str:
        """The seeds behind each mean, such as ``mean ± std over 3 training seeds``."""
        samplings = formatting.counted(self.samplings, "sampling seed")
        if self.spread == "sampling" and self.seeds > 1:
            return f"mean ± std over {samplings} of one training seed"
        each = {0: "", 1: ", one sampling seed"}.get(self.samplings, f", {samplings} averaged")
        if self.seeds > 1:
            return f"mean ± std over {formatting.counted(self.seeds, 'training seed')}{each}"
        return f"one training seed{each}"

    @property
    def paired(self) -> str:
        """The seeds that differences of two rows are paired over."""
        trainings = self.seeds if self.spread == "training" else 1
        each = (
            f", each at {formatting.counted(self.samplings, 'sampling seed')}"
            if self.samplings
            else ""
        )
        return f"paired over {formatting.counted(trainings, 'training seed')}{each}"


@dataclass(frozen=True)
class Scores:
    """The tables of the page."""

    sets: ScoreTable
    tasks: ScoreTable
    unscored: int
    """Item scores that could not be computed, over all tables."""
    has_values: bool
    """Whether any item has a score."""
    unseen: tuple[str, ...] = ()
    """A line for each column with references that its metric cannot see."""
    overlap_kept: int = 0
    """Training rows that equal an evaluation item and were trained on."""


def scores(context: Context) -> Scores:
    """Return the scores of all methods on all tasks."""
    records = [record for of in context.index.scores.values() for record in of]
    return Scores(
        sets=context.once(instruction_sets),
        tasks=context.once(other_tasks),
        unscored=sum(record.unscored for record in records),
        has_values=any(bool(np.isfinite(record.values).any()) for record in records),
        unseen=unseen_lines(context.index),
        overlap_kept=max((r.overlap_kept for r in context.index.trainings.values()), default=0),
    )


def unseen_lines(index: Index) -> tuple[str, ...]:
    """Return how many references of each column have no token for its metric, where any has."""
    found = {(r.task, r.metric): r for of in index.scores.values() for r in of if r.unseen}
    return tuple(
        unseen_line(record.task, record.metric, record.title, record.unseen, record.n)
        for record in found.values()
    )


def instruction_sets(context: Context) -> ScoreTable:
    """Return the table of the instruction sets in all metrics, with the mean in the first one."""
    return score_table(context.index, context.index.of_sort("answers"), average=True)


def set_means(context: Context) -> ScoreTable:
    """Return the table of the instruction sets in the first metric; the mean comes last."""
    if context.index.sets == context.index.of_sort("answers"):
        return context.once(instruction_sets)
    return score_table(context.index, context.index.sets, average=True)


def other_tasks(context: Context) -> ScoreTable:
    """Return the table of the multiple-choice and lm-eval tasks."""
    return score_table(context.index, context.index.of_sort("choice", "task"))


def score_table(index: Index, tasks: Sequence[TaskRecord], average: bool = False) -> ScoreTable:
    """Return the scores of all methods on `tasks`.

    Args:
        index: the records.
        tasks: the columns.
        average: append the mean over the columns that have the metric of the first one.
    """
    alike = [task for task in tasks if task.metric == tasks[0].metric] if average else []
    samplings = _samplings(index, tasks)
    spread, seeds = _spread(index, samplings)
    with_mean = len(alike) > 1
    rows = tuple(
        (
            method,
            tuple(_score(index, method, (task,), spread) for task in tasks)
            + ((_score(index, method, alike, spread),) if with_mean else ()),
        )
        for method in index.methods
    )
    columns = [*tasks, *(alike[:1] if with_mean else ())]
    students = [scores for method, scores in rows if is_ranked(method)]
    best = [
        _best([scores[column].mean for scores in students], higher)
        for column, higher in enumerate(task.higher_is_better for task in columns)
    ]
    return ScoreTable(
        columns=(*(task.name for task in tasks), *(["mean of the sets"] if with_mean else [])),
        units=tuple(task.unit for task in columns),
        rows=rows,
        spread=spread,
        seeds=seeds,
        samplings=samplings,
        best=tuple(best),
    )


def is_ranked(method: Method) -> bool:
    """Return whether a method may be the best of a column: not if it was trained elsewhere."""
    return method.divergence is not None and method.role != "elsewhere"


def _best(means: Sequence[float | None], higher: bool) -> float | None:
    """Return the best mean, or None where there is no other to be better than."""
    known = {value for value in means if value is not None}
    return None if len(known) < 2 else max(known) if higher else min(known)


def summary_table(store: Store) -> Table:
    """Return the scores as a table for the terminal: methods x tasks, mean ± std over seeds."""
    context = Context.of(store)
    tables = [table for table in (instruction_sets(context), other_tasks(context)) if table.columns]
    varied = dict.fromkeys(table.varied for table in tables)
    result = Table(title="; ".join(varied) if tables else "no scores")
    result.add_column("method")
    for table in tables:
        for column, unit in zip(table.columns, table.units, strict=True):
            heading = shown(f"{column}\n").append_text(shown(unit, "dim"))
            result.add_column(heading, justify="right")
    for number, method in enumerate(context.index.methods):
        result.add_row(shown(str(method)), *(_cell(c) for t in tables for c in t.rows[number][1]))
    result.caption = (
        shown("\n".join(unseen_lines(context.index))) if unseen_lines(context.index) else None
    )
    return result


def _cell(score: Score) -> Text:
    if score.mean is None:
        return shown(score.status, "red" if score.status == "failed" else "")
    spread = "" if score.std is None else f" ± {score.std:.2f}"
    return shown(f"{score.mean:.2f}{spread}{'*' if score.status == 'partial' else ''}")


def _spread(index: Index, samplings: int) -> tuple[Spread, int]:
    """Return the seeds that vary and their number: training seeds if there are several."""
    if len(index.seeds) > 1 or not samplings:
        return "training", len(index.seeds)
    return "sampling", samplings


def _samplings(index: Index, tasks: Sequence[TaskRecord]) -> int:
    """Return the number of sampling seeds of the scores on `tasks`."""
    keys = {task.key for task in tasks}
    seeds = {r.sampling_seed for (_, _, key), rs in index.scores.items() if key in keys for r in rs}
    return len(seeds - {None})


def _score(index: Index, method: Method, tasks: Sequence[TaskRecord], spread: Spread) -> Score:
    """Return the mean of a method over tasks, with its std over the seeds that vary."""
    wanted = index.seeds_of(method)
    reasons = [reason for seed in wanted if (reason := index.failure(method, seed))]
    by_seed = {
        seed: [index.scores.get((method, seed, t.key), ()) for t in tasks] for seed in wanted
    }
    scored = {seed: records for seed, records in by_seed.items() if all(records)}
    if not scored:
        status: Literal["failed", "missing"] = "failed" if reasons else "missing"
        return Score(status=status, note="; ".join(dict.fromkeys(reasons)))
    if method.role == "elsewhere" and len(scored) > 1:
        spread = "training"  # its own seeds, however many ours have
    values = list(_values(scored.values(), tasks, spread))
    records = [r for of_tasks in scored.values() for of_task in of_tasks for r in of_task]
    complete = len(scored) == len(wanted)
    return Score(
        mean=fmean(values),
        std=stdev(values) if len(values) > 1 else None,
        seeds=len(scored),
        items=sum(len(records[0].ids) for records in next(iter(scored.values()))),
        unscored=sum(record.unscored for record in records),
        status="complete" if complete else "partial",
        note="" if complete else f"{len(scored)} of {len(wanted)} seeds",
    )


def _values(
    scored: Iterable[Sequence[Sequence[Scoring]]], tasks: Sequence[TaskRecord], spread: Spread
) -> Iterator[float]:
    """Yield the mean over `tasks` for each seed that varies.

    Args:
        scored: for each training seed and task the records of its sampling seeds.
        tasks: the tasks of these records, for their scales.
        spread: the seeds that vary; the others are averaged.
    """
    for of_seed in scored:
        by_task = [
            {record.sampling_seed: record.value * task.scale for record in records}
            for task, records in zip(tasks, of_seed, strict=True)
        ]
        if spread == "training":
            yield fmean(fmean(values.values()) for values in by_task)
            continue
        shared = set.intersection(*(set(values) for values in by_task))
        yield from (fmean(values[seed] for values in by_task) for seed in sorted(shared, key=str))
