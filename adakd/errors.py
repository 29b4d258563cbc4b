"""Errors that a user can fix: each message is one sentence with problem, place and fix."""

from collections.abc import Iterable
from difflib import get_close_matches


class AdakdError(Exception):
    """Invalid input or environment: the message names the file, the field and the fix.

    The command line prints it without a traceback and exits with code 2.
    """


class UnknownName(AdakdError, KeyError):
    """A name that is not registered; the message suggests the closest one."""

    def __str__(self) -> str:
        """Return the message unquoted, unlike ``KeyError``."""
        return str(self.args[0])


class NonFiniteLoss(AdakdError):
    """A loss or gradient that is not finite; the cell stops and its record names the step."""

    def __init__(self, step: int, what: str = "loss") -> None:
        self.step = step
        super().__init__(f"the {what} is not finite at step {step}: lower training.learning_rate")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'? (known: ...)"``, without a suggestion if no name is close."""
    known = sorted(known)
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    offer = f"; did you mean {near[0]!r}?" if near else ""
    return f"{offer} (known: {', '.join(known) or 'none'})"


def one_line(error: BaseException) -> str:
    """Return the message of an error in one line, or its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__
