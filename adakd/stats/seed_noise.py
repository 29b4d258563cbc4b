r"""How far two trainings of one method differ, and what that says about a mean over trainings.

If trainings of a method have independent effects of variance :math:`\sigma^2`, the squared distance
of two of them has the mean :math:`2 \sigma^2`. Over all pairs of S trainings the mean square is
twice the sample variance: S - 1 degrees of freedom, however many the pairs. A gain is a mean over
trainings; where an arm changes nothing, its gain still has the variance :math:`2 \sigma^2 / S`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt

import numpy as np
from scipy.special import gammaincinv, stdtrit

from adakd.stats.bootstrap import LEVEL

Distances = Mapping[tuple[int, int], float]
"""The distance of two trainings of a method, by their seeds."""


@dataclass(frozen=True)
class SeedNoise:
    """The distance of two trainings that differ in their seed alone."""

    distance: float
    """Root mean square over all pairs of trainings."""
    low: float
    """Lower end of its 95 % interval, for normal effects."""
    high: float
    df: int
    """Trainings minus methods."""
    pairs: int

    def band(self, trainings: int, sides: int = 2) -> float:
        r"""Return how far from 0 chance in training takes a gain in 95 of 100 runs.

        .. math:: t_{0.975, \nu} \cdot \text{distance} / \sqrt{S}

        Args:
            trainings: the S seeds that the gain is a mean over.
            sides: 2 for a gain over a method that is trained too; 1 over one that is the same for
                all seeds, such as the teacher: the variance is half of that.
        """
        return float(stdtrit(self.df, 1 - LEVEL / 2)) * self.distance * sqrt(sides / 2 / trainings)


def seed_noise(methods: Sequence[Distances]) -> SeedNoise | None:
    """Return the distance of two trainings from all pairs of each method.

    None without any pair, and where no pair differs: there is then no variation to go by.
    """
    methods = [distances for distances in methods if distances]
    if not any(distance for distances in methods for distance in distances.values()):
        return None
    dfs = [len({seed for pair in distances for seed in pair}) - 1 for distances in methods]
    squares = [float(np.mean(np.square(list(distances.values())))) for distances in methods]
    df = sum(dfs)
    total = float(np.dot(dfs, squares))
    of_chi2 = (2 * float(gammaincinv(df / 2, p)) for p in (1 - LEVEL / 2, LEVEL / 2))
    low, high = (sqrt(total / quantile) for quantile in of_chi2)
    return SeedNoise(sqrt(total / df), low, high, df=df, pairs=sum(map(len, methods)))


def distances(values: Mapping[int, float]) -> Distances:
    """Return the distances of all pairs of trainings, from a value of each seed."""
    return {(a, b): values[a] - values[b] for a, b in combinations(values, 2)}
