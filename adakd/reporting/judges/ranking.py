"""Ranking of all methods: Bradley-Terry strengths from every comparison of a judge."""

from collections.abc import Sequence
from dataclasses import dataclass

from adakd.judging.comparisons import AGAIN
from adakd.reporting.charts import Axis, axis_over
from adakd.reporting.formatting import counted
from adakd.reporting.judges.vetting import JudgeLabel, judge_vettings
from adakd.reporting.sections.base import Context
from adakd.reporting.verdicts import JudgedComparison
from adakd.stats import Game, Ranking, bradley_terry
from adakd.stats.win_rate import POINTS

LEAST = 3
"""Least players of a ranking; two are compared by their win rate."""


@dataclass(frozen=True)
class JudgeRanking:
    """The ranking by one judge."""

    judge: JudgeLabel
    ranking: Ranking

    @property
    def axis(self) -> Axis:
        """The axis of all strengths, and of intervals up to a readable length."""
        strengths = [player.strength for player in self.ranking.players]
        reach = 3 * max(map(abs, strengths), default=0)
        ends = [end for player in self.ranking.players for end in (player.low, player.high)]
        return axis_over([*strengths, *(min(max(end, -reach), reach) for end in ends)], include=0.0)

    @property
    def note(self) -> str:
        """Intransitive triples, and the methods and resamples that are left out."""
        ranking = self.ranking
        parts = [
            f"Intransitive: {ranking.intransitive:,} of "
            f"{counted(ranking.triples, 'triple')} (a beats b, b beats c, c beats a)."
        ]
        if ranking.left_out:
            parts.append(f"Without {', '.join(ranking.left_out)}: no comparison links them.")
        if ranking.dropped:
            parts.append(
                f"{counted(ranking.dropped, 'resample')} left some methods without a link "
                "and are not used."
            )
        return " ".join(parts)


@dataclass(frozen=True)
class Rankings:
    """The rankings by all judges that compared enough methods."""

    rows: tuple[JudgeRanking, ...]


def ranking(context: Context) -> Rankings | None:
    """Rank all methods by each judge; None where two files were judged and there is no ranking."""
    verdicts = context.verdicts
    judges = context.once(judge_vettings)
    found = ((one.label, ranked(verdicts.comparisons[one.key])) for one in judges)
    rows = tuple(JudgeRanking(judge, its) for judge, its in found if its)
    if not verdicts.judges or (context.index.is_of_files and not rows):
        return None
    return Rankings(rows)


def ranked(comparisons: Sequence[JudgedComparison]) -> Ranking | None:
    """Rank all methods that a judge compared, the reference too; None if too few are linked."""
    games = _games(comparisons)
    if len({name for game in games for name in (game.first, game.second)}) < LEAST:
        return None
    try:
        return bradley_terry(games)
    except ValueError:  # no three of them are linked by their comparisons
        return None


def _games(comparisons: Sequence[JudgedComparison]) -> list[Game]:
    """Return each comparison once, also if it was judged under several kinds of opponent."""
    once: dict[tuple[object, ...], Game] = {}
    for one in comparisons:
        points, id = POINTS.get(one.outcome), one.id
        if points is not None and id.against != AGAIN:
            cells = frozenset((id.candidate, id.opponent))
            first, second = str(one.candidate.method), str(one.opponent.method)
            game = Game(id.cluster, first, second, points)
            once.setdefault((cells, id.prompt, id.sampling_seed), game)
    return list(once.values())
