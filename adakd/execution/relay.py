"""Progress of units in other processes: sent there, shown here."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from adakd.progress import Progress, Show

EVERY = 1.0
"""Seconds between two reports of one stage."""
Report = tuple[Any, ...]
"""Key of a unit, what is reported, and its details."""


class Relay:
    """Sends the progress of a unit to the owner of the run.

    Args:
        key: of the unit.
        send: takes a report to the owner.
    """

    def __init__(self, key: str, send: Callable[[Report], None]) -> None:
        self.key, self.send, self.last = key, send, 0.0

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Show]:
        """Send the reports of a stage, at most one a second."""
        self.send((self.key, "begin", title, total))

        def show(done: float, total: float = total) -> None:
            if time.monotonic() - self.last > EVERY:
                self.last = time.monotonic()
                self.send((self.key, "show", done, total))

        yield show
        self.send((self.key, "end"))

    def note(self, text: str, style: str = "") -> None:
        """Send a line."""
        self.send((self.key, "note", text, style))

    def ahead(self, text: str) -> None:
        """Send nothing: the owner of the run alone knows what is left."""


class Screen:
    """Shows what relays have sent."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._stages: dict[str, tuple[AbstractContextManager[Show], Show]] = {}
        """The open stage of each unit."""

    def update(self, reports: Iterable[Report]) -> None:
        """Show all that has arrived."""
        for key, what, *details in reports:
            if what == "note":
                self.progress.note(*details)
            elif what == "show" and key in self._stages:
                self._stages[key][1](*details)
            else:
                self.close(key)
                if what == "begin":
                    stage = self.progress.stage(*details)
                    self._stages[key] = stage, stage.__enter__()

    def close(self, key: str) -> None:
        """End the stage of a unit, if one is open."""
        if key in self._stages:
            self._stages.pop(key)[0].__exit__(None, None, None)

    def drop(self, *keys: str) -> None:
        """Leave stages that will not be finished; those of all units if none is named."""
        for key in keys or [*self._stages]:
            if key in self._stages:
                lost = InterruptedError()
                self._stages.pop(key)[0].__exit__(type(lost), lost, None)
