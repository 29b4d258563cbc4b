"""The errors that a user can mend, each one sentence that says what, where and how."""

from collections.abc import Iterable
from difflib import get_close_matches


class AdakdError(Exception):
    """Bad input or a bad environment: the message names the file, the field and the fix.

    The command line prints it without a traceback and exits with code 2.
    """


class UnknownName(AdakdError, KeyError):
    """A name that nothing is registered under; the nearest one is offered."""

    def __str__(self) -> str:
        """Return the plain message (``KeyError`` would quote it)."""
        return str(self.args[0])


class NonFiniteLoss(AdakdError):
    """A loss or gradient that is not a number; the cell stops and its record says at which step."""

    def __init__(self, step: int, what: str = "loss") -> None:
        self.step = step
        super().__init__(f"the {what} is not finite at step {step}: lower training.learning_rate")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'? (known: ...)"``, without the offer where nothing is near."""
    known = sorted(known)
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    offer = f"; did you mean {near[0]!r}?" if near else ""
    return f"{offer} (known: {', '.join(known) or 'none'})"
