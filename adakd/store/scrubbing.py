"""Take what belongs to a machine and its user out of records: paths, secrets, private servers.

Settings lose the folders of local files, of which the name stays. In every text, answers included,
secrets of the environment, tokens, the home and the working folder are replaced; outside of
questions and answers, so are private servers and what addresses say beside a page.
"""

import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from adakd.store.records import Record

SECRET = "[secret]"
_NAMED_SECRET = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|(?:API|ACCESS|PRIVATE)_?KEY", re.I)
"""Names of variables and settings whose values are nobody's business."""
_TOKEN = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{20,}"
    r"|AKIA[A-Z0-9]{16}|xox[a-z]-[A-Za-z0-9-]{10,}|AIza[A-Za-z0-9_-]{30,})"
)
"""Tokens of well-known services."""
_URL = re.compile(r"https?://[^\s'\"<>)\]]+")
_HOME = re.compile(r"/(?:home|Users)/[^/\s'\"]+")
_LEAST = 8
"""Characters of a secret that is replaced wherever it stands: a shorter one may be a word."""
_SETTINGS = {"run": ("suite",), "judge": ("settings", "model", "description")}
"""Fields of records that hold settings, by kind."""


_SAYINGS = ("answer", "question", "reference")
"""Fields of models' and data sets' texts, whose addresses are part of what is measured."""


class Scrubber:
    """Replaces what must not leave a machine; the environment is read once."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        named = {value for name, value in environment.items() if _NAMED_SECRET.search(name)}
        self._secrets = sorted((one for one in named if len(one) >= _LEAST), key=len, reverse=True)
        folders = {str(Path.cwd()): ".", os.path.expanduser("~"): "~"}
        self._folders = {
            of: name for of, name in folders.items() if of.count("/") > 1 or name == "~"
        }
        self._folders.pop("/", None)

    def text(self, text: str) -> str:
        """Return a text without secrets, private servers, and the folders of the user."""
        return _URL.sub(lambda found: _public(found[0]), self.saying(text))

    def saying(self, text: str) -> str:
        """Return what a model or a data set says, without secrets and the folders of the user."""
        for secret in self._secrets:
            text = text.replace(secret, SECRET)
        text = _TOKEN.sub(SECRET, text)
        for folder, name in self._folders.items():
            text = re.sub(rf"(?<![\w.-]){re.escape(folder)}(?![\w.-])", name, text)
        return _HOME.sub("~", text)

    def texts(self, value: Any) -> Any:
        """Return plain JSON values with each text as :meth:`text` has it."""
        if isinstance(value, dict):
            return {
                self.text(name): self.saying(inner)
                if name in _SAYINGS and isinstance(inner, str)
                else self.texts(inner)
                for name, inner in value.items()
            }
        if isinstance(value, list):
            return [self.texts(inner) for inner in value]
        return self.text(value) if isinstance(value, str) else value

    def settings(self, value: Any) -> Any:
        """Return settings without secrets, and with the names alone of local files and folders."""
        if isinstance(value, dict):
            return {
                name: SECRET
                if isinstance(inner, str) and inner and _NAMED_SECRET.search(name)
                else self.settings(inner)
                for name, inner in value.items()
            }
        if isinstance(value, list):
            return [self.settings(inner) for inner in value]
        return self.text(_local_name(value)) if isinstance(value, str) else value

    def command(self, command: str) -> str:
        """Return a command line with the names alone of local files and folders."""
        try:
            words = shlex.split(command)
        except ValueError:
            return self.text(command)
        return self.text(shlex.join(map(self._word, words)))

    def _word(self, word: str) -> str:
        field, equals, value = word.partition("=")
        if not equals:
            return _local_name(word)
        secret = _NAMED_SECRET.search(field)
        return f"{field}={SECRET if secret else _local_name(value)}"

    def record(self, record: Record) -> dict[str, Any]:
        """Return a record as JSON values that may leave the machine."""
        content: dict[str, Any] = json.loads(record.model_dump_json())  # infinity is a text there
        for field in _SETTINGS.get(record.kind, ()):
            content[field] = self.settings(content[field])
        if record.kind == "run":
            content["command"] = self.command(record.command)
        scrubbed: dict[str, Any] = self.texts(content)
        return scrubbed

    def found(self, content: str) -> Iterator[str]:
        """Yield what a text still holds of the user's secrets and folders; for a last look."""
        yield from ("a secret of the environment" for one in self._secrets if one in content)
        yield from (f"the folder {one}" for one in self._folders if f"{one}/" in content)
        if _TOKEN.search(content):
            yield "a token"


def _local_name(text: str) -> str:
    """Return the last part of a local path; other texts as they are."""
    is_path = text.startswith(("/", "~", "./", "../")) and "\n" not in text
    return (Path(text).name or text) if is_path else text


def _public(url: str) -> str:
    """Return a URL without user, password and query; that of a private server without its name."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "http://private-server"
    if _is_private(host):
        return f"{parts.scheme}://private-server{parts.path}"
    if not (parts.username or parts.password or parts.query):
        return url
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path}"


def _is_private(host: str) -> bool:
    try:
        return not ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".lan", ".localdomain"))
