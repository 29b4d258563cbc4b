"""Win rates: the section on judges, whose parts are in ``adakd.reporting.judges``."""

from dataclasses import dataclass

from adakd.reporting.judges.agreement import agreement
from adakd.reporting.judges.items import items
from adakd.reporting.judges.ranking import ranking
from adakd.reporting.judges.rates import rates
from adakd.reporting.judges.spending import spending
from adakd.reporting.judges.vetting import vetting
from adakd.reporting.judges.warnings import warnings
from adakd.reporting.sections.base import Context, Section

PARTS = (
    Section(
        "warnings",
        "Warnings",
        warnings,
        "judges/warnings.html.j2",
        has_figures=False,  # all of it is in the vetting's
    ),
    Section("rates", "Win rates", rates, "judges/rates.html.j2"),
    Section("vetting", "Vetting", vetting, "judges/vetting.html.j2"),
    Section("agreement", "Agreement", agreement, "judges/agreement.html.j2"),
    Section("ranking", "All methods on one scale", ranking, "judges/ranking.html.j2"),
    Section("spending", "Judging cost", spending, "judges/spending.html.j2"),
    Section(
        "items",
        "Single items",
        items,
        "judges/items.html.j2",
        style="judges/items.css.j2",
        has_figures=False,  # texts, several hundred kilobytes
    ),
)


@dataclass(frozen=True)
class Judges:
    """The names of the judges; the parts of the section say the rest."""

    names: tuple[str, ...]


def judges(context: Context) -> Judges:
    """Name the judges of the run; the section says so where there are none."""
    verdicts = context.verdicts
    return Judges(tuple(verdicts.name(judge.key) for judge in verdicts.judges))
