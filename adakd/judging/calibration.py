"""Calibrate a judge: its accuracy and its pulls, on pairs made from a set's own references."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, get_args

from adakd.config.hashing import digest
from adakd.judging.base import ItemText
from adakd.judging.decided import Decided, decided
from adakd.judging.vetting import KnownPair, pairs_of_task
from adakd.stats import Ratio, wilson
from adakd.stats.pulls import lean, share_difference
from adakd.store import Store
from adakd.store.records import (
    CalibrationRecord,
    Case,
    Estimate,
    JudgeRecord,
    Length,
    VettingRecord,
)

K = TypeVar("K", Case, Length)
PAIRS = 200
"""The pairs of a calibration where a set has as many."""
LENGTHS: tuple[Length, ...] = get_args(Length)
_TURNS: tuple[Case, ...] = ("other", *get_args(Case))
"""The cases in turn; ``other`` twice, since it alone tells the pull of length."""


def calibration_pairs(
    task: str, texts: Mapping[str, ItemText], count: int, by_reference: bool
) -> list[KnownPair]:
    """Return `count` pairs of all cases and lengths in turn, or as many as there are; seeded.

    Args:
        task: the name of the set.
        texts: of its items; those without a reference give no pair.
        count: pairs in all.
        by_reference: whether the judge only compares with the reference and must see it.
    """
    thirds = length_thirds(texts)
    waiting: dict[tuple[Case, Length], deque[KnownPair]] = {}
    for case in get_args(Case):
        for pair in pairs_of_task(task, case, texts, by_reference, longer_first=True):
            waiting.setdefault((case, thirds[pair.item]), deque()).append(pair)
    found: list[KnownPair] = []
    while len(found) < count and any(waiting.values()):
        for length in LENGTHS:
            for case in _TURNS:
                if queue := waiting.get((case, length)):
                    found.append(queue.popleft())
    return found[:count]


def calibration_folder(runs: Path, judge: str) -> Path:
    """Return where the calibrations of a judge lie: beside the runs that cite them.

    Args:
        runs: the folder of the run folders.
        judge: the judge's id.
    """
    return runs / "calibrations" / judge


def calibrations(runs: Path, judge: str) -> list[CalibrationRecord]:
    """Return the calibrations of a judge that lie beside the runs of a folder."""
    folder = calibration_folder(runs, judge)
    found = Store(folder).of(CalibrationRecord) if folder.is_dir() else []
    return [record for record in found if record.judge == judge]


def length_thirds(texts: Mapping[str, ItemText]) -> dict[str, Length]:
    """Return the third of the set that each item's first reference is in, by its words."""
    known = ((item, text.references) for item, text in texts.items() if text.references)
    words = {item: len(references[0].split()) for item, references in known}
    ordered = sorted(words, key=lambda item: (words[item], item))
    return {item: LENGTHS[3 * place // len(ordered)] for place, item in enumerate(ordered)}


def calibrated(
    judge: JudgeRecord,
    records: Iterable[VettingRecord],
    pairs: Sequence[KnownPair],
    thirds: Mapping[str, Length],
    data: str,
    data_digest: str,
) -> CalibrationRecord:
    """Measure a judge on its verdicts.

    Args:
        judge: the judge.
        records: its verdicts, those on other pairs too.
        pairs: of the calibration.
        thirds: of the items, by :func:`length_thirds`.
        data: the name of the file of the pairs.
        data_digest: hash of its content.
    """
    places = {(pair.task, pair.item, pair.case) for pair in pairs}
    asked = [one for one in decided(judge, records) if (one.task, one.item, one.case) in places]
    judged = [one for one in asked if one.outcome != "failed"]
    known = [one for one in judged if one.case != "same"]
    others = [one for one in known if one.case == "other"]
    rates = judge.asks == "rating"
    longer = _share([one for one in others if one.length_difference > 0], "win")
    shorter = _share([one for one in others if one.length_difference < 0], "win")
    return CalibrationRecord(
        key=digest("calibration", judge.key, data_digest, sorted(places)),
        judge=judge.key,
        name=judge.name,
        model=judge.model,
        mode=judge.mode,
        data=data,
        data_digest=data_digest,
        pairs=len(asked),
        failed=_estimate(wilson(len(asked) - len(judged), len(asked))),
        accuracy=_shown(_share(known, "win")),
        by_case=_shares({case: [o for o in known if o.case == case] for case in get_args(Case)}),
        by_length=_shares(
            {third: [o for o in known if thirds[o.item] == third] for third in LENGTHS}
        ),
        flips=None if rates else _shown(_share(known, "flip")),
        self_ties=_shown(_share([one for one in judged if one.case == "same"], "tie")),
        position=None if rates or not known else _estimate(lean([_slot(one) for one in known])),
        length=_estimate(share_difference(longer, shorter)) if longer and shorter else None,
    )


def _slot(pair: Decided) -> float:
    """Return 1 where the answer shown first was chosen in both orders, -1 for the second."""
    return sum(pair.slots) / len(pair.slots)


def _shares(groups: Mapping[K, Sequence[Decided]]) -> dict[K, Estimate]:
    shares = {name: _share(group, "win") for name, group in groups.items()}
    return {name: _estimate(share) for name, share in shares.items() if share}


def _share(pairs: Sequence[Decided], outcome: str) -> Ratio | None:
    if not pairs:
        return None
    return wilson(sum(pair.outcome == outcome for pair in pairs), len(pairs))


def _shown(share: Ratio | None) -> Estimate | None:
    return None if share is None else _estimate(share)


def _estimate(ratio: Ratio) -> Estimate:
    return Estimate(value=ratio.estimate, low=ratio.low, high=ratio.high, n=ratio.n)
