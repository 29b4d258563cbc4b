"""Scores of a run -> pairs of answers to judge; pure, and the same whatever the judge."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from adakd.errors import AdakdError, UnknownName, did_you_mean
from adakd.judging.judge import ItemText, Question
from adakd.planning import PLAIN, Cell, digest
from adakd.results import ScoreRecord

TWIN = "plain"
"""The default opponent: the same student without a token-adaptive method."""
REFERENCE = "reference"
"""The opponent that is no model: the first reference answer."""
_UNSEEDED = {"teacher", "untrained"}
"""Roles with one cell for all training seeds."""

Items = Mapping[str, Mapping[str, ItemText]]
"""The words of every item, by task and item id."""
_Place = tuple[str, int | None, str, int | None]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two sets of answers to the same items."""

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
    def identical(self) -> bool:
        """Whether there is nothing to judge."""
        return self.answer.strip() == self.other.strip()

    def question(self, candidate_first: bool) -> Question:
        """Return the question in one order."""
        if candidate_first:
            return Question(self.text, self.answer, self.other)
        return Question(self.text, self.other, self.answer)


def pairs(scores: Iterable[ScoreRecord], against: str = TWIN) -> list[Pair]:
    """Return what is compared: same task and sampling seed, and same seed where both have one.

    Args:
        scores: of a run; those of tasks without answers are passed over.
        against: ``plain`` sets each distilled cell beside the same cell without a token-adaptive
            method, the name of another arm beside the same cell in that arm; ``reference``, a
            role (``teacher``) or a method (``reverse_kl``) sets all distilled cells beside that.

    Raises:
        AdakdError: nothing is called `against`, or nothing is there to compare.
    """
    answered = {_place(score): score for score in scores if score.sort == "answers"}
    arms = {cell.arm for cell in _cells(answered.values()) if cell.role == "distilled"}
    arms = {TWIN if arm == PLAIN else arm for arm in arms}
    _check_name(against, arms | {cell.method for cell in _cells(answered.values())})
    found = []
    for score in answered.values():
        if score.cell.role != "distilled":
            continue
        opponent = answered.get(_opponent(score, against, against in arms))
        if against == REFERENCE or (opponent is not None and opponent is not score):
            found.append(Pair(score, opponent))
    if not found:
        raise AdakdError(f"nothing to judge against {against!r}: the run has no pair of answers")
    return found


def duels(found: Iterable[Pair], items: Items, limit: int | None = None) -> Iterator[Duel]:
    """Yield the items that both sides of a pair answered, in an order drawn once for all pairs.

    All pairs of an item come together, so a judging that is cut short treats them alike. A
    `limit` keeps the first items of each task in that order: a higher one adds to it.

    Raises:
        AdakdError: the words of an item are missing.
    """
    by_task: dict[str, list[Pair]] = {}
    for pair in found:
        by_task.setdefault(pair.candidate.task, []).append(pair)
    for task, its_pairs in by_task.items():
        texts = items.get(task, {})
        sides = [(pair, *_answers(pair, texts)) for pair in its_pairs]
        shared = {item for _, mine, theirs in sides for item in mine.keys() & theirs.keys()}
        for item in sorted(shared, key=lambda item: digest(task, item))[:limit]:
            text = _text(task, item, texts)
            for pair, mine, theirs in sides:
                if item in mine and item in theirs:
                    shown = text if pair.opponent else _without_first(text)
                    yield Duel(pair, item, shown, mine[item], theirs[item])


def _cells(scores: Iterable[ScoreRecord]) -> Iterator[Cell]:
    return (score.cell for score in scores)


def _place(score: ScoreRecord) -> _Place:
    seed = None if score.cell.role in _UNSEEDED else score.cell.seed
    return score.cell.method, seed, score.task, score.sampling_seed


def _opponent(score: ScoreRecord, against: str, is_arm: bool) -> _Place:
    method = against
    if is_arm:
        arm = PLAIN if against == TWIN else against
        method = score.cell.model_copy(update={"arm": arm}).method
    seed = None if method in _UNSEEDED else score.cell.seed
    return method, seed, score.task, score.sampling_seed


def _check_name(against: str, known: set[str]) -> None:
    known = known | {TWIN, REFERENCE}
    if against not in known:
        raise UnknownName(f"--against {against!r}: not in this run{did_you_mean(against, known)}")


def _answers(pair: Pair, texts: Mapping[str, ItemText]) -> tuple[dict[str, str], dict[str, str]]:
    """Return both sides' answers by item; the reference's are in the texts."""
    if pair.opponent is None:
        return _of(pair.candidate), {item: text.references[0] for item, text in texts.items()}
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
