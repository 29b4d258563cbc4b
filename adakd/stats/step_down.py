r"""Adjusted p-values of a family of comparisons whose errors are correlated.

Comparisons that share a plain arm, or their items, tend to err together: with the same error rate
for the family more can be found than Holm's method allows, which knows nothing of it. With the
null p-values :math:`P_1, ..., P_m` drawn jointly (:mod:`adakd.stats.joint_errors`), the j-th
smallest p-value becomes

.. math:: \tilde p_{(j)} = \max_{l \le j} \Pr\bigl(\min_{r \ge l} P_{(r)} \le p_{(l)}\bigr),

the step-down minP method.

References:
    Westfall and Young, Resampling-Based Multiple Testing, Wiley 1993, algorithm 2.8;
    Romano and Wolf, `Exact and Approximate Stepdown Methods
    <https://doi.org/10.1198/016214504000000539>`_, JASA 2005.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adakd.stats.bootstrap import LEVEL
from adakd.stats.joint_errors import JointErrors


@dataclass(frozen=True)
class Adjusted:
    """The p-values of a family, and what it needs."""

    p_values: tuple[float, ...]
    """In the order given; never below the p alone."""
    critical_p: float
    """The p-value that a comparison needs alone to be found while no other is: the level for a
    family of one, about level / m for m independent comparisons."""


def step_down(p_values: Sequence[float], errors: JointErrors) -> Adjusted:
    """Return the adjusted p-values of a family.

    However large the family, a p-value that is small enough is small after the adjustment too. A
    family of one needs no adjustment.

    Args:
        p_values: two-sided, each valid by itself.
        errors: of the same comparisons.
    """
    if len(p_values) < 2:
        return Adjusted(tuple(p_values), LEVEL)
    p = np.asarray(p_values, float)
    order = np.argsort(p, kind="stable")
    wanted, below, minima = p[order], np.zeros(len(p)), []
    for null in errors.null_p_values():
        least = np.minimum.accumulate(null[:, order[::-1]], axis=1)[:, ::-1]
        below += (least <= wanted).sum(0)
        minima.append(least[:, 0])
    draws = sum(map(len, minima))
    steps = np.maximum.accumulate(np.maximum((below + 1) / (draws + 1), wanted))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1)
    critical = float(np.quantile(np.concatenate(minima), LEVEL))
    return Adjusted(tuple(map(float, adjusted)), min(critical, LEVEL))
