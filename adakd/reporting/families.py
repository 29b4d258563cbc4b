"""Comparisons by question: each question is a family with an error rate of its own.

The question that a suite asks is whether a token-adaptive method beats the plain arm, under each
divergence, in the mean over the instruction sets. Its verdict depends on these comparisons alone:
ablation arms, single sets and tasks, published tables and trainings of equal time are questions
of their own. A comparison belongs to one family, and has the same verdict wherever the page
shows it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from adakd.registry import Spec, named
from adakd.reporting.index import Index, Method
from adakd.reporting.paired import Column, Paired, PairedDifference, noise, paired
from adakd.reporting.sections.base import Context
from adakd.reporting.wording import arm_name
from adakd.stats import (
    LEVEL,
    Conclusion,
    Difference,
    JointErrors,
    SeedNoise,
    conclusion,
    step_down,
)
from adakd.store.records import TaskRecord

OTHERS = "the other arms"
"""The name of all arms without a question of their own."""
_TURNED: Mapping[str, Conclusion] = {"better": "worse", "worse": "better"}
Identity = tuple[Method, Method, frozenset[Column]]


@dataclass(frozen=True)
class Family:
    """Comparisons that answer one question and share one error rate."""

    question: str
    rows: tuple[PairedDifference, ...]
    critical_p: float = LEVEL
    """The p that a comparison needs by itself as long as no other one is found."""

    @property
    def size(self) -> int:
        """Count of the comparisons with a result."""
        return sum(row.difference is not None for row in self.rows)


@dataclass(frozen=True)
class ArmDifferences:
    """Every adaptive arm minus its plain arm: pooled over the instruction sets, and by task."""

    overall: tuple[PairedDifference, ...]
    """In the order of the suite, of all families."""
    tasks: tuple[PairedDifference, ...]
    """On every set and task; without a set that is the only one, since the mean is the same."""
    families: tuple[Family, ...]
    """Of the pooled rows, the suite's questions first."""
    families_of_tasks: tuple[Family, ...]
    noise: SeedNoise | None
    """The distance of two plain runs that differ in their training seed only."""
    known: Mapping[Identity, PairedDifference] = field(repr=False, compare=False)
    """Every comparison, by methods and columns."""


def arm_differences(context: Context) -> ArmDifferences:
    """Compare every adaptive arm with its plain arm; see the module for the families."""
    index = context.index
    sets, pairs, arms = index.sets, list(index.pairs()), question_arms(index)
    pooled = [paired(context, on, off, sets) for on, off in pairs if sets]
    tasks = [task for task in index.tasks if [task] != list(sets)]
    single = [paired(context, on, off, (task,), task) for on, off in pairs for task in tasks]
    families = tuple(_by_question(pooled, arms, ""))
    known = _known(families, {})
    new = [one for one in single if one.identity not in known]
    of_tasks = tuple(_by_question(new, arms, ", on every set and task"))
    known, by_chance = _known(of_tasks, known), noise(context)
    return ArmDifferences(
        overall=tuple(_with_band(_with_verdict(one, known), by_chance) for one in pooled),
        tasks=tuple(_with_verdict(one, known) for one in single),
        families=tuple(family for _, family in families),
        families_of_tasks=tuple(family for _, family in of_tasks),
        noise=by_chance,
        known=known,
    )


def compare(
    context: Context,
    question: str,
    wanted: Sequence[tuple[Method, Method, Sequence[TaskRecord]]],
) -> tuple[PairedDifference, ...]:
    """Compare each first method with the second, pooled over the sets.

    What the answer compares already keeps its verdict, in either direction; the other comparisons
    are one family.
    """
    known = context.once(arm_differences).known
    found = [paired(context, on, off, sets) for on, off, sets in wanted]
    new = {one.identity: one for one in found if one.row.difference and not _verdict(one, known)}
    members = tuple(new.values())
    known = _known([(members, _family(question, members))], known)
    return tuple(_with_verdict(one, known) for one in found)


