"""The responses that a student writes in one optimizer step, generated together."""

from collections.abc import Callable, Iterator, Sequence
from typing import overload

from adakd.data.example import Example
from adakd.policies import Decoding, Examples

Write = Callable[[Examples, Decoding], Examples]
"""Generates the responses to the prompts of some rows."""


class Promised(Sequence[Example]):
    """Rows whose responses are generated when the first of them is looked at."""

    def __init__(self, rows: Examples, settle: Callable[[], None]) -> None:
        self.rows, self._settle = rows, settle
        self.written: Examples | None = None
        """The rows with their responses, once there are any."""

    def _kept(self) -> Examples:
        if self.written is None:
            self._settle()
        assert self.written is not None
        return self.written

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> Example: ...
    @overload
    def __getitem__(self, place: slice) -> Examples: ...
    def __getitem__(self, place: int | slice) -> Example | Examples:
        return self._kept()[place]

    def __iter__(self) -> Iterator[Example]:
        return iter(self._kept())


class StepResponses:
    """Collects the prompts that a data policy wants answered in a step.

    Micro-batches follow each other with the same weights. So their prompts are answered in one
    go, which takes about as long as those of one micro-batch on a device that is not full.

    Args:
        write: generates responses.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._waiting: list[tuple[Decoding, Promised]] = []

    def __call__(self, rows: Examples, decoding: Decoding) -> Examples:
        """Return rows whose responses come later: see :class:`Promised`."""
        promised = Promised(rows, self.settle)
        self._waiting.append((decoding, promised))
        return promised

    def settle(self) -> None:
        """Generate all responses that are waited for, those of one decoding together."""
        waiting, self._waiting = self._waiting, []
        for decoding in dict.fromkeys(decoding for decoding, _ in waiting):
            promises = [one for asked, one in waiting if asked == decoding]
            written = self._write([row for one in promises for row in one.rows], decoding)
            for one in promises:
                one.written, written = written[: len(one)], written[len(one) :]
