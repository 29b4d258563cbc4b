"""Warnings about judges, above their win rates: failed or missing vetting, and self-preference."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from adakd.reporting.estimates import cited
from adakd.reporting.judges.vetting import JudgeVetting, judge_vettings
from adakd.reporting.sections.base import Context
from adakd.reporting.wording import MODES, listed
from adakd.store.records import CalibrationRecord, VerdictRecord, VettingRecord


@dataclass(frozen=True)
class CutPrompts:
    """A judge whose server cut prompts: it counts far fewer tokens than they have words."""

    key: str
    name: str
    cut: int
    asked: int

    def __str__(self) -> str:
        """Return the warning as a sentence."""
        return (
            f"the server of {self.name} cut {self.cut} of {self.asked} prompts (it counts far "
            "fewer tokens than they have words), so that the judge did not see all of them: "
            "raise the context length of the server, and give the judge another name to ask again"
        )


@dataclass(frozen=True)
class JudgeWarnings:
    """All judges, of which some need a warning."""

    judges: tuple[JudgeVetting, ...]
    cut: tuple[CutPrompts, ...]
    calibrations: Mapping[str, tuple[str, ...]]
    """In words, by the judge's key."""

    @property
    def failed(self) -> tuple[JudgeVetting, ...]:
        """Judges that failed their vetting."""
        return tuple(judge for judge in self.judges if judge.has_failed)

    @property
    def failed_names(self) -> str:
        """The names of the judges that failed, as in a sentence."""
        return listed([judge.name for judge in self.failed])

    @property
    def unvetted(self) -> tuple[JudgeVetting, ...]:
        """Judges that were not vetted."""
        return tuple(judge for judge in self.judges if judge.result is None)

    @property
    def of_teacher(self) -> tuple[JudgeVetting, ...]:
        """Judges whose model is of the teacher's family."""
        return tuple(judge for judge in self.judges if judge.of_teacher)

    @property
    def descriptions(self) -> tuple[tuple[JudgeVetting, str], ...]:
        """Each judge with its model and its mode in words."""
        return tuple((judge, described(judge)) for judge in self.judges)


def warnings(context: Context) -> JudgeWarnings | None:
    """Return the warnings about all judges; None if there are no judges."""
    judges = context.once(judge_vettings)
    if not judges:
        return None
    known = context.store.of(CalibrationRecord)
    calibrations = {
        judge.key: tuple(cited(record) for record in known if record.judge == judge.key)
        for judge in judges
    }
    return JudgeWarnings(judges, tuple(cut_prompts(context)), calibrations)


def cut_prompts(context: Context) -> Iterator[CutPrompts]:
    """Yield the judges whose server cut prompts, in vetting or in judging."""
    replies: list[VerdictRecord | VettingRecord]
    replies = [*context.verdicts.records, *context.store.of(VettingRecord)]
    asked = Counter(reply.judge for reply in replies)
    cut = Counter(reply.judge for reply in replies if reply.prompt_cut)
    for judge, count in cut.items():
        yield CutPrompts(judge, context.verdicts.name(judge), count, asked[judge])


def described(judge: JudgeVetting) -> str:
    """Return a judge's model and its mode in words."""
    record = judge.record
    if judge.members:
        return f"the majority of {', '.join(judge.members)}"
    words = MODES.get(record.mode, "")
    mode = f"{words} ({record.mode})" if words and record.mode != "unknown" else words
    rates = "rates each answer alone" if record.asks == "rating" else ""
    return "; ".join(part for part in (record.model or "", rates, mode or record.mode) if part)


def vetting_warnings(context: Context, judges: Sequence[str]) -> list[str]:
    """Return a sentence for each of some judges whose win rates are not reliable.

    Args:
        context: the run.
        judges: the keys of judges or juries.
    """
    asked = [judge for judge in context.once(judge_vettings) if judge.key in judges]
    found = (_warning(judge) for judge in asked)
    keys = {key for judge in asked for key in (judge.key, *judge.record.members)}
    cut = [str(one) for one in cut_prompts(context) if one.key in keys]
    return [*cut, *(warning for warning in found if warning)]


def _warning(judge: JudgeVetting) -> str | None:
    if judge.result is None:
        return f"{judge.name} was not vetted ({judge.unvetted}): its reliability is unknown"
    if judge.has_failed:
        return f"do not trust the win rates of {judge.name}: it {', '.join(judge.result.broken)}"
    return None
