"""Records -> one HTML file without scripts that needs no network, and its figures as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from adakd.config import Config, resources
from adakd.errors import AdakdError
from adakd.planning import PLAIN
from adakd.reporting import charts, formatting, wording
from adakd.reporting.index import Index, Method
from adakd.reporting.passages import legible
from adakd.reporting.sections import SECTIONS
from adakd.reporting.sections.base import Context, Shown, shown
from adakd.store import Store
from adakd.store.disk import write_atomically

TEMPLATES = resources.ROOT / "templates" / "report"
FILTERS = (
    formatting.number,
    formatting.signed,
    formatting.percent,
    formatting.p_value,
    formatting.size,
    formatting.duration,
    formatting.seconds,
    formatting.shares,
    formatting.money,
    formatting.counted,
    formatting.on_page,
    formatting.beyond_page,
    wording.arm_name,
    wording.as_yaml,
)
"""Filters of the templates, by their own names."""
FUNCTIONS = (
    formatting.interval,
    charts.forest_row,
    charts.forest_axis,
    charts.line_chart,
    charts.scatter_chart,
    charts.bar_chart,
    charts.stacked_bar,
)
"""Functions of the templates, by their own names."""


def write_report(folder: Path) -> Path:
    """Write ``report.html`` beside the records of a run folder, and return its path.

    ``report.json`` beside it has the figures behind the page. Each file is replaced in one step:
    a reader never sees half of it.

    Raises:
        AdakdError: there are no records, or the folder cannot be written.
    """
    store = Store(folder)
    if not store.exists:
        raise AdakdError(f"{store.file}: no such file; run a suite with --out {folder} first")
    report = Report.of(store)
    files = {folder / "report.json": report.json, folder / "report.html": report.page}
    for target, text in files.items():
        try:
            write_atomically(target, text)
        except OSError as error:
            raise AdakdError(f"{target}: {error.strerror}") from None
    return folder / "report.html"


def render(store: Store) -> str:
    """Return the report on the records of `store` as one HTML page."""
    return Report.of(store).page


@dataclass(frozen=True)
class Report:
    """The views of all sections, as a page and as figures."""

    context: Context
    title: str
    sections: tuple[Shown, ...]

    @classmethod
    def of(cls, store: Store) -> "Report":
        """Build the views from the records of `store`."""
        context = Context.of(store)
        suite = context.index.run.suite if context.index.run else {}
        title = str(suite.get("name", store.folder.name))
        return cls(context, title, shown(SECTIONS, context))

    @property
    def page(self) -> str:
        """One HTML page; what acts on a reader's screen is spelled out, as in a terminal."""
        index = self.context.index
        arms = _arm_classes(index)
        page = (
            environment()
            .get_template("report.html.j2")
            .render(
                title=self.title,
                index=index,
                sections=self.sections,
                arm_classes=arms,
                has_several_arms=len(arms) > 2,
                records=self.context.store.source.name,
            )
        )
        return legible(page)

    @property
    def figures(self) -> dict[str, Any]:
        """The figures of every section and of its parts as plain JSON values, by id."""
        return {"title": self.title, **_figures(self.sections)}

    @property
    def json(self) -> str:
        """The figures as the text of ``report.json``: ASCII, one line."""
        return json.dumps(self.figures, allow_nan=False, separators=(",", ":")) + "\n"


@cache
def environment() -> Environment:
    """Return the templates with their filters and functions; compiling them takes a while."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,  # answers of models are hostile text: nothing is ever marked safe
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {filter.__name__: filter for filter in FILTERS}
    made.globals |= {function.__name__: function for function in FUNCTIONS}
    made.globals["PLAIN"] = PLAIN
    return made


def _arm_classes(index: Index) -> dict[str, str]:
    """Return the CSS class of each arm: the plain one is s0, the others follow."""
    arms = dict.fromkeys([PLAIN, *(method.arm for method in index.methods)])
    return {arm: f"s{min(number, 4)}" for number, arm in enumerate(arms)}


def _figures(sections: Sequence[Shown]) -> dict[str, Any]:
    return {
        one.section.id: {**_plain(one.view), **_figures(one.parts)}
        for one in sections
        if one.section.has_figures
    }


def _plain(value: Any) -> Any:
    """Return a view as plain JSON values; a number that is not finite becomes null."""
    if type(value) is float:
        return value if isfinite(value) else None
    if value is None or type(value) in (str, int, bool):
        return value
    if isinstance(value, Method):
        return str(value)
    if isinstance(value, charts.Line) and np.isfinite(value.points).all():
        return vars(value)  # most figures of a large run, all plain already
    if isinstance(value, Config):
        return value.model_dump(mode="json")
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if not isinstance(value, float) or isfinite(value) else None
