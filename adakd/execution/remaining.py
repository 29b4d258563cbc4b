"""Which units of a run are left, by its records and models. Imports no torch."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from adakd.config import Pruned
from adakd.errors import AdakdError
from adakd.models.saved import damage
from adakd.planning import PLAIN, Plan, timing_key
from adakd.planning.units import Unit, units
from adakd.store.records import TrainingRecord
from adakd.store.unit_files import Finished, finished, model_folder

Note = Callable[[str, str], None]
"""Takes a line for the user, and its style."""


def remaining(
    plan: Plan,
    records: Finished,
    folder: Path,
    note: Note = lambda text, style: None,
) -> Iterator[Unit]:
    """Yield the units of a plan that are not done.

    Args:
        plan: of the run.
        records: those of its finished work.
        folder: of the run, with the models.
        note: called with a line for each model that is lost.
    """
    every = units(plan)
    unscored = {unit.cell.key for unit in every if unit.jobs and not is_done(unit, records)}
    teaching, untaught = plan.teacher_states_key, False
    for unit in every:
        if unit.kind == "teaching":
            continue
        lost = _is_lost(unit, plan, records, folder, unscored, note)
        if lost or not is_done(unit, records):
            untaught |= teaching in unit.needs
            yield unit
    if untaught and teaching not in records:
        yield next(unit for unit in every if unit.kind == "teaching")


def left(plan: Plan, folder: Path) -> Iterator[tuple[Unit, list[str]]]:
    """Yield each unit of a run that is left, and the keys of those that it waits for."""
    records = finished(folder, [unit.key for unit in units(plan)])
    still = {unit.key: unit for unit in remaining(plan, records, folder)}
    for unit in still.values():
        waits = [need for need in unit.needs if need in still]
        if waits or not is_void(unit, records):
            yield unit, waits


def is_done(unit: Unit, records: Finished) -> bool:
    """Return whether all that a unit records is there."""
    keys = [job.key for job in unit.jobs] or [unit.key]
    return all(key in records for key in keys)


def is_void(unit: Unit, records: Finished) -> bool:
    """Return whether a unit has nothing to do: the models that it needs have failed."""
    if unit.kind == "score":
        return not _are_trained([unit.cell.key], records)
    pairs = ([one.cell.key for one in pair] for pair in unit.twins)
    return bool(unit.twins) and not any(_are_trained(pair, records) for pair in pairs)


def check_teacher(plan: Plan, records: Finished) -> None:
    """Stop if the teacher's training has failed.

    Raises:
        AdakdError: it has.
    """
    record = records.get(TrainingRecord, plan.teacher.cell.key)
    if record is not None and record.status == "failed":
        raise AdakdError(f"suite {plan.suite.name!r}, teacher.sft: {record.reason}")


def _are_trained(keys: Iterable[str], records: Finished) -> bool:
    found = (records.get(TrainingRecord, key) for key in keys)
    return all(record is not None and record.status == "done" for record in found)


def _is_lost(
    unit: Unit, plan: Plan, records: Finished, folder: Path, unscored: set[str], note: Note
) -> bool:
    """Return whether the model of a finished training is needed and cannot be read.

    A model that nothing needs any more is not looked at: its folder may have been deleted.
    """
    if unit.kind not in ("teacher", "student") or unit.assignment is None:
        return False
    cell = unit.cell
    needed = cell.key in unscored
    if cell.role == "teacher":
        needed = needed or _needs_teacher(plan, records, unscored)
    if not needed or unit.assignment.training is None or not _are_trained([cell.key], records):
        return False
    why = damage(model_folder(folder, cell.key))
    if why:
        note(f"{cell}: its model cannot be read, {why}; it is trained again", "yellow")
    return bool(why)


def _needs_teacher(plan: Plan, records: Finished, unscored: set[str]) -> bool:
    """Return whether a training, a measurement or a pruned student needs the teacher."""
    suite = plan.suite
    recipes = {one.recipe for one in plan.assignments if one.cell.arm != PLAIN}
    untimed = any(timing_key(recipe, suite.timing) not in records for recipe in recipes)
    untrained = any(cell.key not in records for cell in plan.cells)
    pruned = isinstance(suite.student, Pruned) and bool(unscored)
    return untrained or pruned or (bool(suite.timing.pairs) and untimed)
