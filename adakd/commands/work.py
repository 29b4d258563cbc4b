"""Do one unit of a run, with no engine: for `adakd work`, as in an array of Slurm."""

from collections.abc import Iterator
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table

from adakd.config import Needs
from adakd.console import shown
from adakd.errors import AdakdError
from adakd.planning import Plan, plan
from adakd.planning.units import Unit, units
from adakd.progress import Progress, Silent
from adakd.store import Store


def work(folder: Path, key: str, progress: Progress | None = None) -> bool:
    """Do one unit of a run and leave its records in its own folder, ``units/KEY``.

    The next ``adakd run`` takes them in. Any number of units may be done at once, on any machines
    that share the folder; each is claimed by a lock of its own.

    Args:
        folder: of a run that ``adakd run`` has begun, if only by ``--prepare``.
        key: of the unit, as :func:`unit_lines` tells it; its first letters are enough.
        progress: receives every stage; silent by default.

    Returns:
        Whether there was something to do.

    Raises:
        AdakdError: no such unit, one that it needs is not done, or another process is at it.
    """
    planned = plan(Store(folder).suite())
    unit = _named(planned, key, folder)

    from adakd.execution.alone import do_alone

    return do_alone(planned, unit, folder, progress or Silent())


def unit_lines(folder: Path) -> Iterator[str]:
    """Yield a line for each unit that is left: key, kind, keys of what it waits for, and title.

    Units that wait for nothing have a ``-``.
    """
    planned = plan(Store(folder).suite())

    from adakd.execution.remaining import left

    for unit, waits in left(planned, folder):
        yield f"{unit.key} {unit.kind:8} {','.join(waits) or '-'} {unit.title}"


def _named(planned: Plan, key: str, folder: Path) -> Unit:
    found = [unit for unit in units(planned) if key and unit.key.startswith(key)]
    if len(found) != 1:
        what = "several units begin" if found else "no unit begins"
        raise AdakdError(
            f"--unit: {what} with {key!r} in {folder}; `adakd work {folder}` lists those left"
        )
    return found[0]


def units_table(planned: Plan) -> RenderableType:
    """Return a table of all units of a plan: what each needs before, and what it takes."""
    table = Table("unit", "kind", "work", "needs", "takes")
    for unit in units(planned):
        needs = [key[:8] for key in unit.needs]
        few = needs if len(needs) < 4 else [*needs[:2], f"{len(needs) - 2} more"]
        takes = taken(unit.takes) + (", alone on its node" if unit.kind == "timing" else "")
        takes += f", {unit.devices} devices together" if unit.devices > 1 else ""
        table.add_row(unit.key, unit.kind, shown(unit.title), " ".join(few) or "-", takes)
    table.caption = "judging and the report follow, by `adakd run`"
    return table


def taken(needs: Needs) -> str:
    """Return what a unit takes, in words; what the suite leaves open is the engine's choice."""
    parts = [(needs.gpus, "GPU"), (needs.cpus, "core"), (needs.memory, "GB")]
    told = [f"{number:g} {name}" for number, name in parts if number is not None]
    return ", ".join(told) or "the default"
