"""Judges that need no model: what they say follows from a few numbers, for the same pairs."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest

from adakd.config.judge import Prices, Vetting
from adakd.judging.comparisons import Comparison, comparisons
from adakd.store import Store
from adakd.store.records import JudgeRecord, Record, ScoreRecord, VerdictRecord, VettingRecord

SMALL = {
    "effects": (("forward_kl", 0.004), ("reverse_kl", 0.045)),
    "seeds": (10, 20),
    "samplings": (1,),
    "items": 25,
    "steps": 1,
    "choices": False,
    "tasks": False,
    "timing": False,
    "judge": False,
    "failed": None,
}
"""A run with nothing but answers."""
ASKED: dict[str, list[Record]] = {}
"""All that asking some judges about a made-up run leaves behind: several tests ask the same."""
CASES = ("other", "truncated", "shuffled", "same")


@dataclass(frozen=True)
class Mind:
    """What a made-up judge goes by; the chances are looked up in this order."""

    name: str = "fair"
    fails: float = 0.0
    """Chance of no verdict."""
    first: float = 0.0
    """Chance of preferring the answer shown first, whatever it says."""
    longer: float = 0.0
    """Chance of preferring the longer answer."""
    ties: float = 0.1
    skill: float = 0.95
    """Chance of preferring the better answer where nothing else decides."""
    eye: float = 0.97
    """The same on known pairs, which differ more."""
    model: str | None = None
    family: str | None = None
    mode: str = "text"
    rates: bool = False
    graded: bool = False
    """Whether it gives probabilities."""
    vetting: int = 10
    """Known pairs of each case."""
    prices: Prices | None = None
    seconds: float = 0.5
    text: str | None = None
    """Put into every text that a judge could have written."""

    @property
    def key(self) -> str:
        return f"{self.name}@{crc32(repr(self).encode()):08x}"

    @property
    def record(self) -> JudgeRecord:
        return JudgeRecord(
            key=self.key,
            name=self.name,
            description=self.text or f"A made-up judge of skill {self.skill}.",
            backend="made",
            asks="rating" if self.rates else "pair",
            mode=self.mode,
            model=self.model,
            family=self.family,
            vetting=Vetting(items=self.vetting),
            prices=self.prices,
            settings={"skill": self.skill, "prompt": self.text or "Which answer is better?"},
        )

    def prefers(self, better: int, longer: int, place: tuple[object, ...]) -> tuple[str, str]:
        """Return what is said in both orders, of the left and the right answer.

        Args:
            better: 1 where the left answer is the better one, -1 the right one, 0 neither.
            longer: the same for the longer one.
            place: what the chances are drawn by.
        """
        skill, ties = (self.eye, 0) if place[0] == "vetting" else (self.skill, self.ties)
        rng = np.random.default_rng(crc32(repr((self.key, place)).encode()))
        if rng.random() < self.fails:
            return "failed", "left" if better > 0 else "right"
        if rng.random() < self.first:
            return "left", "right"
        if rng.random() < self.longer and longer:
            return ("left" if longer > 0 else "right",) * 2
        if rng.random() < ties or not better:
            return "tie", "tie"
        is_right = rng.random() < skill
        return ("left" if (better > 0) == is_right else "right",) * 2


def jury(name: str, *members: Mind) -> JudgeRecord:
    keys = tuple(member.key for member in members)
    return JudgeRecord(
        key=f"{name}@jury", name=name, description="The majority of its members.",
        backend="jury", mode="majority", members=keys,
    )  # fmt: skip


def said(mind: Mind, verdict: str, order: int, scores: tuple[float, float]) -> dict[str, object]:
    """Return the fields that all verdicts have; `order` is 0 for the left answer first."""
    fields: dict[str, object] = {
        "reason": mind.text or f"Because of what is said in answer {order + 1}.",
        "seconds": mind.seconds * (1 + 0.1 * order),
        "prompt_tokens": 400 if mind.model else None,
        "completion_tokens": 50 if mind.model else None,
    }
    if verdict == "failed":
        fields["reason"] = mind.text or "no verdict in the text"
    elif mind.rates:
        fields["score"] = scores[order]
    return fields


def verdicts(mind: Mind, pair: Comparison) -> Iterator[VerdictRecord]:
    mine, other = pair.candidate, pair.opponent
    theirs = {item.id: item for item in other.items} if other else {}
    for item in mine.items:
        its = theirs.get(item.id)
        quality = (item.value or 0) - ((its.value or 0) if its else 0.9)
        lengths = [len((one.answer or "").split()) if one else 9 for one in (item, its)]
        place = (pair.against, mine.key, other and other.key, item.id)
        longer = sign(lengths[0] - lengths[1])
        both = mind.prefers(sign(quality), longer, place)
        same = its is not None and its.answer == item.answer
        for order, verdict in enumerate(("identical",) if same else both):
            yield VerdictRecord(
                key=f"{mind.key}-{place}-{order}",
                judge=mind.key,
                against=pair.against,
                candidate=mine.cell,
                opponent=other and other.cell,
                task=mine.task,
                item=item.id,
                sampling_seed=mine.sampling_seed,
                candidate_first=order == 0,
                verdict=named(mind, verdict, {"left": "candidate", "right": "opponent"}),
                probabilities=grades(verdict) if mind.graded else None,
                words=f"{place}-{order}",
                **said(mind, verdict, order, ratings(both)),
            )


def vettings(mind: Mind) -> Iterator[VettingRecord]:
    for case, number in product(CASES, range(mind.vetting)):
        longer = {"other": -1 if number % 2 else 1, "truncated": 1}.get(case, 0)
        better = 0 if case == "same" else 1
        both = mind.prefers(better, longer, ("vetting", case, number))
        for order, verdict in enumerate(both):
            yield VettingRecord(
                key=f"{mind.key}-vetting-{case}-{number}-{order}",
                judge=mind.key,
                task="dolly",
                item=f"dolly-{number}",
                case=case,
                right_first=order == 0,
                length_difference=12 * longer,
                verdict=named(mind, verdict, {"left": "right", "right": "wrong"}),
                **said(mind, verdict, order, ratings(both)),
            )


def named(mind: Mind, verdict: str, names: dict[str, str]) -> str:
    if mind.rates and verdict not in ("failed", "identical"):
        return "rated"
    return names.get(verdict, verdict)


def sign(value: float) -> int:
    return (value > 0) - (value < 0)


def grades(verdict: str) -> tuple[float, float, float] | None:
    return {
        "left": (0.7, 0.2, 0.1),
        "right": (0.2, 0.7, 0.1),
        "tie": (0.3, 0.3, 0.4),
    }.get(verdict)


def ratings(both: Sequence[str]) -> tuple[float, float]:
    """Return the ratings of the left and the right answer that say the same."""
    return {"left": (8.0, 5.0), "right": (5.0, 8.0)}.get(both[0], (6.0, 6.0))


def add(store: Store, records: Iterable[Record]) -> Store:
    """Add records all at once: a store flushes each to the disk."""
    with store.file.open("a", encoding="utf-8") as stream:
        stream.writelines(record.model_dump_json() + "\n" for record in records)
    return Store(store.folder)


def judged(
    store: Store, minds: Sequence[Mind], against: Sequence[str] = ("plain",), limit: int = 40
) -> Iterator[Record]:
    """Yield all that asking some judges leaves behind."""
    scores = [cut(score, limit) for score in store.current(ScoreRecord)]
    for mind in minds:
        yield mind.record
        yield from vettings(mind)
        for opponent in against:
            for pair in comparisons(scores, opponent):
                yield from verdicts(mind, pair)


def cut(score: ScoreRecord, limit: int) -> ScoreRecord:
    return score.model_copy(update={"items": score.items[:limit]})


@pytest.fixture
def ask(made_store: Callable[..., Store]) -> Callable[..., Store]:
    """Return a function that has a made-up run judged by made-up judges."""

    def make(
        *minds: Mind,
        against: Sequence[str] = ("plain",),
        records: Iterable[Record] = (),
        limit: int = 40,
        name: str = "judged",
        **changes: object,
    ) -> Store:
        changes = {**SMALL, **changes}
        store, key = made_store(name, **changes), repr((changes, minds, against, limit))
        if key not in ASKED:
            ASKED[key] = list(judged(store, minds, against, limit))
        return add(store, [*ASKED[key], *records])

    return make


@pytest.fixture
def two_files(made_store: Callable[..., Store], tmp_path: Path) -> Callable[..., Store]:
    """Return a function that has two files of answers judged, which no suite knows of."""

    def make(*minds: Mind, references: bool = True) -> Store:
        names = {"plain": "theirs", "adakd": "ours"}
        scores = [
            of_file(score, names[score.cell.arm], references)
            for score in made_store("source", **SMALL).of(ScoreRecord)
            if (score.cell.divergence, score.cell.seed) == ("reverse_kl", 10)
        ]
        folder = tmp_path / "two files"
        folder.mkdir()
        (folder / "results.jsonl").touch()
        store = add(Store(folder), scores)
        return add(store, judged(store, minds, against=("theirs",)))

    return make


def of_file(score: ScoreRecord, name: str, references: bool) -> ScoreRecord:
    """Return a score as that of a file; without references there is no ROUGE-L."""
    own = {"role": "file", "divergence": name, "arm": "plain", "seed": 0, "key": name}
    items = [
        item if references else item.model_copy(update={"value": None}) for item in score.items
    ]
    update = {
        "key": f"{name}-{score.task}",
        "cell": score.cell.model_copy(update=own),
        "sampling_seed": None,
        "value": score.value if references else float("nan"),
        "items": tuple(items),
    }
    return score.model_copy(update=update)


@pytest.fixture
def mind() -> Callable[..., Mind]:
    """Return a function that makes a judge; its arguments replace fields of ``Mind``."""
    return lambda **changes: replace(Mind(), **changes)


@pytest.fixture
def sit() -> Callable[..., JudgeRecord]:
    """Return a function that makes a jury of some judges."""
    return jury
