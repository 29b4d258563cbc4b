"""Texts of models, judges and data sets on the page: cut if they are very long."""

import re
from dataclasses import dataclass

from adakd.console import printable

LONGEST = 2000
"""Most characters of a text on the page."""
_LINE_ENDS = re.compile(r"\r\n?")


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
    r"""Return a page with its control characters spelled out, as the terminal spells them."""
    return printable(_LINE_ENDS.sub("\n", page))
