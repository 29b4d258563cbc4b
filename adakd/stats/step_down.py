r"""Adjusted p-values of a family of comparisons whose errors are correlated.

Comparisons that share a plain arm, or their items, tend to err together: with the same error rate
for the family more can be found than Holm's method allows, which knows nothing of it. With the
null p-values :math:`P_1, ..., P_m` drawn jointly, the j-th smallest p-value becomes

.. math:: \tilde p_{(j)} = \max_{l \le j} \Pr\bigl(\min_{r \ge l} P_{(r)} \le p_{(l)}\bigr),

the step-down minP method. The joint law has normal errors with the correlation that the items
show. Training seeds are too few to show one: their part counts as independent between
comparisons, for which the family needs most (Šidák's inequality).

References:
    Westfall and Young, Resampling-Based Multiple Testing, Wiley 1993, algorithm 2.8;
    Romano and Wolf, `Exact and Approximate Stepdown Methods
    <https://doi.org/10.1198/016214504000000539>`_, JASA 2005;
    Šidák, `Rectangular Confidence Regions <https://doi.org/10.2307/2283989>`_, JASA 1967.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from adakd.stats.bootstrap import LEVEL, Array, new_generator

DRAWS = 20_000
"""Draws of a family's null p-values: an adjusted p of 0.05 has a standard error of 0.0015."""
_BATCH = 2_000_000
"""Null p-values in memory at once."""


def step_down(p_values: Sequence[float], correlation: ArrayLike) -> list[float]:
    """Return the adjusted p-values of a family, in the order given; never below the p alone.

    However large the family, a p-value that is small enough is small after the adjustment too.

    Args:
        p_values: two-sided, each valid by itself.
        correlation: of the errors of the estimates, a square matrix.
    """
    p = np.asarray(p_values, float)
    if not len(p):
        return []
    order = np.argsort(p, kind="stable")
    wanted, below = p[order], np.zeros(len(p))
    for null in _null_p_values(np.asarray(correlation, float)[np.ix_(order, order)]):
        least = np.minimum.accumulate(null[:, ::-1], axis=1)[:, ::-1]
        below += (least <= wanted).sum(0)
    steps = np.maximum.accumulate(np.maximum((below + 1) / (DRAWS + 1), wanted))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1)
    return [float(value) for value in adjusted]


def critical_p(correlation: ArrayLike, level: float = LEVEL) -> float:
    """Return the p-value that a comparison needs alone to be found while no other is.

    `level` for a family of one, about `level` / m for m independent comparisons.
    """
    matrix = np.asarray(correlation, float)
    if len(matrix) < 2:
        return level
    least = np.concatenate([null.min(1) for null in _null_p_values(matrix)])
    return float(np.quantile(least, level))


def correlations(pulls: ArrayLike, errors: ArrayLike) -> Array:
    """Return the correlation of the errors of comparisons on the same items.

    Args:
        pulls: how far each item pulls each estimate, comparisons x items; 0 for other items.
        errors: the standard error of each estimate, from items and training seeds together.
    """
    by_row, error = np.asarray(pulls, float), np.asarray(errors, float)
    scaled = np.divide(by_row, error[:, None], out=np.zeros_like(by_row), where=error[:, None] > 0)
    found = np.clip(scaled @ scaled.T, -1, 1)
    np.fill_diagonal(found, 1)
    return np.asarray(found)


def _null_p_values(correlation: Array) -> Iterator[Array]:
    """Yield draws x comparisons of p-values without any effect, some draws at a time."""
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.maximum(values, 0))
    generator, size = new_generator(), max(1, _BATCH // len(correlation))
    for start in range(0, DRAWS, size):
        drawn = generator.standard_normal((min(size, DRAWS - start), len(correlation)))
        yield 2 * ndtr(-np.abs(drawn @ root.T))
