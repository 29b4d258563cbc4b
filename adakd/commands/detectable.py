"""Show what a suite could find, before it is run: for `adakd plan --like` and `--spread`."""

from pathlib import Path

from rich.console import Group
from rich.table import Table

from adakd.console import shown
from adakd.data.files import rows_of
from adakd.errors import AdakdError
from adakd.metrics import metric
from adakd.planning import PLAIN, SEEDED, Plan
from adakd.reporting.formatting import duration, number
from adakd.reporting.sections.base import Context
from adakd.reporting.sections.design import Cost, Design, design, design_of
from adakd.stats import Spread
from adakd.store import Store


def detectable(planned: Plan, like: Path | None, spread: str | None) -> Design:
    """Return what the suite of a plan can find, by the spread of a run or a stated one.

    Args:
        planned: the plan.
        like: a run whose paired differences are taken to vary as those of this suite will.
        spread: standard deviations of the paired differences, as in :func:`stated_spread`, in the
            unit of the first metric.

    Raises:
        AdakdError: not exactly one of both is given, the run has no differences, the spread is no
            list of numbers, or the items of a set are not known.
    """
    if spread is not None and like is None:
        stated, run = stated_spread(spread), None
    elif like is not None and spread is None:
        run = _design_of_run(like)
        stated = run.spread
    else:
        raise AdakdError("--like and --spread both say how much differences vary: give one")
    first = metric.display(planned.suite.evaluation.metrics[0].name)
    unit = first.title if first.scale == 1 else f"{first.title} × {first.scale:g}"
    return design_of(
        stated,
        _items(planned, run),
        comparisons=_comparisons(planned),
        cost=_cost(planned, run),
        unit=run.unit if run else unit,
        present=len(planned.suite.seeds),
    )


def detectable_table(found: Design) -> Group:
    """Return what a suite can find as a table for the terminal."""
    several = found.comparisons > 1
    table = Table(title=f"smallest true difference that four of five runs find, {found.unit}")
    names = ["training seeds", "one comparison"]
    names += [f"among {found.comparisons} of the question"] if several else []
    for name in (*names, "trainings", "time, as in the run"):
        table.add_column(name, justify="right")
    for row in found.rows:
        sizes = (row.alone, row.in_family) if several else (row.alone,)
        time = "–" if row.seconds is None else duration(row.seconds)
        table.add_row(f"{row.seeds}", *map(number, sizes), f"{row.trainings:,}", time)
    table.caption = "one seed: about these trainings alone, training again may differ by more"
    return Group(table, shown(found.sentence))


def stated_spread(text: str) -> Spread:
    """Return the spread of ``NOISE,SEEDS`` or ``NOISE,SEEDS,ITEMS``.

    That is of an item in one training, of the mean between trainings, and of what is the same of an
    item in all trainings (0 if not given; in published runs a fifth of the noise).

    Raises:
        AdakdError: it is no such list of numbers, or one is below 0, or items do not vary at all.
    """
    try:
        noise, seeds, *rest = (float(part) for part in text.split(","))
        (items,) = rest or (0.0,)
    except ValueError:
        noise = seeds = items = -1.0
    is_finite = all(0 <= value < float("inf") for value in (items, seeds, noise))
    if not is_finite or items + noise == 0:
        raise AdakdError(
            f"--spread: {text!r} is not NOISE,SEEDS or NOISE,SEEDS,ITEMS: give standard deviations "
            "of paired differences, such as 13,0.6, of which not all of the items are 0"
        )
    return Spread(items, seeds, noise)


def _design_of_run(folder: Path) -> Design:
    store = Store(folder)
    if not store.exists:
        raise AdakdError(f"--like: {store.file}: no such file; give the folder of a finished run")
    found = design(Context.of(store))
    if found is None:
        raise AdakdError(
            f"--like: {folder}: no arm is compared with its plain arm on an instruction set; give "
            "another run, or --spread"
        )
    return found


def _items(planned: Plan, run: Design | None) -> tuple[int, ...]:
    """Return the items of each set; those of the run where only the hub knows them."""
    suite = planned.suite
    counts = {name: rows_of(source, suite) for name, source in suite.evaluation.sets.items()}
    unknown = [name for name, count in counts.items() if not count]
    if not counts:
        raise AdakdError("evaluation.sets: none is given, so no difference is measured")
    if unknown and run is not None and len(run.items) == len(counts):
        return run.items
    if unknown:
        raise AdakdError(
            f"evaluation.sets.{unknown[0]}: its number of items is not known before it is loaded; "
            f"set a limit (--set evaluation.sets.{unknown[0]}.limit=500)"
        )
    return tuple(count for count in counts.values() if count)


def _comparisons(planned: Plan) -> int:
    """Return the divergences that the suite's first arm is compared under."""
    arms = [cell.arm for cell in planned.cells if cell.role == "distilled" and cell.arm != PLAIN]
    if not arms:
        raise AdakdError("arms: none beside the plain one, so there is nothing to find")
    cells = [cell for cell in planned.cells if cell.role == "distilled" and cell.arm == arms[0]]
    return len({cell.divergence for cell in cells})


def _cost(planned: Plan, run: Design | None) -> Cost:
    """Return the trainings of a seed, and their seconds if they take as long as the run's."""
    methods = {cell.method for cell in planned.cells if cell.role in SEEDED}
    if run is None or run.rows[0].seconds is None:
        return Cost(len(methods))
    return Cost(len(methods), run.rows[0].seconds / run.rows[0].trainings * len(methods))
