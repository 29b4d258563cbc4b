r"""Errors of comparisons on the same items, drawn jointly as if nothing had an effect.

Items are resampled with all comparisons together, and each comparison gets the p-value of
Student's t that it would have had on these items,

.. math:: t^* = \frac{\sum_i w_i u_i}
          {\sqrt{\sum_i w_i (u_i - \bar u^*)^2 \, n / (n - 1)}},

from the pulls :math:`u_i` of the items on its estimate, which have the mean 0, and the number
:math:`w_i` of times that each was drawn. So the draws have the correlation of the comparisons, and
their skewness: with 60 differences that are skewed as an exponential is, t is in its 0.6 % tails
nearly three times as often, which no correlation tells.

Training seeds are too few to be resampled. Their part of the error is normal, and independent
between comparisons, for which a family needs most (Šidák's inequality).

References:
    Westfall and Young, Resampling-Based Multiple Testing, Wiley 1993, chapter 2;
    Hall and Wilson, `Two Guidelines for Bootstrap Hypothesis Testing
    <https://doi.org/10.2307/2532163>`_, Biometrics 1991: why the mean is taken off;
    Šidák, `Rectangular Confidence Regions <https://doi.org/10.2307/2283989>`_, JASA 1967.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtr

from adakd.stats.bootstrap import Array, Indices, draw_items, new_generator
from adakd.stats.error_law import chi_square_df

DRAWS = 10_000
"""Joint draws: an adjusted p of 0.05 has a standard error of 0.002."""
_BATCH = 2_000_000
"""Counts of items, or p-values, in memory at once."""
_NOTHING = 1e-6
"""Share of a variance that single precision cannot tell from none."""
_Single = NDArray[np.float32]


@dataclass(frozen=True)
class JointErrors:
    """What decides how the errors of some comparisons vary, and vary together."""

    pulls: Array
    """How far each item pulls each estimate, comparisons x items; 0 where it has no score."""
    sets: Indices
    """The set of each item, as a number from 0: items are resampled within their set."""
    errors: Array
    """The standard error of each estimate, from items and training seeds together."""
    draws: int = DRAWS

    def null_p_values(self) -> Iterator[Array]:
        """Yield draws x comparisons of p-values without any effect, some draws at a time."""
        generator = new_generator()
        columns = [np.flatnonzero(self.sets == one) for one in range(int(self.sets.max()) + 1)]
        of_items = np.sqrt(sum(_variance(self.pulls[:, items]) for items in columns))
        scale = np.where(of_items > 0, of_items, 1.0)
        share = np.minimum(of_items / np.where(self.errors > 0, self.errors, 1.0), 1)
        share = np.where(share > 1 - _NOTHING, 1.0, share)  # of the error, due to items
        powers = [_Powers.of(self.pulls[:, items] / scale[:, None]) for items in columns]
        size = max(1, _BATCH // max(self.pulls.shape))
        for start in range(0, self.draws, size):
            drawn = min(size, self.draws - start)
            counts = [next(draw_items(len(items), drawn, generator)) for items in columns]
            p = _p_values(counts, powers, len(self.pulls))
            if (share < 1).any():
                of_seeds = generator.standard_normal(p.shape)
                z = share * ndtri(p / 2) + np.sqrt(1 - share**2) * of_seeds
                p = np.where(share < 1, 2 * ndtr(-np.abs(z)), p)
            yield p


def _variance(pulls: Array) -> Array:
    """Return the variance of each estimate due to the items of one set."""
    n = pulls.shape[1]
    return np.asarray((pulls**2).sum(1) * n / max(n - 1, 1))


@dataclass(frozen=True)
class _Powers:
    """The first to fourth powers of the pulls of the items of one set."""

    used: Indices | slice
    """The comparisons that the set pulls at all: of single sets few."""
    values: _Single
    """Items x (first to fourth powers of these comparisons)."""

    @classmethod
    def of(cls, pulls: Array) -> "_Powers":
        """Return the powers of pulls, comparisons x items."""
        is_used = pulls.any(1)
        used = slice(None) if is_used.all() else np.flatnonzero(is_used)
        powers = np.concatenate([pulls[used] ** power for power in (1, 2, 3, 4)])
        return cls(used, powers.T.astype(np.float32))


def _p_values(counts: Sequence[Array], powers: Sequence[_Powers], comparisons: int) -> Array:
    """Return draws x comparisons of Student's t, its degrees of freedom as of the real items.

    Args:
        counts: how often each item was drawn, draws x items, for each set.
        powers: of their pulls, in the unit of the standard error.
        comparisons: their number.
    """
    shape = len(counts[0]), comparisons
    total, variance, square, fourth = (np.zeros(shape) for _ in range(4))
    for of_items, of_powers in zip(counts, powers, strict=True):
        n, used = of_items.shape[1], of_powers.used
        sums = (of_items.astype(np.float32) @ of_powers.values).astype(float)
        first, second, third, last = np.split(sums, 4, axis=1)
        mean = first / n
        centred = np.maximum(second - first * mean, 0)
        total[:, used] += first
        square[:, used] += centred
        variance[:, used] += centred * (n / max(n - 1, 1))
        moment = mean * (4 * third - mean * (6 * second - 3 * mean * first))
        fourth[:, used] = fourth[:, used] + last - moment
    varies = variance > _NOTHING
    t = np.divide(total, np.sqrt(variance), out=np.zeros_like(variance), where=varies)
    n = sum(of_items.shape[1] for of_items in counts)
    kurtosis = np.divide(n * fourth, square**2, out=np.full_like(square, 3.0), where=varies)
    return np.asarray(2 * stdtr(chi_square_df(n, kurtosis), -np.abs(t)))
