"""Scores of a run -> pairs of answers to judge; pure, and the same whatever the judge."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from adakd.config.hashing import digest
from adakd.config.judge import Asks
from adakd.errors import AdakdError, UnknownName, did_you_mean
from adakd.judging.base import ItemText, Question
from adakd.planning import PLAIN
from adakd.store.records import ScoreRecord

REFERENCE = "reference"
"""The opponent that is no model: the first reference answer."""
AGAIN = "again"
"""The opponent that differs in the training seed alone: how far chance goes."""
ALL = "all"
"""Every method against every other."""
_UNSEEDED = {"teacher", "untrained", "file"}
"""Roles with one cell for all training seeds."""
_CANDIDATES = {"distilled", "file"}

Items = Mapping[str, Mapping[str, ItemText]]
"""The words of every item, by task and item id."""
_Place = tuple[str, int | None, str, int | None]
_Answered = Mapping[_Place, ScoreRecord]


@dataclass(frozen=True)
class Subject:
    """What is judged: answers, the words of their items, and what they are compared with."""

    scores: tuple[ScoreRecord, ...]
    items: Items
    against: str = PLAIN
    """As in :func:`pairs`."""
    note: str = ""
    """What of the answers is left out, in words."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two sets of answers to the same items."""

    against: str
    """What the opponent was called."""
    candidate: ScoreRecord
    opponent: ScoreRecord | None
    """None is the reference."""


@dataclass(frozen=True, slots=True)
class Duel:
    """One item of a pair: two answers side by side."""

    pair: Pair
    item: str
    text: ItemText
    answer: str
    other: str

    @property
    def task(self) -> str:
        """The task of the item."""
        return self.pair.candidate.task

    @property
    def identical(self) -> bool:
        """Whether there is nothing to judge."""
        return self.answer.strip() == self.other.strip()

    def question(self, candidate_first: bool, asks: Asks) -> Question:
        """Return the question in one order; a judge that rates is shown the first answer alone."""
        first, second = (self.answer, self.other) if candidate_first else (self.other, self.answer)
        return Question(self.text, first, second if asks == "pair" else None)


def pairs(scores: Iterable[ScoreRecord], against: str = PLAIN) -> list[Pair]:
    """Return what is compared: same task and sampling seed, and same seed where both have one.

    Args:
        scores: of a run; those of tasks without answers are passed over.
        against: ``plain`` sets each distilled cell beside the same cell without a token-adaptive
            method, the name of another arm beside the same cell in that arm; ``reference``, a
            role (``teacher``) or a method (``reverse_kl``) sets all distilled cells beside that;
            ``again`` sets each plain method's first training seed beside its second; ``all``
            sets every method beside every other.

    Raises:
        AdakdError: nothing is called `against`, or nothing is there to compare.
    """
    answered = {_place(score): score for score in scores if score.sort == "answers"}
    _check_name(against, answered.values())
    if against == AGAIN:
        found = list(_again(answered.values()))
    elif against == ALL:
        found = list(_all(answered.values()))
    else:
        found = list(_each_against(answered, against))
    if not found:
        raise AdakdError(f"nothing to judge against {against!r}: the run has no pair of answers")
    return found


def chance_pairs(scores: Iterable[ScoreRecord]) -> list[Pair]:
    """Return the pairs ``again``, none where each method was trained with one seed."""
    return list(_again([score for score in scores if score.sort == "answers"]))


def duels(found: Iterable[Pair], items: Items, limit: int | None = None) -> list[tuple[Duel, ...]]:
    """Return, prompt by prompt, the pairs whose sides both answered it.

    Prompts come in an order drawn once for all pairs, so that a judging that is cut short treats
    all pairs and tasks alike. A `limit` keeps the first prompts of each task in that order: a
    higher one adds to it.

    Raises:
        AdakdError: the words of an item are missing.
    """
    by_task: dict[str, list[Pair]] = {}
    for pair in found:
        by_task.setdefault(pair.candidate.task, []).append(pair)
    prompts: dict[str, tuple[Duel, ...]] = {}
    for task, its_pairs in by_task.items():
        its = dict(_of_task(task, its_pairs, items.get(task, {})))
        prompts |= {place: its[place] for place in sorted(its)[:limit]}
    return [prompts[place] for place in sorted(prompts)]


