"""Texts on the page: questions, answers and reasons, cut where they are very long."""

from dataclasses import dataclass

LONGEST = 2000
"""Most characters of a text on the page."""


@dataclass(frozen=True)
class Passage:
    """A text on the page, cut if it is very long."""

    shown: str
    hidden: int = 0
    """Number of characters that are cut."""

    @classmethod
    def of(cls, text: str) -> "Passage":
        """Return a text, cut to the most characters of the page."""
        return cls(text[:LONGEST], max(len(text) - LONGEST, 0))
