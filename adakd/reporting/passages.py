"""Texts of models, judges and data sets on the page: cut if they are very long."""

import re
from dataclasses import dataclass

LONGEST = 2000
"""Most characters of a text on the page."""
_LINE_ENDS = re.compile(r"\r\n?")
_ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
"""Characters that a browser must not get: controls, half surrogates, and those that turn the
direction of the text behind them."""


@dataclass(frozen=True)
class Passage:
    """A text on the page."""

    shown: str
    hidden: int = 0
    """Number of characters that are cut."""

    @classmethod
    def of(cls, text: str | None) -> "Passage | None":
        """Return a text, cut to the most characters of the page; None if there is none."""
        return None if text is None else cls(text[:LONGEST], max(len(text) - LONGEST, 0))


def legible(page: str) -> str:
    r"""Return a page with its control characters spelled out, such as ``\u001b`` for escape.

    The spelling is one of JSON too, so that the data in the page stay what they are.
    """
    return _ACTING.sub(lambda found: f"\\u{ord(found[0]):04x}", _LINE_ENDS.sub("\n", page))