def question_arms(index: Index) -> tuple[str, ...]:
    """Return the arms that the suite asks about: its first one and every method as it is.

    An arm is a method as it is if it changes none of its settings, or is called by its name. All
    others are ablations: variants of a method, whatever their number.
    """
    arms = list(dict.fromkeys(on.arm for on, _ in index.pairs()))
    written = index.run.suite.get("arms", {}) if index.run else {}
    specs = {arm: Spec.model_validate(named(written[arm])) for arm in written}
    order = [arm for arm in specs if arm in arms] or arms
    whole = [arm for arm in specs if arm == specs[arm].name or not specs[arm].settings]
    return tuple(arm for arm in order if arm in (*order[:1], *whole))


def _by_question(
    comparisons: Sequence[Paired], arms: Sequence[str], where: str
) -> Iterator[tuple[Sequence[Paired], Family]]:
    """Group comparisons of arms with their plain arm by question."""
    for arm in arms:
        if members := [one for one in comparisons if one.row.arm == arm]:
            yield members, _family(f"{arm_name(arm)} over plain{where}", members)
    if members := [one for one in comparisons if one.row.arm not in arms]:
        yield members, _family(f"{OTHERS} over plain{where}", members)


def _family(question: str, members: Sequence[Paired]) -> Family:
    """Set the adjusted p, the conclusion and the detectable difference of each row."""
    known = [(one, one.row.difference) for one in members if one.row.difference]
    if not known:
        return Family(question, tuple(one.row for one in members))
    found = step_down([difference.p_value for _, difference in known], _joint_errors(known))
    adjusted = iter(found.p_values)
    rows = tuple(
        _concluded(one.row, one.row.difference, next(adjusted), found.critical_p)
        if one.row.difference
        else one.row
        for one in members
    )
    return Family(question, rows, found.critical_p)


def _concluded(
    row: PairedDifference, difference: Difference, adjusted_p: float, critical: float
) -> PairedDifference:
    effect = difference.law.detectable(critical)
    is_share = row.unit.endswith("× 100")
    return replace(
        row,
        difference=replace(
            difference, minimum_effect=np.inf if is_share and effect > 100 else effect
        ),
        adjusted_p=adjusted_p,
        conclusion=conclusion(difference, adjusted_p, row.higher_is_better),
    )


def _with_band(row: PairedDifference, by_chance: SeedNoise | None) -> PairedDifference:
    if by_chance is None or row.difference is None:
        return row
    return replace(row, band=by_chance.band(row.difference.n_seeds))


def _joint_errors(known: Sequence[tuple[Paired, Difference]]) -> JointErrors:
    """Return the errors over the items of all columns; 0 where a comparison has no such column."""
    lengths = {key: len(of) for one, _ in known for key, of in one.pulls.items()}
    pulls = [
        np.concatenate([one.pulls.get(key, np.zeros(n)) for key, n in lengths.items()])
        for one, _ in known
    ]
    sets = np.repeat(np.arange(len(lengths)), list(lengths.values()))
    errors = np.array([difference.law.error for _, difference in known])
    return JointErrors(np.array(pulls), sets, errors)


def _known(
    families: Iterable[tuple[Sequence[Paired], Family]],
    before: Mapping[Identity, PairedDifference],
) -> dict[Identity, PairedDifference]:
    """Add the rows of families with a result to the known ones."""
    return dict(before) | {
        one.identity: row
        for members, family in families
        for one, row in zip(members, family.rows, strict=True)
        if row.difference
    }


def _verdict(one: Paired, known: Mapping[Identity, PairedDifference]) -> PairedDifference | None:
    """Return the same comparison where it is known, in either direction."""
    on, off, columns = one.identity
    if (on, off, columns) in known:
        return known[on, off, columns]
    reverse = known.get((off, on, columns))
    if reverse is None:
        return None
    return replace(reverse, conclusion=_TURNED.get(reverse.conclusion, reverse.conclusion))


def _with_verdict(one: Paired, known: Mapping[Identity, PairedDifference]) -> PairedDifference:
    """Return the row with the verdict of the comparison; without a result as it is."""
    difference, verdict = one.row.difference, _verdict(one, known)
    if difference is None or verdict is None or verdict.difference is None:
        return one.row
    effect = verdict.difference.minimum_effect
    return replace(
        one.row,
        difference=replace(difference, minimum_effect=effect),
        adjusted_p=verdict.adjusted_p,
        conclusion=verdict.conclusion,
    )
