"""Pair the answers of a run for judging; pure, and independent of the judge."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, count

from adakd.config.hashing import digest
from adakd.config.judge import Asks
from adakd.errors import AdakdError, UnknownName, did_you_mean
from adakd.judging.base import ItemText, Question
from adakd.judging.conversations import first_turn
from adakd.planning import PLAIN, SEEDED, Cell
from adakd.store.records import ScoreRecord

REFERENCE = "reference"
"""The opponent that is not a model: the first reference answer."""
AGAIN = "again"
"""The opponent that differs only in the training seed: a baseline for chance."""
ALL = "all"
"""Each method against every other."""
_UNSEEDED = {"teacher", "untrained", "file"}
"""Roles with a single cell for all training seeds."""
_CANDIDATES = {"distilled", "elsewhere", "file"}

Items = Mapping[str, Mapping[str, ItemText]]
"""Item texts by task and item id."""
_Place = tuple[str, int | None, str, int | None]
_Answered = Mapping[_Place, ScoreRecord]


@dataclass(frozen=True)
class Subject:
    """The input of a judging: answers, the texts of their items, and the opponent."""

    scores: tuple[ScoreRecord, ...]
    items: Items
    against: str = PLAIN
    """The opponent, as in :func:`comparisons`."""
    note: str = ""
    """A message for the user about answers that were left out."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sets of answers to the same items, the candidate's and the opponent's."""

    against: str
    """The name the opponent was selected by."""
    candidate: ScoreRecord
    opponent: ScoreRecord | None
    """None for the reference answers."""


@dataclass(frozen=True, slots=True)
class Match:
    """One item of a comparison: two answers side by side."""

    comparison: Comparison
    item: str
    text: ItemText
    answer: str
    other: str

    @property
    def task(self) -> str:
        """The item's task."""
        return self.comparison.candidate.task

    @property
    def identical(self) -> bool:
        """Whether both answers are the same, so that there is nothing to judge."""
        return self.answer.strip() == self.other.strip()

    def question(self, candidate_first: bool, asks: Asks) -> Question:
        """Return the question in one order; a rating judge sees only the first answer."""
        first, second = (self.answer, self.other) if candidate_first else (self.other, self.answer)
        return Question(self.text, first, second if asks == "pair" else None)


def comparisons(scores: Iterable[ScoreRecord], against: str = PLAIN) -> list[Comparison]:
    """Return the comparisons of a run.

    Both sides have the same task and sampling seed, and the same training seed if both have one.
    A student trained elsewhere shares no seed with ours: its first training meets our first one,
    and so on; a single one meets all.

    Args:
        scores: of a run; scores of tasks without answers are skipped.
        against: ``plain`` compares each distilled cell with the same cell in the plain arm, the
            name of another arm with the same cell in that arm; ``reference``, a role
            (``teacher``) or a method (``reverse_kl``) compares all distilled cells with it;
            ``again`` compares the first training seed of each plain method with its second;
            ``all`` compares each method with every other.

    Raises:
        AdakdError: `against` names nothing in this run, or there is nothing to compare.
    """
    answered = _answered(scores)
    _check_name(against, answered.values())
    if against == AGAIN:
        found = list(_again(answered.values()))
    elif against == ALL:
        found = list(_all(answered))
    else:
        found = list(_each_against(answered, against))
    if not found:
        raise AdakdError(f"nothing to judge against {against!r}: the run has no pair of answers")
    return found


def chance_comparisons(scores: Iterable[ScoreRecord]) -> list[Comparison]:
    """Return the comparisons ``again``; none if each method has a single training seed."""
    return list(_again([score for score in scores if score.sort == "answers"]))


def matches(
    compared: Iterable[Comparison], items: Items, limit: int | None = None
) -> list[tuple[Match, ...]]:
    """Return the matches of each prompt: one for each comparison whose sides both answered it.

    The order of the prompts is drawn once for all comparisons, so that a judging that stops early
    treats all comparisons and tasks alike. `limit` keeps the first prompts of each task in that
    order: a higher limit only adds prompts.

    Raises:
        AdakdError: the text of an item is missing.
    """
    by_task: dict[str, list[Comparison]] = {}
    for comparison in compared:
        by_task.setdefault(comparison.candidate.task, []).append(comparison)
    prompts: dict[str, tuple[Match, ...]] = {}
    for task, of_task in by_task.items():
        drawn = dict(_matches_of_task(task, of_task, items.get(task, {})))
        for place in sorted(drawn)[:limit]:
            # the turns of one conversation are one prompt
            prompts[place] = prompts.get(place, ()) + drawn[place]
    return [prompts[place] for place in sorted(prompts)]


def _matches_of_task(
    task: str, compared: Sequence[Comparison], texts: Mapping[str, ItemText]
) -> Iterator[tuple[str, tuple[Match, ...]]]:
    """Yield the matches of each item, with the item's place in the drawn order."""
    sides = [(comparison, *_answers(comparison, texts)) for comparison in compared]
    shared = {item for _, mine, theirs in sides for item in mine.keys() & theirs.keys()}
    for item in shared:
        text = _text(task, item, texts)
        hidden = _without_first_reference(text)
        yield (
            digest(first_turn(task), item),
            tuple(
                Match(each, item, text if each.opponent else hidden, mine[item], theirs[item])
                for each, mine, theirs in sides
                if item in mine and item in theirs
            ),
        )


