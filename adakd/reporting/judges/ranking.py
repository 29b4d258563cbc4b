"""All methods on one scale: Bradley-Terry strengths from every comparison of a judge."""

from collections.abc import Sequence
from dataclasses import dataclass

from adakd.judging.comparisons import AGAIN
from adakd.reporting.judges.verdicts import JudgedPair
from adakd.stats import Game, Ranking, bradley_terry
from adakd.stats.win_rate import POINTS

LEAST = 3
"""Two players are compared by their win rate; strengths begin with the third."""


@dataclass(frozen=True)
class Standing:
    """The ranking by one judge."""

    judge: str
    ranking: Ranking


def standing(judge: str, pairs: Sequence[JudgedPair]) -> Standing | None:
    """Rank all that a judge compared, the reference too; None where too few were linked."""
    games = _games(pairs)
    if len({name for game in games for name in (game.first, game.second)}) < LEAST:
        return None
    try:
        return Standing(judge, bradley_terry(games))
    except ValueError:  # no three of them are linked by their comparisons
        return None


def _games(pairs: Sequence[JudgedPair]) -> list[Game]:
    """Return each comparison once, whatever the opponent was called when it was asked about."""
    once: dict[tuple[object, ...], Game] = {}
    for pair in pairs:
        points, place = POINTS.get(pair.outcome), pair.place
        if points is not None and place.against != AGAIN:
            cells = frozenset((place.candidate, place.opponent))
            first, second = str(pair.candidate.method), str(pair.opponent.method)
            game = Game(place.prompt, first, second, points)
            once.setdefault((cells, place.prompt, place.sampling_seed), game)
    return list(once.values())
