"""Records -> one HTML file that needs no network, no script and nothing but the records."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any

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
    wording.arm_name,
    wording.as_yaml,
)
"""Filters of the templates, by their own names."""
FUNCTIONS = (
    formatting.interval,
    charts.forest_row,
    charts.forest_axis,
    charts.line_chart,
    charts.point_chart,
    charts.bar_chart,
    charts.stacked_bar,
)
"""Functions of the templates, by their own names."""


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
        write_atomically(target, page)
    except OSError as error:
        raise AdakdError(f"{target}: {error.strerror}") from None
    return target


def render(store: Store) -> str:
    """Return the report on the records of `store` as one HTML page."""
    context = Context.of(store)
    index, found = context.index, shown(SECTIONS, context)
    title = str((index.run.suite if index.run else {}).get("name", store.folder.name))
    arms = _arm_classes(index)
    page = (
        environment()
        .get_template("report.html.j2")
        .render(
            title=title,
            index=index,
            sections=found,
            arm_classes=arms,
            has_several_arms=len(arms) > 2,
            numbers={"title": title, **_numbers(found)},
            records=store.file.name if store.file.exists() else f"{store.file.name}.gz",
        )
    )
    return legible(page)


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
    made.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    made.policies["json.dumps_function"] = json.dumps
    return made


def _arm_classes(index: Index) -> dict[str, str]:
    """Return the CSS class of each arm: the plain one is s0, the others follow."""
    arms = dict.fromkeys([PLAIN, *(method.arm for method in index.methods)])
    return {arm: f"s{min(number, 4)}" for number, arm in enumerate(arms)}


def _numbers(sections: Sequence[Shown]) -> dict[str, Any]:
    """Return the views of sections and of their parts as plain JSON values, by id."""
    return {
        one.section.id: {**_plain(one.view), **_numbers(one.parts)}
        for one in sections
        if one.section.in_numbers
    }


def _plain(value: Any) -> Any:
    """Return a view as plain JSON values; a number that is not finite becomes null."""
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
