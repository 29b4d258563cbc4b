"""Rank players by Bradley-Terry strength, with groups that the games cannot separate."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adakd.stats.bootstrap import (
    LEVEL,
    REPLICATES,
    Array,
    Indices,
    draw_items,
    interval,
    new_generator,
    numbered,
)
from adakd.stats.bradley_terry import cycles, fit_strengths, reachable, tally
from adakd.stats.letter_display import compact_letters
from adakd.stats.multiple_testing import sign_flip_floor


@dataclass(frozen=True)
class Game:
    """Two answers to one prompt, judged."""

    prompt: Hashable
    first: str
    second: str
    points: float
    """Points of the first: 1 for a win, 0.5 for a tie, 0 for a loss, or a value between."""


@dataclass(frozen=True)
class Ranked:
    """A player and its strength."""

    name: str
    strength: float
    """Log-odds of winning against a player of mean strength."""
    low: float
    high: float
    letters: str
    """Players that share a letter are not separable from each other."""


@dataclass(frozen=True)
class Ranking:
    """The players linked by games, the strongest first."""

    players: tuple[Ranked, ...]
    games: int
    """Number of games between these players."""
    left_out: tuple[str, ...]
    """Players that no chain of games links to the others."""
    dropped: int
    """Number of replicates without strengths, because their games did not link all players."""
    intransitive: int
    """Number of triples in which, by the majority of points, a beats b, b beats c and c beats a."""
    triples: int
    """Number of triples of players that all met each other."""


@dataclass(frozen=True)
class _Table:
    """The games between linked players, as columns."""

    first: Indices
    second: Indices
    points: Array
    prompts: Indices

    @classmethod
    def of(cls, games: Sequence[Game], names: Sequence[str]) -> "_Table":
        place = {name: number for number, name in enumerate(names)}
        return cls(
            first=np.array([place[game.first] for game in games], np.intp),
            second=np.array([place[game.second] for game in games], np.intp),
            points=np.array([game.points for game in games], float),
            prompts=numbered([game.prompt for game in games]),
        )

    def tally(self, weights: Array) -> tuple[Array, Array]:
        return tally(self.first, self.second, self.points, weights)


def bradley_terry(games: Sequence[Game], replicates: int = REPLICATES) -> Ranking:
    r"""Rank players by their maximum-likelihood strengths.

    .. math:: P(i \text{ beats } j) = 1 / (1 + e^{s_j - s_i})

    A tie is half a win. Strengths maximise the log-likelihood minus :math:`\lambda |s|^2 / 2`, with
    lambda = ``RIDGE`` of :mod:`adakd.stats.bradley_terry`, which puts their mean at 0. They are
    refitted to resampled prompts, keeping all games of a prompt together. Only the ridge limits the
    strength of a player that won, or lost, every game: its interval is then too narrow.

    Two players are separable if their gap lies outside a simultaneous band, which contains the gaps
    of all pairs in 95 % of the replicates, and if a sign-flip test on as many prompts could reject.
    The order of the games does not matter.

    Raises:
        ValueError: a game has the same player twice; fewer than three players are linked by
            games; there is one prompt only, or too few to link the players again.

    References:
        Bradley and Terry, `Rank Analysis of Incomplete Block Designs
        <https://doi.org/10.2307/2334029>`_, 1952.
    """
    inside, left_out = _linked(games)
    kept = sorted((game for game in games if game.first not in left_out), key=repr)
    table = _Table.of(kept, inside)
    met, won = table.tally(np.ones((1, len(kept))))
    strengths = fit_strengths(met, won)[0]
    refits = _refits(table, replicates)
    prompts = int(table.prompts.max()) + 1
    widened = strengths + (refits - strengths) * np.sqrt(prompts / (prompts - 1))
    intransitive, triples = cycles(met[0], won[0])
    return Ranking(
        players=_ranked(inside, strengths, widened, prompts),
        games=len(kept),
        left_out=left_out,
        dropped=replicates - len(refits),
        intransitive=intransitive,
        triples=triples,
    )


def _linked(games: Sequence[Game]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the players of the largest set linked by games, and the other players."""
    if any(game.first == game.second for game in games):
        raise ValueError("a game needs two players")
    names = sorted({name for game in games for name in (game.first, game.second)})
    if not names:
        raise ValueError("a ranking needs games")
    met, _ = _Table.of(games, names).tally(np.ones((1, len(games))))
    links = reachable(met)[0]
    is_inside = links[links.sum(1).argmax()]
    if is_inside.sum() < 3:
        raise ValueError("a ranking needs at least three players that are linked by games")
    inside = tuple(name for name, here in zip(names, is_inside, strict=True) if here)
    return inside, tuple(name for name in names if name not in inside)


def _refits(table: _Table, replicates: int) -> Array:
    """Fit strengths to resampled prompts, skipping replicates that do not link all players."""
    prompts = int(table.prompts.max()) + 1
    if prompts < 2:
        raise ValueError("a ranking needs games on at least two prompts")
    fits = []
    for counts in draw_items(prompts, replicates, new_generator()):
        met, won = table.tally(counts[:, table.prompts])
        linked = reachable(met).all(axis=(1, 2))
        fits.append(fit_strengths(met[linked], won[linked]))
    if sum(map(len, fits)) < 2:
        raise ValueError("a ranking needs more prompts: resampled ones never link all players")
    return np.concatenate(fits)


def _ranked(
    names: Sequence[str], strengths: Array, replicates: Array, prompts: int
) -> tuple[Ranked, ...]:
    """Order the players by strength, with intervals and letters."""
    order = np.argsort(-strengths, kind="stable")
    strengths, replicates = strengths[order], replicates[:, order]
    letters = compact_letters(_separable(strengths, replicates, prompts))
    return tuple(
        Ranked(names[place], float(strengths[rank]), *interval(replicates[:, rank]), letters[rank])
        for rank, place in enumerate(order)
    )


def _separable(strengths: Array, replicates: Array, prompts: int) -> NDArray[np.bool_]:
    """Return which gaps lie outside the simultaneous band of 95 % of the replicates."""
    gaps = strengths[:, None] - strengths
    if sign_flip_floor(prompts) >= LEVEL:
        return np.zeros(gaps.shape, bool)
    moved = np.abs(replicates[:, :, None] - replicates[:, None, :] - gaps)
    spread = np.sqrt((moved**2).mean(0))
    relative = np.divide(moved, spread, out=np.zeros_like(moved), where=spread > 0)
    widest = relative.max(axis=(1, 2))
    return np.asarray(np.abs(gaps) > np.quantile(widest, 1 - LEVEL) * spread)
