"""Write the page of the command line from the Typer app, as `typer ... utils docs` prints it."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

COMMAND = (sys.executable, "-m", "typer", "adakd.cli", "utils", "docs", "--name", "adakd")

COMMANDS = re.compile(r"\*\*Commands\*\*:\n\n(\* .*\n)+")
"""A list with texts that are cut: each command has its own section below."""


def write(app: Sphinx) -> None:
    """Write `_generated/commands.md`, which `command-line.md` includes."""
    environment = os.environ | {"COLUMNS": "100", "NO_COLOR": "1"}
    done = subprocess.run(COMMAND, env=environment, capture_output=True, text=True, check=True)
    _, _, below_title = done.stdout.partition("\n")
    page = COMMANDS.sub("", below_title).strip() + "\n"
    file = Path(app.srcdir, "_generated", "commands.md")
    file.parent.mkdir(exist_ok=True)
    file.write_text(page, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Write the page before any page is read."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
