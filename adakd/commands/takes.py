"""Show what a plan takes: for `adakd plan`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.table import Table

from adakd.errors import AdakdError
from adakd.execution.needs import Need, needs
from adakd.execution.speeds import H100, H100_ENGINE, Rates, Speed, stated
from adakd.judging import Panel
from adakd.planning import Plan
from adakd.planning.quantities import NONE, duration, number
from adakd.store import Store

WORTH = 3600.0
"""Seconds on an H100 below which its time is not told: overhead decides it then."""
HOUR = 3600.0
_H100 = "batches"
Times = tuple[float | None, ...]
"""Seconds of each stage; None where they are not known."""


@dataclass(frozen=True)
class Takes:
    """What the stages of a plan take, and how long by one or more speeds."""

    needs: tuple[Need, ...]
    times: Mapping[str, Times]
    """By the heading of a column."""
    price: float | None = None
    """Of an hour."""


def takes(
    planned: Plan,
    panel: Panel | None = None,
    run: Path | None = None,
    speed: str | None = None,
    price: float | None = None,
) -> Takes:
    """Return what a plan takes.

    Args:
        planned: the plan.
        panel: its judges.
        run: the folder of a run whose speed counts, if it has records.
        speed: as in :func:`~adakd.execution.speeds.stated`, in place of a run's.
        price: of an hour of the device.

    Raises:
        AdakdError: a speed or a price that is none.
    """
    if price is not None and not 0 <= price < float("inf"):
        raise AdakdError(f"--price: {price} is no price of an hour: give a number such as 2.5")
    found = needs(planned, panel)
    if speed is not None:
        times = {"time": _times(found, stated(speed, planned.suite.evaluation.batch_size))}
        return Takes(found, times, price)
    store = Store(run) if run is not None and run.is_dir() else None
    if store is not None and store.exists:
        known = Rates(store).stages(planned)
        measured = tuple(known.get(need.stage) for need in found)
        if any(one is not None for one in measured):
            return Takes(found, {"time, as in the run": measured}, price)
    times = {_H100: _times(found, H100), "continuous": _times(found, H100_ENGINE)}
    if sum(one or 0.0 for one in times[_H100]) < WORTH:
        times = {}
    return Takes(found, times, price)


def _times(found: Sequence[Need], speed: Speed) -> Times:
    return tuple(speed.seconds(need) for need in found)


def takes_table(found: Takes) -> Table:
    """Return what a plan takes as a table for the terminal."""
    table = Table("stage", title="what this takes, about", box=box.SIMPLE_HEAD, padding=0)
    for name in ("work", "tokens", "FLOP", "memory", "disk", *found.times):
        table.add_column(name, justify="right")
    for place, need in enumerate(found.needs):
        work = NONE if need.work is None else f"{_short(need.work)} {need.unit}s"
        sizes = (_short(need.memory, "B"), _short(need.disk, "B"))
        times = (_time(of[place]) for of in found.times.values())
        table.add_row(
            need.stage, work, _short(need.tokens), _short(need.operations), *sizes, *times
        )
    if found.times:
        totals = (_total(of) for of in found.times.values())
        table.add_row("together", "", "", "", "", "", *totals)
        if found.price is not None:
            costs = (_cost(found.needs, of, found.price) for of in found.times.values())
            table.add_row(f"at {found.price:g} an hour", "", "", "", "", "", *costs)
    table.caption = _caption(found)
    return table


def _caption(found: Takes) -> str:
    told = (
        "memory: weights, gradients and Adam's moments; activations come on top. Answers are "
        "counted at their longest."
    )
    if any(need.devices > 1 for need in found.needs):
        told += (
            " Devices that share a training have that memory each, and share its time evenly; with "
            "shard: true one layer, embeddings and LM head come on top, whole."
        )
    if _H100 in found.times:
        told += (
            f" Times: one H100, assumed, {H100.operations / 1e12:g} TFLOP/s; it decodes padded "
            f"batches with {H100.decoded:g} steps a second; with evaluation.engine: continuous, "
            f"answers and the teacher's responses with {H100_ENGINE.engine:,.0f} tokens a second. "
            "The students' own responses take as long by either engine: those of a step are "
            "decoded at once, for as many steps as the longest has tokens. --speed or --like gives "
            "other times."
        )
    elif not found.times:
        told += " Time: run it once, or give --speed or --like."
    return told


def _time(seconds: float | None) -> str:
    return NONE if seconds is None else duration(seconds)


def _total(times: Times) -> str:
    """Return the sum of the known times, marked where one is not known."""
    known = [one for one in times if one is not None]
    return f"{'≥ ' if len(known) < len(times) else ''}{duration(sum(known))}"


def _cost(needs: Sequence[Need], times: Times, price: float) -> str:
    hours = sum(n.devices * (one or 0.0) for n, one in zip(needs, times, strict=True)) / HOUR
    return number(price * hours)


def _short(value: float | None, unit: str = "") -> str:
    """Return a number with few digits and a decimal prefix, such as ``1.8 G`` or ``12,516``."""
    if value is None:
        return NONE
    prefixes = ("", "k", "M", "G", "T", "P", "E")
    place = 0
    while value >= (99_999.5 if place == 0 else 999.5) and place < len(prefixes) - 1:
        value, place = value / 1000, place + 1
    digits = 0 if value >= 10 or place == 0 else 1
    return f"{number(value, digits)} {prefixes[place]}{unit}".rstrip()
