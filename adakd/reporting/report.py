"""Records -> one HTML file that needs no network, no script and nothing but the records."""

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from adakd.config import Config, resources
from adakd.errors import AdakdError
from adakd.judging.comparisons import ALL, REFERENCE
from adakd.planning import PLAIN
from adakd.reporting import charts, formatting, wording
from adakd.reporting.index import Gap, Index, Method, index
from adakd.reporting.judges.items import browser
from adakd.reporting.judges.judging import Judging, judging
from adakd.reporting.judges.verdicts import Verdicts, verdicts
from adakd.reporting.judges.vetting import KNOWN
from adakd.reporting.sections import benchmarks, diagnostics, equal_time, paper
from adakd.reporting.sections.answer import Answer, answer
from adakd.reporting.sections.answer_texts import Look, looks
from adakd.reporting.sections.benchmarks import Benchmarks
from adakd.reporting.sections.curves import Curves, curves
from adakd.reporting.sections.diagnostics import Diagnosed, diagnosed
from adakd.reporting.sections.equal_time import EqualTime, equal_times
from adakd.reporting.sections.overhead import Overhead, overheads
from adakd.reporting.sections.paper import PaperTable, paper_tables
from adakd.reporting.sections.provenance import Trained, trainings
from adakd.reporting.sections.samples import Example, examples
from adakd.reporting.sections.scores import ScoreTable, score_table
from adakd.stats import sign_flip_floor
from adakd.store import Store
from adakd.store.records import RunRecord, TaskRecord, TeachingRecord


@dataclass(frozen=True)
class View:
    """All that the page shows, as numbers and words; the templates only lay it out."""

    title: str
    run: RunRecord | None
    teaching: TeachingRecord | None
    starts: int
    """How often the command was started in this folder."""
    is_of_files: bool
    """Whether answers that were made elsewhere were judged, and nothing was trained."""
    seeds: tuple[int, ...]
    floor: float
    """Least p-value that a sign-flip test on the training seeds alone could give."""
    gaps: tuple[Gap, ...]
    superseded: int
    answer: Answer
    has_values: bool
    """Whether any answer could be scored at all."""
    metric: TaskRecord | None
    """The first metric of the instruction sets; None without any set."""
    sets: ScoreTable
    tasks: ScoreTable
    unscored: int
    """Item scores that could not be computed, over all tables."""
    paper: tuple[PaperTable, ...]
    """Published tables beside ours, where the suite names any."""
    looks: tuple[Look, ...]
    judging: Judging
    overheads: tuple[Overhead, ...]
    equal_times: tuple[EqualTime, ...]
    benchmarks: Benchmarks | None
    """From ``bench.json``, where the folder has it."""
    curves: tuple[Curves, ...]
    trainings: tuple[Trained, ...]
    diagnosed: tuple[Diagnosed, ...]
    examples: tuple[Example, ...]


def write_report(folder: Path) -> Path:
    """Write ``report.html`` beside the records of a run folder, and return its path.

    The file is replaced in one step: a reader never sees half of it.

    Raises:
        AdakdError: there are no records, or the folder cannot be written.
    """
    store = Store(folder)
    if not store.exists:
        raise AdakdError(f"{store.file}: no such file; run a suite with --out {folder} first")
    page, target = render(store), folder / "report.html"
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=folder, prefix=".report-", delete=False
        ) as stream:
            stream.write(page)
        Path(stream.name).chmod(0o644)
        os.replace(stream.name, target)
    except OSError as error:
        raise AdakdError(f"{target}: {error.strerror}") from None
    return target


def render(store: Store) -> str:
    """Return the report on the records of `store` as one HTML page."""
    order = index(store)
    judged = verdicts(store, order)
    shown = view(store, order, judged)
    items = browser(store, judged, shown.judging, order.metric)
    template = _environment().get_template("report.html.j2")
    arms, numbers = _arm_classes(order), _plain(shown)
    return template.render(view=shown, items=items, numbers=numbers, arms=arms)


def view(store: Store, order: Index, judged: Verdicts) -> View:
    """Return what the page shows, but for the single items that were judged."""
    run, found = order.run, answer(order)
    suite = run.suite if run else {}
    means = score_table(order, order.sets, average=True)
    return View(
        title=str(suite.get("name", store.folder.name)),
        run=run,
        teaching=next(reversed(store.current(TeachingRecord)), None),
        starts=len(store.of(RunRecord)),
        is_of_files=order.is_of_files,
        seeds=order.seeds,
        floor=sign_flip_floor(len(order.seeds)),
        gaps=order.gaps(),
        superseded=order.superseded,
        answer=found,
        has_values=any(
            item.value is not None
            for records in order.scores.values()
            for record in records
            for item in record.items
        ),
        metric=order.metric,
        sets=score_table(order, order.of_sort("answers"), average=True),
        tasks=score_table(order, order.of_sort("choice", "task")),
        unscored=sum(record.unscored for records in order.scores.values() for record in records),
        paper=paper_tables(order),
        looks=looks(order),
        judging=judging(store, order, judged),
        overheads=overheads(store),
        equal_times=equal_times(store, order, found, means),
        benchmarks=benchmarks.benchmarks(store.folder),
        curves=curves(order),
        trainings=trainings(order),
        diagnosed=diagnosed(store, order),
        examples=examples(store, order, judged.records),
    )


def _environment() -> Environment:
    folder = resources.ROOT / "templates" / "report"
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,  # answers of models are hostile text: nothing is ever marked safe
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = ("number", "signed", "interval", "percent", "ratio", "p_value", "size", "duration")
    environment.filters |= {name: getattr(formatting, name) for name in names}
    environment.filters["groupby_kept"] = _grouped
    environment.globals |= {"svg": charts, "text": formatting, "say": wording}
    environment.globals |= {"bench": benchmarks, "equal": equal_time}
    environment.globals |= {"beside": paper, "look": diagnostics}
    environment.globals |= {"PLAIN": PLAIN, "ALL": ALL, "REFERENCE": REFERENCE}
    environment.globals |= {"CASES": KNOWN}
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.policies["json.dumps_function"] = json.dumps
    return environment


def _grouped(rows: Iterable[Any], attribute: str) -> list[tuple[Any, list[Any]]]:
    """Group rows by an attribute in the order in which its values first come."""
    groups: dict[Any, list[Any]] = {}
    for row in rows:
        groups.setdefault(getattr(row, attribute), []).append(row)
    return list(groups.items())


def _arm_classes(order: Index) -> dict[str, str]:
    """Return the CSS class of each arm: the plain one is s0, the others follow."""
    arms = dict.fromkeys([PLAIN, *(method.arm for method in order.methods)])
    return {arm: f"s{min(number, 4)}" for number, arm in enumerate(arms)}


def _plain(value: Any) -> Any:
    """Return a view as plain JSON values; what is not a finite number becomes null."""
    if isinstance(value, Method):
        return str(value)
    if isinstance(value, Config):
        return value.model_dump(mode="json")
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if not isinstance(value, float) or isfinite(value) else None
