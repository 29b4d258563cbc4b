"""Whether a judge can be believed: its verdicts on pairs whose answer is known, beside its bar."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import hypot
from typing import get_args

from adakd.config.judge import Outcome, Vetting
from adakd.judging.outcomes import combined, outcome
from adakd.planning import Cell
from adakd.reporting.formatting import percent
from adakd.stats import Ratio, wilson
from adakd.store.records import Case, JudgeRecord, VerdictRecord, VettingRecord

MOST_FAILED = 0.5
"""A judge that fails on more of the known pairs than this is not believed either."""
SAME: Case = "same"
KNOWN: tuple[Case, ...] = tuple(case for case in get_args(Case) if case != SAME)
"""The cases of which one answer is the better one."""
_SIDES = {"right": "candidate", "wrong": "opponent"}
_NOBODY = Cell(role="file", seed=0, key="")


@dataclass(frozen=True)
class Decided:
    """A pair whose answer is known, as one judge decided it."""

    case: Case
    length_difference: int
    outcome: Outcome
    """A win where the right answer was chosen in both orders."""


@dataclass(frozen=True)
class Vetted:
    """How a judge did on the known pairs; shares are of pairs that got a verdict."""

    accuracy: Ratio | None
    by_case: Mapping[Case, Ratio]
    flips: Ratio | None
    self_ties: Ratio | None
    longer: Ratio | None
    """Accuracy where the right answer is the longer one, among answers to other questions."""
    shorter: Ratio | None
    failed: Ratio
    """Of all known pairs."""
    bar: Vetting
    broken: tuple[str, ...]
    """What is below the bar, each with its figure and the bar."""

    @property
    def length_pull(self) -> float | None:
        """Accuracy for longer right answers minus that for shorter ones."""
        if self.longer is None or self.shorter is None:
            return None
        return self.longer.estimate - self.shorter.estimate

    @property
    def is_pulled(self) -> bool:
        """Whether the length of an answer moves the judge by more than its bar and than chance.

        Few pairs are behind each side, so the pull must also be outside a 95 % interval of no
        difference (Newcombe's, from both Wilson intervals).
        """
        longer, shorter, pull = self.longer, self.shorter, self.length_pull
        if pull is None or longer is None or shorter is None:
            return False
        high, low = (longer, shorter) if pull > 0 else (shorter, longer)
        by_chance = hypot(high.estimate - high.low, low.high - low.estimate)
        return abs(pull) > max(self.bar.length_pull, by_chance)


def vetted(judge: JudgeRecord, records: Iterable[VettingRecord]) -> Vetted | None:
    """Measure a judge, or a jury by its members' verdicts combined; None if it was not vetted.

    Args:
        judge: whose vetting it is.
        records: of all judges.
    """
    pairs = list(_decided(judge, records))
    if not pairs:
        return None
    judged = [pair for pair in pairs if pair.outcome != "failed"]
    known = [pair for pair in judged if pair.case != SAME]
    others = [pair for pair in known if pair.case == "other"]
    found = Vetted(
        accuracy=_share(known, "win"),
        by_case=_by_case(known),
        flips=None if judge.asks == "rating" else _share(known, "flip"),
        self_ties=_share([pair for pair in judged if pair.case == SAME], "tie"),
        longer=_share([pair for pair in others if pair.length_difference > 0], "win"),
        shorter=_share([pair for pair in others if pair.length_difference < 0], "win"),
        failed=wilson(len(pairs) - len(judged), len(pairs)),
        bar=judge.vetting,
        broken=(),
    )
    return Vetted(**{**vars(found), "broken": tuple(_broken(found))})


def why_not(judge: JudgeRecord, members: Sequence[JudgeRecord] = ()) -> str:
    """Return why a judge without vetting has none."""
    if all(one.vetting.items == 0 for one in members or (judge,)):
        return "switched off in the judge file"
    return "no item has a reference to make pairs of known answer from, or it was never tried"


def _broken(vetting: Vetted) -> Iterator[str]:
    bar = vetting.bar
    if vetting.failed.estimate > MOST_FAILED:
        yield _said("fails on", vetting.failed, "of known pairs", MOST_FAILED)
    if vetting.accuracy is None:
        yield "gives no verdict on any pair of known answer"
    elif vetting.accuracy.estimate < bar.accuracy:
        yield _said("decides", vetting.accuracy, "of known pairs rightly", bar.accuracy)
    if vetting.flips and vetting.flips.estimate > bar.flips:
        yield _said("changes", vetting.flips, "of its verdicts with the order", bar.flips)
    if vetting.self_ties and vetting.self_ties.estimate < bar.self_ties:
        share = _said("calls", vetting.self_ties, "of answers equal to themselves", bar.self_ties)
        yield share
    if vetting.is_pulled and vetting.length_pull is not None:
        which = "longer" if vetting.length_pull > 0 else "shorter"
        points = f"{100 * abs(vetting.length_pull):.0f} points"
        yield (
            f"is right {points} more often where the right answer is the {which} one "
            f"(bar {100 * bar.length_pull:.0f})"
        )


def _said(verb: str, share: Ratio, of: str, bar: float) -> str:
    return f"{verb} {percent(share.estimate)} {of} (bar {percent(bar)})"


def _decided(judge: JudgeRecord, records: Iterable[VettingRecord]) -> Iterator[Decided]:
    asked = judge.members or (judge.key,)
    pairs: dict[tuple[str, str, Case], dict[str, list[VettingRecord]]] = {}
    for record in records:
        if record.judge in asked:
            place = (record.task, record.item, record.case)
            pairs.setdefault(place, defaultdict(list))[record.judge].append(record)
    for (_, _, case), said in pairs.items():
        first = next(iter(said.values()))[0]
        orders = [[_as_verdict(record) for record in of_one] for of_one in said.values()]
        both = combined(orders, judge.key) if judge.members else orders[0]
        yield Decided(case, first.length_difference, outcome(both))


def _as_verdict(record: VettingRecord) -> VerdictRecord:
    """Return the verdict with the right answer as the candidate: one rule makes all outcomes."""
    said = record.model_dump(include={"task", "item", "score", "reason", "seconds"})
    return VerdictRecord(
        key=record.key,
        judge=record.judge,
        against=record.case,
        candidate=_NOBODY,
        opponent=None,
        sampling_seed=None,
        words="",
        candidate_first=record.right_first,
        verdict=_SIDES.get(record.verdict, record.verdict),
        **said,
    )


def _by_case(known: Sequence[Decided]) -> dict[Case, Ratio]:
    shares = {case: _share([p for p in known if p.case == case], "win") for case in KNOWN}
    return {case: share for case, share in shares.items() if share}


def _share(pairs: Sequence[Decided], what: Outcome) -> Ratio | None:
    if not pairs:
        return None
    return wilson(sum(pair.outcome == what for pair in pairs), len(pairs))
