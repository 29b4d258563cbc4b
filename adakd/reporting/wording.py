"""Sentences, and what charts are drawn from: the last step from a view to the templates."""

from collections.abc import Mapping, Sequence

import yaml

from adakd.planning import PLAIN
from adakd.reporting import text
from adakd.reporting.compare import Answer, Comparison
from adakd.reporting.overhead import PHASES, Overhead
from adakd.reporting.svg import Scale, scale
from adakd.results import Outcome, Phase

VERBS = {
    "better": "is better than plain distillation",
    "worse": "is worse than plain distillation",
    "not separable": "cannot be told from plain distillation",
    "failed": "has no result, for a failure,",
    "missing": "has no result yet",
}
"""The words of a verdict, in the order in which they are told, as a sentence says them."""
OUTCOMES: tuple[Outcome, ...] = ("win", "tie", "flip", "identical", "failed", "loss")
"""In the order in which a bar shows them: wins and losses at the two ends."""
OUTCOME_COLOURS = dict(zip(OUTCOMES, ("better", "s0", "s2", "s3", "s4", "worse"), strict=True))
PHASE_COLOURS: dict[Phase, str] = dict(zip(PHASES, ("s0", "s3", "s1", "s4", "s2"), strict=True))


def arm_name(arm: str) -> str:
    """Return an arm as sentences call it."""
    return {PLAIN: "plain", "adakd": "AdaKD"}.get(arm, arm)


def headlines(answer: Answer, costs: Sequence[Overhead]) -> list[str]:
    """Return the answer as a few words for each arm, with what the arm costs."""
    arms = dict.fromkeys(row.arm for row in answer.overall)
    return [
        f"{_headline(arm, [row for row in answer.overall if row.arm == arm])}"
        f"{_cost([row.ratio.estimate for row in costs if row.arm == arm])}"
        for arm in arms
    ]


def _headline(arm: str, rows: Sequence[Comparison]) -> str:
    by_word: dict[str, list[str]] = {word: [] for word in VERBS}
    for row in rows:
        by_word[row.word].append(row.divergence)
    if len(rows) == 1:
        (row,) = rows
        return f"{arm_name(arm)} {VERBS[row.word]} under {row.divergence}."
    better = len(by_word["better"])
    start = f"{arm_name(arm)} is better than plain distillation under {better} of {len(rows)}"
    listed = [
        f"{word.capitalize()}: {', '.join(names) if len(names) < len(rows) else 'all'}."
        for word, names in by_word.items()
        if names
    ]
    return f"{start} divergences. {' '.join(listed)}"


def _cost(ratios: Sequence[float]) -> str:
    if not ratios:
        return ""
    ends = dict.fromkeys(text.number(end) for end in (min(ratios), max(ratios)))
    return f" Its steps take {'–'.join(ends)}× as long."


def by_unit(rows: Sequence[Comparison]) -> dict[str, dict[str, list[Comparison]]]:
    """Group the rows of single tasks by unit and task, in the suite's order."""
    groups: dict[str, dict[str, list[Comparison]]] = {}
    for row in rows:
        groups.setdefault(row.unit, {}).setdefault(str(row.task), []).append(row)
    return groups


def difference_axis(rows: Sequence[Comparison], noise: float | None) -> Scale:
    """Return the axis that the rows of a forest plot share.

    It holds every estimate, and intervals unless they are so wide that no estimate could be read.
    """
    found = [row.difference for row in rows if row.difference]
    values = [d.estimate for d in found] + [value for row in rows for value in row.by_seed]
    values += [noise, -noise] if noise else []
    reach = max(4 * max(map(abs, values), default=0), *(d.se_items for d in found), 0)
    ends = [end for d in found for end in (d.low, d.high)]
    return scale([*values, *(min(max(end, -reach), reach) for end in ends)], include=0.0)


def ratio_values(rows: Sequence[Overhead]) -> list[float]:
    """Return every ratio that the overhead plot must show."""
    ends = [end for row in rows for end in (row.ratio.low, row.ratio.high)]
    return ends + [ratio for row in rows for ratio in row.pair_ratios]


def overhead(row: Overhead) -> str:
    """Return the overhead in one sentence."""
    value, interval = text.ratio(row.ratio).split(" ", 1)
    pairs = f"n = {text.counted(row.ratio.n, 'interleaved pair')}"
    sentence = f"{row.divergence}: the {arm_name(row.arm)} step takes {value} a plain step "
    sentence += f"{interval[:-1]}, {pairs})"
    if row.peak_plain and row.peak_adaptive:
        sentence += f", peak memory {text.number(row.peak_adaptive / row.peak_plain)}×"
    return f"{sentence}."


def phase_parts(row: Overhead, arm: str) -> list[tuple[str, str, float]]:
    """Return the parts of a bar of phases: class, label and milliseconds."""
    names = {"loss": "loss-phase"}
    return [(names.get(p.phase, p.phase), p.phase, getattr(p, arm)) for p in row.phases]


def outcome_parts(counts: Mapping[Outcome, int]) -> list[tuple[str, str, float]]:
    """Return the parts of a bar of outcomes: class, label and count."""
    return [(name, f"{name} {counts[name]}", counts[name]) for name in OUTCOMES]


def as_yaml(value: object) -> str:
    """Return a suite as the YAML that it could be read from."""
    written = yaml.dump(value, Dumper=_WithoutAliases, sort_keys=False, allow_unicode=True)
    return str(written)


class _WithoutAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True
