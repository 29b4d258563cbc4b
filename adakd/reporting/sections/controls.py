"""Controls: does this run find a difference that is known, and none where there is none?

The comparisons are tested alone. They are no part of the suite's questions, and change no verdict.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, isnan

import numpy as np

from adakd.planning import PLAIN, Cell
from adakd.reporting.families import compare
from adakd.reporting.formatting import counted, interval, number, signed
from adakd.reporting.index import Index, Method
from adakd.reporting.matrices import Matrices, mean_of_columns
from adakd.reporting.paired import PairedDifference, pooled
from adakd.reporting.scorings import Scoring
from adakd.reporting.sections.base import Context
from adakd.reporting.wording import listed
from adakd.stats import conclusion
from adakd.store import Store
from adakd.store.records import RunRecord, TaskRecord, TrainingRecord
from adakd.store.steps import Steps

SFT = Method("sft")
_Place = tuple[str, str, int | None]
"""Task, metric and sampling seed."""
FIRST_LOSS, FIRST_NORM, DRIFT = 1e-6, 1e-3, 0.02
"""What rounding may change on a GPU, as a share: the loss of the first step, which no training has
touched yet, its gradient norm, and the loss of any later step."""


@dataclass(frozen=True)
class Neutral:
    """The neutral arm beside the plain arm of the same seed: two trainings that must be equal."""

    method: str
    seed: int
    compared: tuple[str, ...] = ()
    """What both have, such as ``the losses of 50 steps``."""
    differences: tuple[str, ...] = ()
    """What is not the same in both."""
    drift: str = ""
    """How far rounding takes both apart on a GPU, which may sum in another order each time."""
    note: str = ""
    """Why there is no result."""

    @property
    def state(self) -> str:
        """``identical``, ``equal to rounding``, ``not identical`` or ``missing``."""
        if self.differences:
            return "not identical"
        if self.note:
            return "missing"
        return "equal to rounding" if self.drift else "identical"


@dataclass(frozen=True)
class Controls:
    """A known difference, and two comparisons without one."""

    divergence: str
    positive: PairedDifference
    """The plain arm minus SFT."""
    neutral: Neutral
    again: PairedDifference | None
    """The plain arm at some seeds minus the plain arm at others; None with one seed."""
    pairs: int
    """Pairs of seeds in ``again``."""

    @property
    def sentence(self) -> str:
        """All controls in a sentence."""
        positive, negative = _positive(self.positive), self._negative()
        return f"{_findable(self.positive)}; {positive}; {negative}."

    def _negative(self) -> str:
        neutral, again = self.neutral, self.again
        if neutral.state == "not identical":
            return "it FAILED where there is none: a neutral arm, which must equal plain, does not"
        if neutral.state == "missing":
            return f"where there is none it has no result: {neutral.note}"
        equal = "equal to plain up to rounding" if neutral.drift else "identical to plain"
        none = f"it found none where there is none (a neutral arm, {equal}"
        if again is None:
            return f"{none})"
        if again.difference is None:
            return f"{none}; plain against plain has no result: {again.note})"
        if again.conclusion == "not separable":
            return f"{none}, and plain against plain at other seeds)"
        reason = (
            "with one pair of trainings the interval covers items only, and chance in training may "
            "be as large"
            if self.pairs == 1
            else "chance does so in one of twenty runs"
        )
        return (
            "it found one where there is none: plain against plain at other seeds "
            f"({_figures(again)}); {reason}"
        )


def controls(context: Context) -> Controls | None:
    """Return the controls of a run; None where its suite has none."""
    index = context.index
    cells = index.run.cells if index.run else ()
    cell = next((one for one in cells if one.role == "neutral"), None)
    tasks = index.sets or index.tasks[:1]
    if cell is None or not tasks:
        return None
    plain = Method("distilled", cell.divergence)
    (positive,) = compare(context, "controls", [(plain, SFT, tasks)])
    again, pairs = _again(context, plain, tasks)
    return Controls(
        divergence=str(cell.divergence),
        positive=positive,
        neutral=_neutral(context.store, index, cell, cells),
        again=again,
        pairs=pairs,
    )


def _findable(row: PairedDifference) -> str:
    """Say which difference the run could have found."""
    effect = row.difference.minimum_effect if row.difference else float("nan")
    if isnan(effect):
        return "Which difference this run could have found is not known"
    if not isfinite(effect):
        return "This run could have found no difference that the metric allows"
    return f"This run could have found a difference of {number(effect)} ({row.unit})"


def _positive(row: PairedDifference) -> str:
    """Say what became of the known difference."""
    if row.difference is None:
        return f"the known one, distillation over SFT, has no result: {row.note}"
    figures = f"distillation over SFT {_figures(row)}"
    if row.conclusion == "better":
        return f"it found the known one ({figures})"
    if row.conclusion == "worse":
        return f"in place of the known one it found the opposite ({figures})"
    return f"it did NOT find the known one ({figures}), so “not separable” says little here"


def _figures(row: PairedDifference) -> str:
    d = row.difference
    assert d is not None
    ends = f", 95 % {interval(d.low, d.high)}" if isfinite(d.low + d.high) else ""
    return f"{signed(d.estimate)}{ends}"


def _again(
    context: Context, plain: Method, tasks: Sequence[TaskRecord]
) -> tuple[PairedDifference | None, int]:
    """Compare the plain arm with itself: the first seed with the second, the third with the fourth.

    A pair of seeds counts as one training of each side, so that the seeds of one side are not those
    of the other.
    """
    matrices = context.once(Matrices)
    seeds = 2 * (len(context.index.seeds) // 2)
    if not seeds:
        return None, 0
    scores = [matrices.triple(plain, plain, task)[0] for task in tasks]
    pairs = [(one[:, :seeds:2], one[:, 1:seeds:2]) for one in scores]
    row = PairedDifference(
        divergence=str(plain.divergence),
        arm=PLAIN,
        task=None,
        unit=tasks[0].unit,
        higher_is_better=tasks[0].higher_is_better,
    )
    try:
        difference = pooled(pairs, tasks)
    except ValueError:
        return replace(row, note="no two seeds of plain have scores"), seeds // 2
    by_seed = np.mean([mean_of_columns(a - b) for a, b in pairs], axis=0)
    found = replace(
        row,
        difference=difference,
        by_seed=tuple(float(value) for value in by_seed if np.isfinite(value)),
        adjusted_p=difference.p_value,
        conclusion=conclusion(difference, difference.p_value, row.higher_is_better),
    )
    return found, difference.n_seeds


def _neutral(store: Store, index: Index, cell: Cell, cells: Sequence[Cell]) -> Neutral:
    """Compare the neutral student with its plain twin, bit by bit."""
    place = ("distilled", cell.divergence, PLAIN, cell.seed)
    twin = next(one for one in cells if (one.role, one.divergence, one.arm, one.seed) == place)
    found = Neutral(cell.method, cell.seed)
    records = []
    for one in (twin, cell):
        record = store.get(TrainingRecord, one.key)
        if record is None:
            return replace(found, note=f"{one.method}, seed {one.seed}, is not trained yet")
        if record.status == "failed":
            return replace(found, note=f"{one.method}, seed {one.seed}, failed: {record.reason}")
        records.append(record)
    plain, neutral = records
    at = (Method.of(twin), twin.seed)
    ours = _values(one for place, of in index.scores.items() if place[:2] == at for one in of)
    theirs = _values(index.neutral)
    if lacking := ours.keys() ^ theirs.keys():
        names = listed(sorted({task for task, _, _ in lacking}))
        return replace(found, note=f"not scored in both arms on {names}")
    if not ours:
        return replace(found, note="neither arm is scored yet")
    scores = tuple(_differing_scores(ours, theirs))
    differences = (
        *_differing_steps(plain.steps, neutral.steps),
        *_differing_files(plain.files, neutral.files),
        *scores,
    )
    on_gpu = any("gpu" in run.hardware for run in store.of(RunRecord))
    drift = _drift(plain.steps, neutral.steps) if differences and on_gpu else None
    if drift is not None:
        return replace(
            found,
            compared=(
                f"selection, temperature and learning rate of {counted(len(plain.steps), 'step')}",
                f"the loss of step 1 to {FIRST_LOSS:g} and its gradient norm to {FIRST_NORM:g}",
            ),
            drift=(
                f"later losses differ by up to {100 * drift:.2g} %, at most {100 * DRIFT:g} % is "
                "taken for rounding: a GPU does not repeat a training bit for bit"
                + "".join(f"; {line}" for line in scores)
            ),
        )
    return replace(
        found,
        compared=(
            f"the losses and gradient norms of {counted(len(plain.steps), 'step')}",
            *(("the weights",) if plain.files and neutral.files else ()),
            f"the scores of {counted(sum(map(len, ours.values())), 'item')}",
        ),
        differences=differences,
    )


def _drift(plain: Steps, neutral: Steps) -> float | None:
    """Return how far the losses of two trainings drift apart, as a share of the larger.

    None where more than rounding differs: the tokens that are selected, their temperature, the
    first step, or a loss by more than :data:`DRIFT`.
    """
    if not plain or len(plain) != len(neutral):
        return None
    rounded, pairs = {"loss", "grad_norm", "seconds"}, list(zip(plain, neutral, strict=True))
    if any(one.model_dump(exclude=rounded) != other.model_dump(exclude=rounded)
           for one, other in pairs):  # fmt: skip
        return None
    first, again = pairs[0]
    apart = [_apart(one.loss, other.loss) for one, other in pairs]
    is_rounding = (
        apart[0] <= FIRST_LOSS
        and _apart(first.grad_norm, again.grad_norm) <= FIRST_NORM
        and all(share <= DRIFT for share in apart)  # not so for NaN
    )
    return max(apart) if is_rounding else None


def _apart(one: float, other: float) -> float:
    """Return the difference of two numbers as a share of the larger."""
    return abs(one - other) / max(abs(one), abs(other)) if one != other else 0.0


def _values(scorings: Iterable[Scoring]) -> dict[_Place, Mapping[str, float | None]]:
    """Return the values of items for each scoring; None where an item has none."""
    return {
        (one.task, one.title, one.sampling_seed): {
            item: None if isnan(value) else value
            for item, value in zip(one.ids, one.values.tolist(), strict=True)
        }
        for one in scorings
    }


def _differing_steps(plain: Steps, neutral: Steps) -> Iterator[str]:
    """Name the first step that is not the same; times are left out."""
    if len(plain) != len(neutral):
        yield f"{len(plain)} steps in plain, {len(neutral)} in the neutral arm"
        return
    for ours, theirs in zip(plain, neutral, strict=True):
        one, other = (step.model_dump(exclude={"seconds"}) for step in (ours, theirs))
        if names := [name for name in one if one[name] != other[name]]:
            values = (
                f"{names[0]} {one[names[0]]!r} in plain, {other[names[0]]!r} in the neutral arm"
            )
            yield f"the trainings, from step {ours.step} on: {values}"
            return


def _differing_files(plain: Mapping[str, str], neutral: Mapping[str, str]) -> Iterator[str]:
    """Name the files of the model that are not the same, where both are known."""
    if plain and neutral and plain != neutral:
        both = sorted({name for name, _ in plain.items() ^ neutral.items()})
        yield f"the saved models: {listed(both)}"


def _differing_scores(
    plain: Mapping[_Place, Mapping[str, float | None]],
    neutral: Mapping[_Place, Mapping[str, float | None]],
) -> Iterator[str]:
    """Count the items of each scoring whose values are not the same."""
    for (task, title, sampling), ours in plain.items():
        theirs = neutral[task, title, sampling]
        both = ours.keys() | theirs.keys()
        if count := sum(ours.get(item) != theirs.get(item) for item in both):
            drawn = "" if sampling is None else f", sampling seed {sampling}"
            yield f"{title} of {count} of {counted(len(both), 'item')} of {task}{drawn}"
