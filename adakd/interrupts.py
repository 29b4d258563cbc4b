"""Ctrl-C and SIGTERM: always heeded, also where Python drops the exception.

An exception that is raised inside a finaliser or a callback of the garbage collector is printed and
dropped. So the signal is remembered too, and looked at after each step and each batch.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_asked: list[int] = []
"""The signal that asked this process to stop, if any."""


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to stop."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(signal.Signals(number).name)


def exit_code() -> int:
    """Return 130 for Ctrl-C and 143 for SIGTERM, as a shell reports them.

    A library may turn either into a ``KeyboardInterrupt`` of its own, as Ray does.
    """
    return 128 + (_asked[0] if _asked else signal.SIGINT)


def check() -> None:
    """Stop if a signal has asked for it.

    Raises:
        Interrupted: it has.
    """
    if _asked:
        raise Interrupted(_asked[0])


@contextmanager
def heeded() -> Iterator[None]:
    """Heed Ctrl-C and SIGTERM inside the block; for the main thread, without effect in others."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _ask) for number in SIGNALS}
    try:
        yield
    finally:
        _asked.clear()
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def kept() -> Iterator[None]:
    """Put handlers back that a library replaces inside the block, as ``ray.init`` does."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


def _ask(number: int, _: FrameType | None) -> None:
    _asked.append(number)
    raise Interrupted(number)
