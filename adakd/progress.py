"""Progress reports of a run; the command line shows them as bars."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from adakd import interrupts
from adakd.console import printable, shown

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


class Silent:
    """Discards all reports: the default of the Python functions."""

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Show]:
        """Discard the reports of a stage."""
        yield lambda done, total=None: None

    def note(self, text: str, style: str = "") -> None:
        """Discard the line."""


class Live:
    """Shows a bar with the time left per stage on a terminal, and a line per stage elsewhere.

    Several stages may be open at once, and end in any order.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bars: Bars | None = None
        """Shared by the stages that are open."""

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

    def _started(self) -> Bars:
        if self._bars is None:
            self._bars = Bars(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TaskProgressColumn(),
                TimeRemainingColumn(elapsed_when_finished=True),
                console=self.console,
                transient=True,
                disable=not self.console.is_terminal,
            )
            self._bars.start()
        return self._bars

    def note(self, text: str, style: str = "") -> None:
        """Print one line."""
        interrupts.check()
        self.console.print(shown(text, style), highlight=False)
