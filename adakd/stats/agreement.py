"""Agreement between judges, beyond what chance alone would give.

The packages that compute it are slow to import, so the functions do that when they are called.
"""

from collections.abc import Sequence

import numpy as np


def krippendorff_alpha(ratings: Sequence[Sequence[str | None]]) -> float | None:
    """Return Krippendorff's nominal alpha: 1 is full agreement, 0 is that of chance.

    Args:
        ratings: for each judge the category of every unit; None where it gave none.

    Returns:
        None where no unit has two ratings, or where those that have hold one category only:
        nothing then tells agreement from chance.

    References:
        Krippendorff, *Content Analysis*, 4th edition, 2018, chapter 12; computed by the package
        `krippendorff <https://github.com/pln-fing-udelar/fast-krippendorff>`_.
    """
    import krippendorff

    units = [[said for said in unit if said is not None] for unit in zip(*ratings, strict=True)]
    paired = [unit for unit in units if len(unit) > 1]
    categories = sorted({said for unit in paired for said in unit})
    if len(categories) < 2:
        return None
    counts = np.array([[unit.count(name) for name in categories] for unit in paired])
    return float(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))


def cohen_kappa(a: Sequence[str | None], b: Sequence[str | None]) -> float | None:
    """Return Cohen's kappa of two judges: 1 is full agreement, 0 is that of chance.

    Args:
        a: the category of every unit by one judge; None where it gave none.
        b: those of the other judge.

    Returns:
        None where both rated no unit in common, or gave all of these one and the same category.

    References:
        Cohen, `A Coefficient of Agreement for Nominal Scales
        <https://doi.org/10.1177/001316446002000104>`_, 1960; computed by scikit-learn.
    """
    from sklearn.metrics import cohen_kappa_score

    pairs = zip(a, b, strict=True)
    both = [(one, other) for one, other in pairs if one is not None and other is not None]
    if len({said for pair in both for said in pair}) < 2:
        return None
    return float(cohen_kappa_score(*zip(*both, strict=True)))
