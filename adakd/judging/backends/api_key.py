"""The API key of a judge's server: read from the environment and never stored."""

import os
import re

from adakd.judging.base import JudgeError


class ApiKey:
    """An API key, or none, and its redaction.

    Args:
        variable: the environment variable; None for a server without a key.

    Raises:
        JudgeError: the variable is not set, or its value is not a key.
    """

    def __init__(self, variable: str | None) -> None:
        self.value = _read(variable) if variable else None
        # servers repeat keys in URLs and JSON, where some characters are escaped
        self._spellings = re.compile("".join(map(_spelled, self.value or "")))

    def __repr__(self) -> str:
        return "ApiKey(***)"

    def hidden(self, text: str) -> str:
        """Redact the key in a text from the server."""
        if not self.value:
            return text
        text = text.replace(self.value, "***")
        return self._spellings.sub("***", text) if re.search(r"[%\\&]", text) else text


def _read(variable: str) -> str:
    key = os.environ.get(variable, "").strip()
    if not key:
        raise JudgeError(
            f"api_key_env: the environment variable {variable} is not set; "
            "export the key under that name"
        )
    if not (key.isascii() and key.isprintable()):
        raise JudgeError(f"api_key_env: the value of {variable} is not a valid key; fix it")
    return key


def _spelled(character: str) -> str:
    """Return a pattern for the escaped forms of a character in a URL, in JSON or in HTML."""
    code = ord(character)
    spellings = [
        rf"\\?{re.escape(character)}",
        rf"%(?i:{code:02x})",
        rf"\\u(?i:{code:04x})",
        rf"&#(?:0*{code}|(?i:x0*{code:x}));",
    ]
    named = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}
    if character in named:
        spellings.insert(0, named[character])
    return f"(?:{'|'.join(spellings)})"
