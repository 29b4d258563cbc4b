"""The terminal: strings are shown as they are, never as markup, emoji codes or control sequences.

Labels, paths and answers are written by users, models and servers.
"""

import re
from typing import Any

from rich.console import Console
from rich.text import Text

ACTING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
"""Control characters but line feed and tab, lone surrogates, and characters that change the
direction of the text after them."""


def printable(text: str) -> str:
    r"""Return a text with its control characters spelled out, such as ``\x1b`` for escape."""
    return ACTING.sub(lambda found: ascii(found[0])[1:-1], text)


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
