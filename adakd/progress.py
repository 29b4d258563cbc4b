"""Progress reports of a run; the command line shows them as bars."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from time import monotonic
from typing import Protocol

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from adakd import interrupts
from adakd.console import printable, shown

EVERY = 60.0
"""Seconds between two lines of what is left, where there is no terminal."""
Show = Callable[..., None]
"""``show(done)`` or ``show(done, total)``: report how many parts of a stage are done."""


class Progress(Protocol):
    """Receives the stages of a run."""

    def stage(self, title: str, total: int) -> AbstractContextManager[Show]:
        """Open a stage of `total` parts; yields the function that reports finished parts."""
        ...

    def note(self, text: str, style: str = "") -> None:
        """Report one line of plain text, in a style of rich such as ``yellow``."""
        ...

    def ahead(self, text: str) -> None:
        """Report in one line what is left of all, in place of the last such report."""
        ...


class Silent:
    """Discards all reports: the default of the Python functions."""

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Show]:
        """Discard the reports of a stage."""
        yield lambda done, total=None: None

    def note(self, text: str, style: str = "") -> None:
        """Discard the line."""

    def ahead(self, text: str) -> None:
        """Discard the line."""


class _Bars(Bars):
    """Bars, and one line below them."""

    below = ""

    def get_renderables(self) -> Iterator[RenderableType]:
        """Yield the bars and the line."""
        yield from super().get_renderables()
        if self.below:
            yield shown(self.below, "dim")


class Live:
    """Shows a bar with the time left per stage on a terminal, and a line per stage elsewhere.

    Several stages may be open at once, and end in any order. What is left of all is a line below
    the bars; elsewhere one that is printed now and then.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bars: _Bars | None = None
        """Shared by the stages that are open."""
        self._ahead = ""
        self._told = monotonic()
        """When what is left was printed last."""

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Show]:
        """Show a bar until the block ends, then the title with the elapsed time."""
        interrupts.check()
        bars = self._started()
        bar = bars.add_task(printable(title), total=total)

        def show(done: float, total: float = total) -> None:
            interrupts.check()
            if bar in bars.task_ids:  # else this came late
                bars.update(bar, completed=done, total=total)

        try:
            yield show
            seconds = next(task.elapsed or 0.0 for task in bars.tasks if task.id == bar)
        finally:
            bars.remove_task(bar)
            if not bars.tasks:
                bars.stop()
                self._bars = None
        took = shown(f"  {seconds:.0f} s", "dim")
        self.console.print(shown(title).append_text(took), highlight=False)

    def _started(self) -> _Bars:
        if self._bars is None:
            self._bars = _Bars(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TaskProgressColumn(),
                TimeRemainingColumn(elapsed_when_finished=True),
                console=self.console,
                transient=True,
                disable=not self.console.is_terminal,
            )
            self._bars.below = self._ahead
            self._bars.start()
        return self._bars

    def note(self, text: str, style: str = "") -> None:
        """Print one line."""
        interrupts.check()
        self.console.print(shown(text, style), highlight=False)

    def ahead(self, text: str) -> None:
        """Show what is left of all below the bars; elsewhere print it, at most once a minute."""
        interrupts.check()
        self._ahead = text
        if self._bars is not None:
            self._bars.below = text
        if text and not self.console.is_terminal and monotonic() - self._told >= EVERY:
            self._told = monotonic()
            self.console.print(shown(text, "dim"), highlight=False)
