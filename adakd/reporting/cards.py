"""Cards of a published run: one for each student, and one for its records."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from statistics import mean
from typing import Any

from huggingface_hub import DatasetCardData, EvalResult, ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from adakd.config import resources
from adakd.planning import PLAIN, Cell
from adakd.reporting.exports.markdown import escaped
from adakd.reporting.families import arm_differences
from adakd.reporting.formatting import interval, number, signed
from adakd.reporting.index import Method
from adakd.reporting.paired import PairedDifference
from adakd.reporting.scorings import Scoring
from adakd.reporting.sections.base import Context
from adakd.reporting.sections.scores import Score, score_table
from adakd.reporting.wording import arm_name, as_yaml
from adakd.store.records import RunRecord, TaskRecord

TEMPLATES = resources.ROOT / "templates" / "cards"
UNKNOWN = "unknown"
"""The hub's identifier of a licence that nobody has stated."""


@dataclass(frozen=True)
class Facts:
    """What the records do not hold: who publishes, where, and under which licence."""

    records: str
    """The repository of the records."""
    licence: str = UNKNOWN
    base_model: str | None = None
    """The hub id of the student's base; None where it is only known here."""


@dataclass(frozen=True)
class ScoreLine:
    """A column of the tables for one student."""

    task: str
    unit: str
    value: str
    """Of this training."""
    of_method: str
    """The mean of its method with its spread."""


def student_card(context: Context, cell: Cell, facts: Facts, files: Mapping[str, Any]) -> str:
    """Return the README of a student's repository.

    Args:
        context: the records of the run, scrubbed.
        cell: the student.
        facts: what is published where.
        files: the names of the model's files.
    """
    run = context.index.run
    assert run is not None
    is_adapter = "adapter_config.json" in files
    scored = list(_scored(context, cell))
    data = ModelCardData(
        model_name=str(cell),
        license=facts.licence,
        library_name="peft" if is_adapter else "transformers",
        pipeline_tag="text-generation",
        base_model=facts.base_model,
        datasets=_hub_data(run),
        tags=["knowledge-distillation", "adakd"],
        eval_results=[_result(run, task, records) for task, records in scored] or None,
    )
    return _rendered(
        "student.md.j2",
        metadata=data.to_yaml(),
        cell=cell,
        run=run,
        facts=facts,
        is_adapter=is_adapter,
        lines=[_line(context, cell, task, records) for task, records in scored],
        sentence=_difference_sentence(context, cell),
        settings=as_yaml(_settings(run, cell)),
        teacher=_model_name(run.suite["teacher"]["base"]),
        data=_data_name(run.suite["data"]["train"]),
        seeds=len(context.index.seeds_of(Method.of(cell))),
    )


def records_card(context: Context, facts: Facts, students: Mapping[str, str]) -> str:
    """Return the README of the repository of the records.

    Args:
        context: the records of the run, scrubbed.
        facts: what is published where.
        students: the repositories of the students by their cells.
    """
    run = context.index.run
    assert run is not None
    data = DatasetCardData(
        license=facts.licence,
        pretty_name=f"Records of the suite {run.suite['name']}",
        tags=["knowledge-distillation", "adakd"],
        configs=[{"config_name": "scores", "data_files": "scores.csv"}],
    )
    table = score_table(context.index, context.index.tasks)
    rows = [(method, [_shown(score) for score in scores]) for method, scores in table.rows]
    return _rendered(
        "records.md.j2",
        metadata=data.to_yaml(),
        run=run,
        facts=facts,
        columns=[f"{name} ({unit})" for name, unit in zip(table.columns, table.units, strict=True)],
        rows=rows,
        varied=table.varied,
        sentences=[_in_words(row) for row in context.once(arm_differences).overall],
        students=students,
    )


def _rendered(template: str, **values: Any) -> str:
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["md"] = lambda text: escaped(" ".join(str(text).split()))
    return made


def _scored(context: Context, cell: Cell) -> Iterator[tuple[TaskRecord, tuple[Scoring, ...]]]:
    """Yield the columns that a cell has scores of, one for each sampling seed."""
    for task in context.index.tasks:
        if records := context.index.scores.get((Method.of(cell), cell.seed, task.key)):
            yield task, records


def _value(task: TaskRecord, records: tuple[Scoring, ...]) -> float:
    return mean(record.value for record in records) * task.scale


def _result(run: RunRecord, task: TaskRecord, records: tuple[Scoring, ...]) -> EvalResult:
    source = run.suite["evaluation"]["sets"].get(task.name, {})
    return EvalResult(
        task_type="text-generation",
        dataset_type=source.get("id") or task.name,
        dataset_name=task.name,
        dataset_split=source.get("split"),
        metric_type="rouge" if task.metric.startswith("rouge") else task.metric,
        metric_name=task.title,
        metric_value=round(_value(task, records), 4),
    )


def _line(
    context: Context, cell: Cell, task: TaskRecord, records: tuple[Scoring, ...]
) -> ScoreLine:
    table = score_table(context.index, [task])
    (score,) = next(scores for method, scores in table.rows if method == Method.of(cell))
    value = number(_value(task, records))
    return ScoreLine(task.name, task.unit, value, f"{_shown(score)} ({table.varied})")


def _shown(score: Score) -> str:
    if score.mean is None:
        return score.status
    return number(score.mean) + ("" if score.std is None else f" ± {number(score.std)}")


def _difference_sentence(context: Context, cell: Cell) -> str:
    """Return how the arm of a student differs from plain; empty for other students."""
    if cell.role != "distilled" or cell.arm == PLAIN:
        return ""
    rows = context.once(arm_differences).overall
    of_cell = [row for row in rows if (row.divergence, row.arm) == (cell.divergence, cell.arm)]
    return _in_words(of_cell[0]) if of_cell else ""


def _in_words(row: PairedDifference) -> str:
    """Return a paired difference with its interval in a sentence."""
    what = f"{arm_name(row.arm)} minus plain under {row.divergence}"
    if row.difference is None:
        return f"{what}: no result ({row.note})."
    ends = interval(row.difference.low, row.difference.high)
    return (
        f"{what}: {signed(row.difference.estimate)} {row.unit}, 95 % {ends}, in the mean over the "
        f"instruction sets; {row.conclusion}, among the comparisons of this run."
    )


def _settings(run: RunRecord, cell: Cell) -> dict[str, Any]:
    """Return what decided the training of a student."""
    parts = [part for part in run.parts if part.of in (cell.divergence, cell.arm)]
    return {
        **{f"{part.sort} {part.name}": dict(part.settings) for part in parts},
        "seed": cell.seed,
        **({"longer": cell.longer} if cell.longer else {}),
        **({"objective": run.suite["objective"]} if run.suite.get("objective") else {}),
        "student": run.suite["student"],
        "training": run.suite["training"],
        "template": run.suite["data"]["template"],
    }


def _hub_data(run: RunRecord) -> list[str] | None:
    source = run.suite["data"]["train"]
    return [source["id"]] if source["kind"] == "hub" else None


def _model_name(base: Mapping[str, Any]) -> str:
    if base["kind"] == "pretrained":
        return str(base["model"])
    return f"a {base['config'].get('model_type', '')} trained from scratch in the run"


def _data_name(source: Mapping[str, Any]) -> str:
    if source["kind"] == "generated":
        return "generated word puzzles"
    return str(source.get("id") or source.get("path"))
