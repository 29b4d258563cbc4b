"""Who judged: each judge with its vetting, its kinship to the teacher, its noise and its price."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean
from typing import Any

from adakd.judging.comparisons import AGAIN
from adakd.judging.judge_files import family
from adakd.reporting.index import Method
from adakd.reporting.judges.spending import Spending, spending
from adakd.reporting.judges.verdicts import JudgedPair, Verdicts
from adakd.reporting.judges.vetting import Vetted, vetted, why_not
from adakd.stats.win_rate import POINTS
from adakd.store.records import JudgeRecord, RunRecord, VettingRecord


@dataclass(frozen=True)
class Referee:
    """A judge of the run: who it is and whether it can be believed."""

    record: JudgeRecord
    members: tuple[str, ...]
    """Names of a jury's members."""
    vetted: Vetted | None
    unvetted: str
    """Why it was not vetted; empty if it was."""
    of_teacher: bool
    """Whether its model is of the teacher's family; of a jury its members tell that."""
    band: float | None
    chance_pairs: int
    """Pairs behind the band."""
    spending: Spending | None

    @property
    def is_trusted(self) -> bool:
        """Whether its vetting found nothing below the bar."""
        return self.vetted is not None and not self.vetted.broken


def referees(
    verdicts: Verdicts, vettings: Sequence[VettingRecord], run: RunRecord | None
) -> tuple[Referee, ...]:
    """Describe every judge.

    Args:
        verdicts: what they said.
        vettings: of all of them.
        run: for the teacher's model.
    """
    by_key = {record.key: record for record in verdicts.judges}
    families = teacher_families(run)
    found = []
    for record in verdicts.judges:
        trial = vetted(record, vettings)
        members = [by_key[key] for key in record.members if key in by_key]
        band, chance_pairs = noise_band(verdicts.pairs[record.key])
        found.append(
            Referee(
                record=record,
                members=tuple(member.name for member in members),
                vetted=trial,
                unvetted="" if trial else why_not(record, members),
                of_teacher=record.family in families,
                band=band,
                chance_pairs=chance_pairs,
                spending=spending(record, verdicts.records, vettings),
            )
        )
    return tuple(found)


def teacher_families(run: RunRecord | None) -> set[str]:
    """Return the families that the names of the teacher's model tell; none of a made one."""
    teacher: dict[str, Any] = run.suite.get("teacher", {}) if run else {}
    base = teacher.get("base") or {}
    names = [base.get("model"), base.get("gguf_file")]
    return {found for name in names if name and (found := family(str(name)))}


def noise_band(pairs: Iterable[JudgedPair]) -> tuple[float | None, int]:
    """Return how far chance takes a win rate from one half, and the pairs that tell it.

    The root mean square over the plain methods, each judged against itself at another seed.
    """
    by_method: dict[tuple[Method, int], list[float]] = {}
    for pair in pairs:
        points = POINTS.get(pair.outcome)
        if pair.place.against == AGAIN and points is not None:
            by_method.setdefault((pair.candidate.method, pair.seed), []).append(points)
    distances = [fmean(points) - 0.5 for points in by_method.values()]
    count = sum(map(len, by_method.values()))
    return (sqrt(fmean(d**2 for d in distances)) if distances else None), count
