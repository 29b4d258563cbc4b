r"""Length-controlled win rate: the win rate predicted for answers of equal length.

.. math:: \operatorname{logit} E[y] = \theta + \phi \tanh(d / \operatorname{sd}(d))

:math:`y` is the outcome of a pair in points (1, 0.5 or 0) and :math:`d` the length of the
candidate's answer minus that of the opponent's, in words. The rate is the prediction at
:math:`d = 0`: :math:`1 / (1 + e^{-\theta})`.

References:
    `Length-Controlled AlpacaEval <https://arxiv.org/abs/2404.04475>`_, 2024, without its terms
    for the model and for the difficulty of AlpacaEval's own items, which need downloads.
"""

import numpy as np
from scipy.special import expit

from adakd.stats.bootstrap import Array, Statistic, sums_by

LEAST_PAIRS = 10
"""Smallest number of pairs for a fit of two parameters."""
RIDGE = 0.01
"""Weight of the squared parameters, relative to 1 for a pair: keeps separated outcomes finite."""
STEPS = 100
"""Maximum number of Newton steps; without separation four to six suffice."""


def length_controlled(points: Array, differences: Array) -> Statistic | None:
    """Return the win rate at equal length as a function of weights over pairs.

    Pairs with an unknown length difference are ignored. The unit of length, sd(d), is that of the
    original pairs in every replicate.

    Args:
        points: 1, 0.5 or 0 for each pair.
        differences: words of the candidate's answer minus words of the opponent's; NaN if unknown.

    Returns:
        None with fewer than ten pairs, or if lengths or outcomes do not vary.
    """
    known = np.flatnonzero(np.isfinite(differences))
    won, longer = points[known], differences[known]
    if len(known) < LEAST_PAIRS or not longer.std() or not won.std():
        return None
    lengths, same = np.unique(np.tanh(longer / longer.std()), return_inverse=True)
    of_length = sums_by(same)

    def rate(weights: Array) -> Array:
        """Fit on totals per length difference, which are sufficient statistics."""
        drawn = weights[:, known]
        pairs, wins = of_length(drawn), of_length(drawn * won)
        rates = expit(fit_logistic(lengths, pairs, wins)[0])
        return np.where(pairs.any(1), rates, np.nan)

    return rate


def fit_logistic(x: Array, trials: Array, successes: Array) -> tuple[Array, Array]:
    r"""Fit logit(successes / trials) = theta + phi x in every row at once, by Newton's method.

    It maximises the log-likelihood minus :math:`\lambda (\theta^2 + \phi^2) / 2`, with lambda =
    RIDGE. Successes may be fractional, such as half wins.

    Args:
        x: the covariate of each column.
        trials: weight of the trials, rows x columns.
        successes: weight of the successful trials, rows x columns.

    Returns:
        theta and phi of every row.
    """
    theta = phi = np.zeros(len(trials))
    for _ in range(STEPS):
        chance = expit(theta[:, None] + phi[:, None] * x)
        missed, curvature = successes - trials * chance, trials * chance * (1 - chance)
        slope_theta = missed.sum(1) - RIDGE * theta
        slope_phi = missed @ x - RIDGE * phi
        of_theta, of_both = curvature.sum(1) + RIDGE, curvature @ x
        of_phi = curvature @ x**2 + RIDGE
        determinant = of_theta * of_phi - of_both**2
        step_theta = (of_phi * slope_theta - of_both * slope_phi) / determinant
        step_phi = (of_theta * slope_phi - of_both * slope_theta) / determinant
        theta, phi = theta + step_theta, phi + step_phi
        if np.abs(step_theta).max() + np.abs(step_phi).max() < 1e-8:
            break
    return theta, phi
