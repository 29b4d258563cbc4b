"""What a run tells its caller while it works; the command line shows it as bars."""

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

Show = Callable[..., None]
"""``show(done)`` or ``show(done, total)``: how much of a stage is done by now."""


class Progress(Protocol):
    """Receives the stages of a run."""

    def stage(self, title: str, total: int) -> AbstractContextManager[Show]:
        """Open a stage of `total` parts; the block gets what to call as they are done."""
        ...

    def note(self, text: str) -> None:
        """Say one line."""
        ...


class Silent:
    """Shows nothing: the default of the Python functions."""

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Show]:
        """Show nothing."""
        yield lambda done, total=None: None

    def note(self, text: str) -> None:
        """Say nothing."""


class Live:
    """One bar a stage with the time left on a terminal; one line a stage elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Show]:
        """Show a bar until the block ends, then its title as a finished line."""
        bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        with bars:
            bar = bars.add_task(title, total=total)
            yield lambda done, total=total: bars.update(bar, completed=done, total=total)
            seconds = bars.tasks[bar].elapsed or 0.0
        self.note(f"{title}  [dim]{seconds:.0f} s[/dim]")

    def note(self, text: str) -> None:
        """Print one line."""
        self.console.print(text, highlight=False)
