"""Chance-corrected agreement between judges.

The packages that compute it are slow to import, so each function imports its own when called.
"""

from collections.abc import Sequence

import numpy as np


def krippendorff_alpha(ratings: Sequence[Sequence[str | None]]) -> float | None:
    r"""Return Krippendorff's nominal alpha: 1 for full agreement, 0 for chance agreement.

    .. math:: \alpha = 1 - D_o / D_e

    with the observed disagreement :math:`D_o` and that expected by chance, :math:`D_e`.

    Args:
        ratings: for each judge the category of every unit; None for a missing rating.

    Returns:
        None if no unit has two ratings, or if all units with two ratings share one category:
        agreement and chance cannot then be told apart.

    References:
        Krippendorff, *Content Analysis*, 4th edition, 2018, chapter 12; computed by the package
        `krippendorff <https://github.com/pln-fing-udelar/fast-krippendorff>`_.
    """
    import krippendorff

    units = [
        [rating for rating in unit if rating is not None] for unit in zip(*ratings, strict=True)
    ]
    paired = [unit for unit in units if len(unit) > 1]
    categories = sorted({given for unit in paired for given in unit})
    if len(categories) < 2:
        return None
    counts = np.array([[unit.count(name) for name in categories] for unit in paired])
    return float(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))


def cohen_kappa(a: Sequence[str | None], b: Sequence[str | None]) -> float | None:
    r"""Return Cohen's kappa of two judges: 1 for full agreement, 0 for chance agreement.

    .. math:: \kappa = (p_o - p_e) / (1 - p_e)

    with the share :math:`p_o` of equal ratings and the share :math:`p_e` expected by chance.

    Args:
        a: the category of every unit by one judge; None for a missing rating.
        b: the categories by the other judge.

    Returns:
        None if the judges rated no unit in common, or only one category occurs on these units.

    References:
        Cohen, `A Coefficient of Agreement for Nominal Scales
        <https://doi.org/10.1177/001316446002000104>`_, 1960; computed by scikit-learn.
    """
    from sklearn.metrics import cohen_kappa_score

    pairs = zip(a, b, strict=True)
    both = [(one, other) for one, other in pairs if one is not None and other is not None]
    if len({rating for pair in both for rating in pair}) < 2:
        return None
    return float(cohen_kappa_score(*zip(*both, strict=True)))
