"""Fit Bradley-Terry strengths to tables of games and points, many tables at once.

A table is players x players; the functions take a stack of tables, one per replicate.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from adakd.stats.bootstrap import Array, Indices, sums_by

RIDGE = 0.1
"""Weight of the squared strengths, relative to 1 for a game: keeps unbeaten players finite."""
STEPS = 100
"""Maximum number of Newton steps; six to eight suffice."""


def tally(first: Indices, second: Indices, points: Array, weights: Array) -> tuple[Array, Array]:
    """Sum the weighted games and points of every two players.

    Args:
        first: one player of each game, as a number from 0.
        second: the other player.
        points: points of the first player, 0 to 1.
        weights: weights of the games, replicates x games.

    Returns:
        met (symmetric) and won (row against column), replicates x players x players.
    """
    players = int(max(first.max(), second.max())) + 1
    cells, cell = np.unique(first * players + second, return_inverse=True)
    of_cell = sums_by(cell)
    games, won = np.zeros((2, len(weights), players**2))
    games[:, cells], won[:, cells] = of_cell(weights), of_cell(weights * points)
    games, won = (table.reshape(-1, players, players) for table in (games, won))
    met = games + games.swapaxes(1, 2)
    return met, won + (games - won).swapaxes(1, 2)


def fit_strengths(met: Array, won: Array) -> Array:
    r"""Maximise the Bradley-Terry log-likelihood minus :math:`\lambda |s|^2 / 2`.

    Returns:
        Log-odds, replicates x players; the ridge puts their mean at 0.
    """
    strengths = np.zeros(met.shape[:2])
    diagonal = np.eye(met.shape[1])
    for _ in range(STEPS):
        chance = expit(strengths[:, :, None] - strengths[:, None, :])
        slope = (won - met * chance).sum(2) - RIDGE * strengths
        shared = met * chance * (1 - chance)
        curvature = diagonal * (shared.sum(2) + RIDGE)[:, :, None] - shared
        step = np.linalg.solve(curvature, slope[:, :, None])[:, :, 0]
        strengths = strengths + step
        if np.abs(step).max(initial=0) < 1e-8:
            break
    return strengths


def reachable(met: Array) -> NDArray[np.bool_]:
    """Return whether a chain of games links every two players."""
    players = met.shape[1]
    reached = (met > 0) | np.eye(players, dtype=bool)
    for _ in range(players.bit_length()):
        reached = reached @ reached
    return np.asarray(reached)


def cycles(met: Array, won: Array) -> tuple[int, int]:
    """Count the intransitive triples of one table, and all triples with games among all three."""
    beats = (won > won.T).astype(int)
    meets = (met > 0).astype(int)
    return int(np.trace(beats @ beats @ beats)) // 3, int(np.trace(meets @ meets @ meets)) // 6