def _each_against(answered: _Answered, against: str) -> Iterator[Comparison]:
    arms = _arms(answered.values())
    unseeded = {method for method, seed, _, _ in answered if seed is None}
    for (_, own, task, sampling_seed), score in answered.items():
        role = score.cell.role
        if role not in _CANDIDATES or (role == "elsewhere" and against in arms):
            continue  # no arm of ours differs from it in the arm alone
        method = _same_in_arm(score, against) if against in arms else against
        for seed in _opponent_seeds(answered, method, own, method in unseeded):
            opponent = answered.get((method, seed, task, sampling_seed))
            if opponent is None:  # answers from a file, which were sampled once
                opponent = answered.get((method, seed, task, None))
            if against == REFERENCE or (opponent is not None and opponent is not score):
                yield Comparison(against, score, opponent)


def _opponent_seeds(
    answered: _Answered, method: str, own: int | None, is_unseeded: bool
) -> list[int | None]:
    """Return the training seeds of an opponent that a candidate with the seed `own` meets."""
    if is_unseeded or method == REFERENCE:
        return [None]
    return [own] if own is not None else [*dict.fromkeys(s for m, s, *_ in answered if m == method)]


def _again(answered: Iterable[ScoreRecord]) -> Iterator[Comparison]:
    groups: dict[tuple[str, str, int | None], dict[int, ScoreRecord]] = {}
    for score in answered:
        if score.cell.role == "distilled" and score.cell.arm == PLAIN:
            place = score.cell.method, score.task, score.sampling_seed
            groups.setdefault(place, {})[score.cell.seed] = score
    for by_seed in groups.values():
        yield from (Comparison(AGAIN, *pair) for pair in combinations(by_seed.values(), 2))


def _all(answered: _Answered) -> Iterator[Comparison]:
    for (place, one), (its_place, other) in combinations(answered.items(), 2):
        (mine, seed, *where), (theirs, its_seed, *there) = place, its_place
        same_seed = seed == its_seed or seed is None or its_seed is None
        if mine != theirs and where == there and same_seed:
            yield Comparison(ALL, one, other)


def _arms(scores: Iterable[ScoreRecord]) -> set[str]:
    return {score.cell.arm for score in scores if score.cell.role == "distilled"}


def _answered(scores: Iterable[ScoreRecord]) -> dict[_Place, ScoreRecord]:
    """Return the scores with answers by method, training seed, task and sampling seed."""
    scores = [score for score in scores if score.sort == "answers"]
    seeds = _seeds_met(score.cell for score in scores)
    return {
        (score.cell.method, seeds[score.cell.key], score.task, score.sampling_seed): score
        for score in scores
    }


def _seeds_met(cells: Iterable[Cell]) -> dict[str, int | None]:
    """Return the training seed that each cell is compared under, by key; None meets every seed."""
    by_key = {cell.key: cell for cell in cells}
    met = {key: None if c.role in _UNSEEDED else c.seed for key, c in by_key.items()}
    ours = sorted({cell.seed for cell in by_key.values() if cell.role in SEEDED})
    elsewhere: dict[str, list[Cell]] = {}
    for cell in by_key.values():
        if cell.role == "elsewhere":
            elsewhere.setdefault(cell.method, []).append(cell)
    for of_method in elsewhere.values():
        in_order = sorted(of_method, key=lambda cell: cell.seed)
        beyond = count(max(ours, default=0) + 1)  # more trainings than ours: these meet none
        pairs = zip(in_order, chain(ours, beyond), strict=False)
        met |= {cell.key: None if len(in_order) == 1 else seed for cell, seed in pairs}
    return met


def _same_in_arm(score: ScoreRecord, against: str) -> str:
    """Return the method that differs from a score's only in the arm."""
    return score.cell.model_copy(update={"arm": against}).method


def _check_name(against: str, scores: Iterable[ScoreRecord]) -> None:
    scores = list(scores)
    known = {PLAIN, REFERENCE, AGAIN, ALL} | _arms(scores)
    known |= {score.cell.method for score in scores}
    if against not in known:
        raise UnknownName(f"--against {against!r}: not in this run{did_you_mean(against, known)}")


def _answers(
    comparison: Comparison, texts: Mapping[str, ItemText]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the answers of both sides by item; reference answers come from the texts."""
    if comparison.opponent is None:
        known = {item: text.references[0] for item, text in texts.items() if text.references}
        return _by_item(comparison.candidate), known
    return _by_item(comparison.candidate), _by_item(comparison.opponent)


def _by_item(score: ScoreRecord) -> dict[str, str]:
    return {item.id: item.answer for item in score.items if item.answer is not None}


def _text(task: str, item: str, texts: Mapping[str, ItemText]) -> ItemText:
    if item not in texts:
        raise AdakdError(
            f"task {task!r} no longer has the item {item!r}: judge with the data that the run used"
        )
    return texts[item]


def _without_first_reference(text: ItemText) -> ItemText:
    """Hide the reference that is one of the answers: shown as correct, it would always win."""
    return ItemText(text.instruction, text.input, text.references[1:])
