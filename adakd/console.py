"""The terminal: strings are shown as they are, never as markup, emoji codes or control sequences.

Labels, paths and answers are written by users, models and servers.
"""

import unicodedata
from typing import Any

from rich.console import Console
from rich.text import Text

KEPT = "\n\t"
"""Control characters that are printed."""
REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that change the direction of the text after them."""


def printable(text: str) -> str:
    r"""Return a text with its control characters spelled out, such as ``\x1b`` for escape."""
    return "".join(_spelled(c) if _acts(c) else c for c in text)


def shown(text: str, style: str = "") -> Text:
    """Return a text in a style, which is the only markup that it gets."""
    return Text(printable(text), style=style)


class PlainConsole(Console):
    """A console without markup and emoji codes, whose strings cannot control the terminal."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a string as rich text, with its control characters spelled out."""
        return super().render_str(printable(text), **options)


def _acts(character: str) -> bool:
    if character in KEPT:
        return False
    return unicodedata.category(character) in ("Cc", "Cs") or character in REORDERING


def _spelled(character: str) -> str:
    return ascii(character)[1:-1]
