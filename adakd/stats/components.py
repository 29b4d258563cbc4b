"""Variance components of a mean over items crossed with training seeds, from its observations."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from adakd.stats.bootstrap import Array, Indices
from adakd.stats.error_law import ErrorLaw, kurtosis_df


@dataclass(frozen=True)
class Components:
    """A mean, and how far each item and each seed pulls it."""

    estimate: float
    by_item: Array
    """Pull of each item: by how much more, or less, than its share it adds. The sum is 0."""
    by_seed: Array
    shared: float
    """Variance of the mean due to single observations, which items and seeds both show."""

    @classmethod
    def of(cls, values: Array, items: Indices, seeds: Indices) -> "Components":
        """Return the components of the mean of observations.

        Args:
            values: the observations.
            items: the item of each, as a number from 0.
            seeds: the training seed of each, as a number from 0.
        """
        estimate = float(values.mean())
        deviations = values - estimate
        by_item = np.bincount(items, deviations)
        by_seed = np.bincount(seeds, deviations)
        of_item = (by_item / np.maximum(np.bincount(items), 1))[items]
        of_seed = (by_seed / np.maximum(np.bincount(seeds), 1))[seeds]
        rest = deviations - of_item - of_seed
        df = len(values) - len(by_item) - len(by_seed) + 1
        residual = float((rest**2).sum()) / df if len(by_seed) > 1 and df > 0 else 0.0
        n = len(values)
        return cls(estimate, by_item / n, by_seed / n, residual / n)


def mean_of(sets: Sequence[Components]) -> Components:
    """Return the mean over sets of items, whose seeds are the same and in the same order."""
    count = len(sets)
    return Components(
        estimate=float(np.mean([each.estimate for each in sets])),
        by_item=np.concatenate([each.by_item for each in sets]) / count,
        by_seed=np.sum([each.by_seed for each in sets], axis=0) / count,
        shared=float(np.sum([each.shared for each in sets])) / count**2,
    )


def error_law(sets: Sequence[Components]) -> ErrorLaw:
    """Return the law of the error of the mean over sets of items."""
    whole = mean_of(sets)
    variances = [
        float((each.by_item**2).sum()) * len(each.by_item) / max(len(each.by_item) - 1, 1)
        for each in sets
    ]
    seeds = len(whole.by_seed)
    of_seeds = float((whole.by_seed**2).sum()) * seeds / max(seeds - 1, 1)
    return ErrorLaw(
        items=float(np.sqrt(np.sum(variances))) / len(sets),
        items_df=kurtosis_df(whole.by_item),
        seeds=float(np.sqrt(of_seeds)) if seeds > 1 else 0.0,
        seeds_df=seeds - 1,
        shared=whole.shared,
    )


def observations(matrix: ArrayLike) -> tuple[Array, Indices, Indices]:
    """Return the known values of items x seeds with the item and the seed of each."""
    values = np.asarray(matrix, float)
    items, seeds = np.nonzero(np.isfinite(values))
    return values[items, seeds], items, seeds
