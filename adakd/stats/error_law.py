r"""Law of the error of a mean over items and training seeds that were both sampled.

With the variance of n item means and of S seed means, both divided by their number,

.. math:: \hat a^2 = \operatorname{Var}(\bar d_{i \cdot}) / n, \qquad
          \hat b^2 = \operatorname{Var}(\bar d_{\cdot s}) / S,

the variance of the mean of all is :math:`a^2 + b^2 - c`: both hold the noise of single
observations, :math:`c = \operatorname{Var}(\text{residual}) / (n S)`, which counts once. What is
unknown of a variance with few degrees of freedom is as in Student's t:

.. math:: \hat d - d \sim N\bigl(0,\; \hat a^2 \nu / \chi^2_\nu
          + \max(\hat b^2 (S - 1) / \chi^2_{S-1} - c, 0)\bigr).

With one seed this is Student's t of the items; with many items and no variation of them it is
Student's t of the seeds.

References:
    Weerahandi, `Generalized Confidence Intervals <https://doi.org/10.2307/2290779>`_, JASA 1993;
    Cochran, `Testing a Linear Relation among Variances <https://doi.org/10.2307/3001749>`_,
    Biometrics 1951.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtri, gammaln, ndtr, ndtri

from adakd.stats.bootstrap import LEVEL, Array

POWER = 0.8
"""Share of runs that find a difference of the detectable size."""
_NEGLIGIBLE = 1e-13
"""Probability beyond the nodes of an integral, on either side."""
_MANY = 16
"""Degrees of freedom from which a logarithmic variance is close to normal: few nodes will do."""
_OUTCOMES = (np.arange(200) + 0.5) / 200
"""Probabilities that stand for all variances of seeds that a run could have found."""
_NEWTON, _CLOSE = 12, 1e-8
"""Steps of Newton's method at most, and the last one's size: far below what bisection leaves."""


@dataclass(frozen=True)
class ErrorLaw:
    """The law of estimate minus truth; symmetric around 0."""

    items: float
    """Standard error due to the sampling of items."""
    items_df: float
    """Its degrees of freedom; fewer than items - 1 where few of them hold most of the variance."""
    seeds: float = 0.0
    """Standard error due to the training seeds; 0 with one seed, of which nothing is known."""
    seeds_df: int = 0
    """Its degrees of freedom, seeds - 1."""
    shared: float = 0.0
    """Variance that both standard errors contain: that of single observations."""

    @property
    def error(self) -> float:
        """The standard error of the estimate."""
        return float(np.sqrt(self.items**2 + max(self.seeds**2 - self.shared, 0.0)))

    @property
    def is_degenerate(self) -> bool:
        """Whether nothing varied."""
        return self.items == 0 and self.seeds == 0

    def p_value(self, estimate: float) -> float:
        """Return the two-sided p-value of no difference; 0 if nothing varied."""
        if self.is_degenerate:
            return float(estimate == 0)
        return float(self._tail(np.array([abs(estimate)]))[0])

    def half_width(self, level: float = LEVEL) -> float:
        """Return the half-width of the interval that covers 1 - `level`."""
        if self.is_degenerate:
            return 0.0
        return float(self._quantile(level, np.array([self.seeds]))[0])

    def detectable(self, critical_p: float = LEVEL, power: float = POWER) -> float:
        """Return the smallest true difference that a share `power` of such runs would find.

        The run at hand knows the variance of its seeds from few of them; it counts with the value
        that is as likely too small as too large, and averages over all that a run may find.

        Args:
            critical_p: p-value that a difference needs to be found; below the level in a family.
            power: the share.
        """
        if self.is_degenerate:
            return np.inf
        spread, found = 0.0, np.zeros(1)
        if self.seeds_df:
            typical = float(chdtri(self.seeds_df, 0.5)) / self.seeds_df
            spread = max(self.seeds**2 / typical, self.shared)
            found = np.sqrt(spread * chdtri(self.seeds_df, _OUTCOMES) / self.seeds_df)
        error = float(np.sqrt(self.items**2 + max(spread - self.shared, 0.0)))
        needed = self._quantiles_between(critical_p, found)
        low, high = 0.0, float(needed.max() + 4 * error)
        for _ in range(40):
            middle = (low + high) / 2
            if ndtr((middle - needed) / error).mean() < power:
                low = middle
            else:
                high = middle
        return high

    def _quantiles_between(self, p: float, seeds: Array) -> Array:
        """Return the quantiles for many standard errors of the seeds, interpolated."""
        if len(seeds) == 1 or not seeds.min() > 0:
            return self._quantile(p, seeds)
        nodes = np.geomspace(seeds.min(), seeds.max(), 10)
        known = np.log(self._quantile(p, nodes))
        return np.exp(np.interp(np.log(seeds), np.log(nodes), known))

    def _tail(self, x: Array, seeds: ArrayLike | None = None) -> Array:
        """Return P(abs(error) > x), for standard errors of the seeds that go with each x."""
        return self._integral(self.seeds if seeds is None else seeds).tail(x)

    def _integral(self, seeds: ArrayLike) -> "_Integral":
        """Return the variances that the error may have, for some standard errors of the seeds."""
        of_items, weights = _inflations(self.items_df)
        variance = (self.items**2 * of_items)[None, :, None]
        of_seeds = np.asarray(seeds, float).reshape(-1, 1, 1)
        if self.seeds_df:
            inflated, its_weights = _inflations(self.seeds_df)
            further = np.maximum(of_seeds**2 * inflated - self.shared, 0)
            variance = variance + further
            weights = weights[:, None] * its_weights
        else:
            weights = weights[:, None]
        return _Integral(np.sqrt(variance), weights)

    def _quantile(self, p: float, seeds: Array) -> Array:
        """Return x with P(abs(error) > x) = p for each standard error of the seeds.

        By bisection of the logarithm, to five digits.
        """
        error = np.sqrt(self.items**2 + np.asarray(seeds, float) ** 2)
        low, high = np.log(error * 1e-3), np.log(error * 1e3)
        if self.seeds_df:
            high = np.log(error * 10 / p)  # the tail of Student's t with one degree of freedom
        integral = self._integral(seeds)
        near = integral.root(p, np.log(error * -ndtri(p / 2)))
        found = _bisected(low, high, lambda middle: middle < near)
        below, above = (integral.tail(np.exp(end)) > p for end in found)
        if not (below & ~above).all():  # not the ends that bisection finds, at every step
            found = _bisected(low, high, lambda middle: integral.tail(np.exp(middle)) > p)
        return np.exp((found[0] + found[1]) / 2)


@dataclass(frozen=True)
class _Integral:
    """The law of an error of unknown variance, as a mean over normal laws."""

    deviations: Array
    """Standard deviations: laws x items x seeds."""
    weights: Array
    """Their probabilities, the same for each law: items x seeds."""

    def tail(self, x: Array) -> Array:
        """Return P(abs(error) > x) of each law."""
        x = x.reshape(-1, 1, 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            tails = ndtr(-x / self.deviations)
        tails = np.where(self.deviations > 0, tails, np.where(x > 0, 0.0, 0.5))
        return np.asarray(2 * (tails * self.weights).sum((1, 2)))

    def root(self, p: float, start: Array) -> Array:
        """Return about the logarithm of the x with P(abs(error) > x) = p, by Newton's method.

        NaN where it fails.
        """
        y = start
        with np.errstate(all="ignore"):
            for _ in range(_NEWTON):
                z = np.exp(y).reshape(-1, 1, 1) / self.deviations
                tail = (ndtr(-z) * self.weights).sum((1, 2))
                slope = (z * np.exp(-(z**2) / 2) * self.weights).sum((1, 2)) / np.sqrt(2 * np.pi)
                step = np.log(2 * tail / p) * tail / slope
                y = y + step
                if (np.abs(step) < _CLOSE).all():
                    break
        return y


def _bisected(
    low: Array, high: Array, is_below: Callable[[Array], NDArray[np.bool_]]
) -> tuple[Array, Array]:
    """Return the ends of the ranges that are left after 20 halvings."""
    for _ in range(20):
        middle = (low + high) / 2
        above = is_below(middle)
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return low, high


def kurtosis_df(values: ArrayLike) -> float:
    r"""Return the degrees of freedom of the variance of n values, at most n - 1.

    .. math:: \nu = 2 n / (\kappa - 1)

    with the kurtosis :math:`\kappa` (3 of normal values) is that of the scaled chi-square with the
    same variance: if 12 of 60 items differ at all, their variance is known as of about nine.
    """
    x = np.asarray(values, float)
    deviations = x - x.mean()
    square = float((deviations**2).mean())
    if square == 0:
        return float(max(len(x) - 1, 1))
    return float(chi_square_df(len(x), float((deviations**4).mean()) / square**2))


def chi_square_df(n: int, kurtosis: ArrayLike) -> Array:
    """Return the degrees of freedom of the variance of n values with this kurtosis."""
    df = 2 * n / np.maximum(np.asarray(kurtosis, float) - 1, 1e-9)
    return np.asarray(np.clip(df, 1, max(n - 1, 1)))


@cache
def _inflations(df: float) -> tuple[Array, Array]:
    """Return values of df / chi-square with their probabilities, for integrals."""
    low, high = (float(np.log(chdtri(df, p))) for p in (1 - _NEGLIGIBLE, _NEGLIGIBLE))
    u = np.linspace(low, high, 12 if df >= _MANY else 48)
    density = np.exp(df / 2 * u - np.exp(u) / 2 - gammaln(df / 2) - df / 2 * np.log(2))
    return df / np.exp(u), density / density.sum()
