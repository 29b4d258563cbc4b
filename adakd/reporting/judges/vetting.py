"""Vetting: a judge's verdicts on known pairs, whose better answer is known, against its bar."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import hypot
from typing import Any

from adakd.config.judge import Outcome, Vetting
from adakd.judging.decided import Decided, decided
from adakd.judging.judge_files import family
from adakd.reporting.formatting import percent
from adakd.reporting.sections.base import Context
from adakd.stats import Ratio, wilson
from adakd.store.records import VETTED, Case, JudgeRecord, RunRecord, VettingRecord

MOST_FAILED = 0.5
"""Greatest share of known pairs that a trusted judge may fail on."""
SAME: Case = "same"
KNOWN: tuple[Case, ...] = tuple(case for case in VETTED if case != SAME)
"""The cases in which one answer is better."""


@dataclass(frozen=True)
class Vetted:
    """The result of a vetting; shares are of the known pairs with a verdict."""

    accuracy: Ratio | None
    by_case: Mapping[Case, Ratio]
    flips: Ratio | None
    self_ties: Ratio | None
    longer: Ratio | None
    """Accuracy where the right answer is the longer one, in the case ``other``."""
    shorter: Ratio | None
    failed: Ratio
    """Share of all known pairs."""
    bar: Vetting
    broken: tuple[str, ...]
    """The measures below the bar, each in words with its value and the bar."""

    @property
    def length_pull(self) -> float | None:
        """Accuracy for longer right answers minus that for shorter ones."""
        if self.longer is None or self.shorter is None:
            return None
        return self.longer.estimate - self.shorter.estimate

    @property
    def is_pulled(self) -> bool:
        """Whether length influences the judge by more than its bar and more than chance.

        Each side has few pairs, so the pull must also be outside a 95 % interval of no
        difference (Newcombe's, from both Wilson intervals).
        """
        longer, shorter, pull = self.longer, self.shorter, self.length_pull
        if pull is None or longer is None or shorter is None:
            return False
        high, low = (longer, shorter) if pull > 0 else (shorter, longer)
        by_chance = hypot(high.estimate - high.low, low.high - low.estimate)
        return abs(pull) > max(self.bar.length_pull, by_chance)


@dataclass(frozen=True)
class JudgeLabel:
    """The name of a judge and the result of its vetting in brief."""

    name: str
    result: str
    css: str
    """The CSS class of the result."""
    is_trusted: bool
    has_failed: bool


@dataclass(frozen=True)
class JudgeVetting:
    """A judge with the result of its vetting."""

    key: str
    name: str
    record: JudgeRecord
    members: tuple[str, ...]
    """Names of a jury's members."""
    result: Vetted | None
    unvetted: str
    """Why the judge was not vetted, or an empty string."""
    of_teacher: bool
    """Whether its model is of the teacher's family; a jury has no model."""

    @property
    def is_trusted(self) -> bool:
        """Whether the vetting found nothing below the bar."""
        return self.result is not None and not self.result.broken

    @property
    def has_failed(self) -> bool:
        """Whether the vetting found something below the bar."""
        return self.result is not None and not self.is_trusted

    @property
    def brief(self) -> str:
        """The result in brief."""
        if self.result is None:
            return "not vetted"
        return "passed" if self.is_trusted else "failed its vetting"

    @property
    def label(self) -> JudgeLabel:
        """The name and the result, for tables."""
        css = "better" if self.is_trusted else "worse" if self.has_failed else "missing"
        return JudgeLabel(self.name, self.brief, css, self.is_trusted, self.has_failed)


@dataclass(frozen=True)
class Vettings:
    """The vetting of all judges."""

    judges: tuple[JudgeVetting, ...]

    @property
    def cases(self) -> tuple[Case, ...]:
        """The cases in which one answer is better."""
        return KNOWN

    @property
    def vetted(self) -> tuple[JudgeVetting, ...]:
        """Judges that were vetted."""
        return tuple(judge for judge in self.judges if judge.result)


def vetting(context: Context) -> Vettings | None:
    """Return the vetting of all judges; None if there are no judges."""
    judges = context.once(judge_vettings)
    return Vettings(judges) if judges else None


def judge_vettings(context: Context) -> tuple[JudgeVetting, ...]:
    """Measure every judge on its known pairs."""
    verdicts, records = context.verdicts, context.store.of(VettingRecord)
    by_key = {record.key: record for record in verdicts.judges}
    families = teacher_families(context.index.run)
    found = []
    for record in verdicts.judges:
        result = vetted(record, records)
        members = [by_key[key] for key in record.members if key in by_key]
        found.append(
            JudgeVetting(
                key=record.key,
                name=verdicts.name(record.key),
                record=record,
                members=tuple(member.name for member in members),
                result=result,
                unvetted="" if result else why_not(record, members),
                of_teacher=record.family in families,
            )
        )
    return tuple(found)


def teacher_families(run: RunRecord | None) -> set[str]:
    """Return the model families in the names of the teacher's model."""
    teacher: dict[str, Any] = run.suite.get("teacher", {}) if run else {}
    base = teacher.get("base") or {}
    names = [base.get("model"), base.get("gguf_file")]
    return {found for name in names if name and (found := family(str(name)))}


def vetted(judge: JudgeRecord, records: Iterable[VettingRecord]) -> Vetted | None:
    """Measure a judge, or a jury by its members' combined verdicts; None if it was not vetted.

    Args:
        judge: the judge.
        records: the vetting records of all judges.
    """
    pairs = list(decided(judge, records))
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
    """Return the reason why a judge was not vetted."""
    if all(one.vetting.items == 0 for one in members or (judge,)):
        return "switched off in the judge file"
    return "no item has a reference to make known pairs from, or the vetting was not run"


def _broken(vetting: Vetted) -> Iterator[str]:
    bar = vetting.bar
    if vetting.failed.estimate > MOST_FAILED:
        yield _against_bar("fails on", vetting.failed, "of known pairs", MOST_FAILED)
    if vetting.accuracy is None:
        yield "gives no verdict on any known pair"
    elif vetting.accuracy.estimate < bar.accuracy:
        yield _against_bar("decides", vetting.accuracy, "of known pairs correctly", bar.accuracy)
    if vetting.flips and vetting.flips.estimate > bar.flips:
        yield _against_bar("changes", vetting.flips, "of its verdicts with the order", bar.flips)
    if vetting.self_ties and vetting.self_ties.estimate < bar.self_ties:
        yield _against_bar(
            "calls", vetting.self_ties, "of pairs of equal answers a tie", bar.self_ties
        )
    if vetting.is_pulled and vetting.length_pull is not None:
        which = "longer" if vetting.length_pull > 0 else "shorter"
        points = f"{100 * abs(vetting.length_pull):.0f} points"
        yield (
            f"is right {points} more often where the right answer is the {which} one "
            f"(bar {100 * bar.length_pull:.0f})"
        )


def _against_bar(verb: str, share: Ratio, of: str, bar: float) -> str:
    return f"{verb} {percent(share.estimate)} {of} (bar {percent(bar)})"


def _by_case(known: Sequence[Decided]) -> dict[Case, Ratio]:
    shares = {case: _share([p for p in known if p.case == case], "win") for case in KNOWN}
    return {case: share for case, share in shares.items() if share}


def _share(pairs: Sequence[Decided], outcome: Outcome) -> Ratio | None:
    if not pairs:
        return None
    return wilson(sum(pair.outcome == outcome for pair in pairs), len(pairs))
