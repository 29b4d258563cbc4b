"""The sentences at the top of the page: the suite's question answered, with interval and cost.

The first adaptive arm is the one that the suite asks about: it gets a sentence of its own, with
what could not be found. All further arms share one more, however many there are.
"""

from collections.abc import Iterator, Sequence
from math import isfinite

from adakd.reporting.formatting import FEW, counted, interval, number, signed
from adakd.reporting.paired import PairedDifference
from adakd.reporting.sections.overhead import Overhead, cost_sentence
from adakd.reporting.wording import arm_name, listed

DETAILED = 4
"""Most divergences whose figures all stand in the sentence; of more, the two extremes."""
CONCLUSIONS = {
    "better": ("better", "than plain distillation", "than it"),
    "worse": ("worse", "than plain distillation", "than it"),
    "not separable": ("not separable", "from plain distillation", "from it"),
    "failed": ("without a result (failed)", "", ""),
    "missing": ("without a result yet", "", ""),
}
"""The conclusions in the order of a sentence: the word, the plain arm, and a pronoun for it."""


def headlines(rows: Sequence[PairedDifference], costs: Sequence[Overhead]) -> list[str]:
    """Return a sentence on the first adaptive arm and, where there are others, one on them.

    Args:
        rows: the differences of all arms to their plain arms, in the order of the suite.
        costs: the overheads that were measured.
    """
    arms = list(dict.fromkeys(row.arm for row in rows))
    if not arms:
        return []
    of_first = [row for row in rows if row.arm == arms[0]]
    cost = cost_sentence([row for row in costs if row.arm == arms[0]])
    first = verdict(of_first) + (f"; {cost[0].lower()}{cost[1:]}" if cost else ".")
    others = [row for row in rows if row.arm != arms[0]]
    return [first, *([further(others)] if others else [])]


def verdict(rows: Sequence[PairedDifference]) -> str:
    """Return what is found about one arm: its conclusion under each divergence, with figures."""
    phrases: list[str] = []
    for conclusion, of in _by_conclusion(rows):
        word, plain, pronoun = CONCLUSIONS[conclusion]
        parts = (word, pronoun if phrases else plain, _phrase(conclusion, of, len(rows)))
        phrases.append(" ".join(part for part in parts if part))
    known = [row for row in rows if row.difference]
    ends = _extremes(known) if len(rows) > DETAILED and known else ""
    return f"{arm_name(rows[0].arm)} is {listed(phrases)}{ends}{_unit(known)}{_unfound(known)}"


def further(rows: Sequence[PairedDifference]) -> str:
    """Return one sentence on all other arms: those that can be told from plain, and how many not.

    Names end where a reader would stop: the table below the sentence has all of them.
    """
    arms = dict.fromkeys(row.arm for row in rows)
    several = len(dict.fromkeys(row.divergence for row in rows)) > 1
    parts = []
    for conclusion, of in _by_conclusion(rows):
        few = len(of) <= FEW and conclusion in ("better", "worse")
        names = f" ({', '.join(_name(row, several) for row in of)})" if few else ""
        parts.append(f"{len(of)} {CONCLUSIONS[conclusion][0]}{names}")
    what = counted(len(arms), "other arm")
    of_all = f" in {counted(len(rows), 'comparison')}" if len(rows) > len(arms) else ""
    return f"Of {what}{of_all}: {listed(parts)}."


def _by_conclusion(
    rows: Sequence[PairedDifference],
) -> Iterator[tuple[str, list[PairedDifference]]]:
    for conclusion in CONCLUSIONS:
        if of := [row for row in rows if row.conclusion == conclusion]:
            yield conclusion, of


def _phrase(conclusion: str, rows: Sequence[PairedDifference], total: int) -> str:
    """Return the place of one conclusion: the divergences, with figures where they are few."""
    figures = listed([_figures(row) for row in rows])
    if total == 1:
        return f"under {figures}"
    if len(rows) == total:
        all_ = f"any of {total}" if conclusion == "not separable" else f"all {total}"
        return f"under {all_} divergences{f': {figures}' if total <= DETAILED else ''}"
    if total <= DETAILED:
        return f"under {figures}"
    names = f" ({', '.join(row.divergence for row in rows)})" if len(rows) <= FEW else ""
    return f"under {len(rows)} of {total} divergences{names}"


def _figures(row: PairedDifference) -> str:
    """Return the divergence with its difference and interval."""
    d = row.difference
    if d is None:
        return row.divergence
    ends = f", 95 % {interval(d.low, d.high)}" if isfinite(d.low + d.high) else ""
    return f"{row.divergence} ({signed(d.estimate)}{ends})"


def _extremes(rows: Sequence[PairedDifference]) -> str:
    """Return the least and the greatest difference, each with its interval."""
    ordered = sorted(rows, key=lambda row: row.difference.estimate if row.difference else 0.0)
    return f", from {_figures(ordered[0])} to {_figures(ordered[-1])}"


def _unit(rows: Sequence[PairedDifference]) -> str:
    return f", in {rows[0].unit}" if rows else ""


def _unfound(rows: Sequence[PairedDifference]) -> str:
    """Return how large a difference would have been found where none was."""
    effects = [
        row.difference.minimum_effect
        for row in rows
        if row.difference and row.conclusion == "not separable"
    ]
    finite = [effect for effect in effects if isfinite(effect)]
    if not finite or len(finite) < len(effects):
        return ""
    ends = dict.fromkeys(number(end) for end in (min(finite), max(finite)))
    return f"; a true difference below {' to '.join(ends)} may go unnoticed"


def _name(row: PairedDifference, several: bool) -> str:
    return f"{row.divergence} + {row.arm}" if several else row.arm