def _of_task(
    task: str, its_pairs: Sequence[Pair], texts: Mapping[str, ItemText]
) -> Iterator[tuple[str, tuple[Duel, ...]]]:
    """Yield the duels of each item, with the item's place in the drawn order."""
    sides = [(pair, *_answers(pair, texts)) for pair in its_pairs]
    shared = {item for _, mine, theirs in sides for item in mine.keys() & theirs.keys()}
    for item in shared:
        text = _text(task, item, texts)
        hidden = _without_first(text)
        yield (
            digest(task, item),
            tuple(
                Duel(pair, item, text if pair.opponent else hidden, mine[item], theirs[item])
                for pair, mine, theirs in sides
                if item in mine and item in theirs
            ),
        )


def _each_against(answered: _Answered, against: str) -> Iterator[Pair]:
    arms = _arms(answered.values())
    unseeded = {s.cell.method for s in answered.values() if s.cell.role in _UNSEEDED}
    for score in answered.values():
        if score.cell.role in _CANDIDATES:
            method = _twin(score, against) if against in arms else against
            seed = None if method in unseeded else score.cell.seed
            opponent = answered.get((method, seed, score.task, score.sampling_seed))
            if against == REFERENCE or (opponent is not None and opponent is not score):
                yield Pair(against, score, opponent)


def _again(answered: Iterable[ScoreRecord]) -> Iterator[Pair]:
    groups: dict[tuple[str, str, int | None], dict[int, ScoreRecord]] = {}
    for score in answered:
        if score.cell.role == "distilled" and score.cell.arm == PLAIN:
            place = score.cell.method, score.task, score.sampling_seed
            groups.setdefault(place, {})[score.cell.seed] = score
    for by_seed in groups.values():
        if len(by_seed) > 1:
            first, second, *_ = by_seed.values()
            yield Pair(AGAIN, first, second)


def _all(answered: Iterable[ScoreRecord]) -> Iterator[Pair]:
    for one, other in combinations(answered, 2):
        (mine, seed, *where), (theirs, its_seed, *there) = _place(one), _place(other)
        same_seed = seed == its_seed or seed is None or its_seed is None
        if mine != theirs and where == there and same_seed:
            yield Pair(ALL, one, other)


def _arms(scores: Iterable[ScoreRecord]) -> set[str]:
    return {score.cell.arm for score in scores if score.cell.role == "distilled"}


def _place(score: ScoreRecord) -> _Place:
    seed = None if score.cell.role in _UNSEEDED else score.cell.seed
    return score.cell.method, seed, score.task, score.sampling_seed


def _twin(score: ScoreRecord, against: str) -> str:
    """Return the method that differs from a score's in the arm alone."""
    return score.cell.model_copy(update={"arm": against}).method


def _check_name(against: str, scores: Iterable[ScoreRecord]) -> None:
    scores = list(scores)
    known = {PLAIN, REFERENCE, AGAIN, ALL} | _arms(scores)
    known |= {score.cell.method for score in scores}
    if against not in known:
        raise UnknownName(f"--against {against!r}: not in this run{did_you_mean(against, known)}")


def _answers(pair: Pair, texts: Mapping[str, ItemText]) -> tuple[dict[str, str], dict[str, str]]:
    """Return both sides' answers by item; the reference's are in the texts."""
    if pair.opponent is None:
        known = {item: text.references[0] for item, text in texts.items() if text.references}
        return _of(pair.candidate), known
    return _of(pair.candidate), _of(pair.opponent)


def _of(score: ScoreRecord) -> dict[str, str]:
    return {item.id: item.answer for item in score.items if item.answer is not None}


def _text(task: str, item: str, texts: Mapping[str, ItemText]) -> ItemText:
    if item not in texts:
        raise AdakdError(
            f"task {task!r} has no item {item!r} any more: judge with the data of the run"
        )
    return texts[item]


def _without_first(text: ItemText) -> ItemText:
    """Hide the reference that is itself an answer: shown as right, it would always win."""
    return ItemText(text.instruction, text.input, text.references[1:])
