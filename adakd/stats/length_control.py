r"""How often a judge would prefer the candidate if both answers were equally long.

.. math:: \operatorname{logit} E[y] = \theta + \phi \tanh(d / \operatorname{sd}(d))

:math:`y` is the outcome of a pair in points (1, 0.5 or 0) and :math:`d` how many words longer the
candidate's answer is. The rate is the model's at :math:`d = 0`: :math:`1 / (1 + e^{-\theta})`.

References:
    `Length-Controlled AlpacaEval <https://arxiv.org/abs/2404.04475>`_, 2024, less its terms for
    the model and for the difficulty of AlpacaEval's own items: these need downloads.
"""

import numpy as np
from scipy.special import expit

from adakd.stats.bootstrap import Array, Statistic, sums_by

LEAST_PAIRS = 10
"""Fewer pairs than this do not carry a fit of two parameters."""
RIDGE = 0.01
"""Weight of the squared parameters, next to 1 for a pair: separated outcomes stay finite."""
STEPS = 100
"""Newton steps at most; without separation four to six are enough."""


def length_controlled(points: Array, differences: Array) -> Statistic | None:
    """Return the win rate at equal length as a function of weights over pairs.

    Pairs without a length difference do not count. The unit of length, sd(d), is that of the
    pairs as they are, in every replicate.

    Args:
        points: 1, 0.5 or 0 for each pair.
        differences: words of the candidate's answer minus words of the opponent's; NaN unknown.

    Returns:
        None with fewer than ten pairs, or where lengths or outcomes do not vary.
    """
    known = np.flatnonzero(np.isfinite(differences))
    won, longer = points[known], differences[known]
    if len(known) < LEAST_PAIRS or not longer.std() or not won.std():
        return None
    lengths, same = np.unique(np.tanh(longer / longer.std()), return_inverse=True)
    of_length = sums_by(same)

    def rate(weights: Array) -> Array:
        """Pairs of one length are summed before the fit: only their totals matter to it."""
        drawn = weights[:, known]
        pairs, wins = of_length(drawn), of_length(drawn * won)
        rates = expit(fit_logistic(lengths, pairs, wins)[0])
        return np.where(pairs.any(1), rates, np.nan)

    return rate


def fit_logistic(x: Array, trials: Array, successes: Array) -> tuple[Array, Array]:
    r"""Fit logit(successes / trials) = theta + phi x in every row at once, by Newton's method.

    It maximises the likelihood less :math:`\lambda (\theta^2 + \phi^2) / 2`, lambda being RIDGE.
    Successes may be fractions, as half wins are.

    Args:
        x: the covariate of each column.
        trials: weight of the trials, rows x columns.
        successes: how much of it succeeded, rows x columns.

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
