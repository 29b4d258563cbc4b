"""The base of all settings and records, and the paths that they hold."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo


def _resolve(path: Path, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get("folder", Path())
    return Path(_portable(os.path.abspath(folder / path)))


def _portable(path: str) -> str:
    """Return a path as seen from the working directory where that is above it."""
    here = Path.cwd()
    return os.path.relpath(path) if Path(path).is_relative_to(here) else path


SuitePath = Annotated[Path, AfterValidator(_resolve)]
"""A path relative to the file that names it; then to the working directory, if it is below."""


def _named(model: str, info: ValidationInfo) -> str:
    if not model.strip():
        raise ValueError("is empty: give a hub id or a folder")
    beside = (info.context or {}).get("folder", Path()) / model
    return os.path.abspath(beside) if model.startswith("./") and beside.is_dir() else model


ModelName = Annotated[str, AfterValidator(_named), AfterValidator(_portable)]
"""A hub id or a folder: ``./name`` beside the file that names it, others as seen from the working
directory."""


def _one_line(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("expected one line of printable text, not an empty one")
    return text


Line = Annotated[str, AfterValidator(_one_line)]
"""One line of printable text that is not blank."""


FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""Letters, digits, ``.``, ``_`` and ``-``."""


class Config(BaseModel):
    """Base of all settings and records: frozen, unknown keys rejected, infinity written as text."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, ser_json_inf_nan="strings"
    )
