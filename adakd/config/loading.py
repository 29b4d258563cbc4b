"""Load settings from YAML files, with overrides; errors name the file, the field and the fix."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from adakd.config import Suite, resources
from adakd.config.nesting import DEPTH, check_nesting
from adakd.config.yaml_text import parsed
from adakd.errors import AdakdError, did_you_mean


def load_suite(name: str, overrides: Sequence[str] = ()) -> Suite:
    """Load a suite by shipped name or path, with ``a.b=value`` overrides.

    A suite that ``extends`` another suite in its folder inherits all sections that it does not
    define itself. A relative path in the file is relative to the file; an override whose value
    is an existing path is resolved against the working directory.

    Raises:
        AdakdError: no such suite, or an invalid field, named with its file.
    """
    file = resources.find("suites", name)
    content = _extended(file)
    for override in overrides:
        apply_override(content, override)
    if isinstance(content.get("ours"), list):
        content["ours"] = _still_set(content["ours"], overrides)
    own_name = file.stem if file == Path(name) else name
    return validated(Suite, {"name": own_name, **content}, file)


def _extended(file: Path, *before: Path) -> dict[str, Any]:
    """Read a suite merged with the suites it extends; its sections replace theirs entirely.

    Raises:
        AdakdError: an extended suite is missing, is not a mapping, or extends itself.
    """
    content = read_yaml(file)
    base = content.pop("extends", None)
    if base is None:
        return content
    other = file.with_name(f"{base}.yaml")
    if not other.is_file():
        known = sorted(path.stem for path in file.parent.glob("*.yaml"))
        near = did_you_mean(str(base), known)
        raise AdakdError(f"{file}: extends: no suite {base!r} in this folder{near}")
    if other in (file, *before):
        raise AdakdError(f"{file}: extends: {base!r} extends this suite in turn: remove one")
    return {**_extended(other, file, *before), **content}


def read_yaml(file: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        AdakdError: the file is unreadable, not YAML, or not a mapping.
    """
    try:
        content = parsed(file.read_text(encoding="utf-8-sig"))
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise AdakdError(f"{file}: {_one_line(error)}") from None
    check_nesting(content, str(file))
    if not isinstance(content, dict):
        raise AdakdError(f"{file}: expected `key: value` lines, found {type(content).__name__}")
    return content


def _one_line(error: Exception) -> str:
    """Return the message of an error that parsing raised, in one line."""
    if isinstance(error, RecursionError):
        return f"more than {DEPTH} levels of lists and mappings: flatten it"
    return " ".join(str(error).split())


def apply_override(content: dict[str, Any], override: str) -> None:
    """Set one field by ``a.b=value``, with the value in YAML; numbers in the path index lists."""
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise AdakdError(f"--set {override}: expected FIELD=VALUE, such as training.steps=50")
    try:
        value: Any = parsed(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise AdakdError(f"--set {override[:80]}: {_one_line(error)}") from None
    check_nesting(value, f"--set {override[:80]}")
    if isinstance(value, str) and os.sep in value and os.path.exists(value):
        value = os.path.abspath(value)
    *parents, last = path.split(".")
    node: Any = content
    for part in parents:
        if isinstance(node, list) and _index(part) < len(node):
            node = node[_index(part)]
        elif isinstance(node, dict) and isinstance(node.setdefault(part, {}), dict | list):
            node = node[part]
        else:
            raise AdakdError(f"--set {override}: {part!r} is not a section")
    if isinstance(node, list) and _index(last) < len(node):
        node[_index(last)] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise AdakdError(f"--set {override}: {last!r} is not a field")


def _still_set(fields: Sequence[Any], overrides: Sequence[str]) -> list[Any]:
    """Return the fields that no override takes out of the suite, by ``a.b=null``."""
    split = [override.partition("=") for override in overrides]
    removed = [path for path, _, text in split if parsed(text) is None]
    return [
        field for field in fields if not any(f"{field}.".startswith(f"{path}.") for path in removed)
    ]


def _index(part: str) -> int:
    """Return the place in a list that a part of a path names; behind its end if it names none."""
    return int(part) if part.isascii() and part.isdigit() and len(part) < 10 else sys.maxsize


Model = TypeVar("Model", bound=BaseModel)


def validated(model: type[Model], content: Mapping[str, Any], file: Path) -> Model:
    """Validate `content` as `model`; an error names the file and every invalid field."""
    try:
        return model.model_validate(content, context={"folder": file.resolve().parent})
    except ValidationError as error:
        lines = [_explain(model, dict(line)) for line in error.errors()]
        raise AdakdError(f"{file}: " + "; ".join(lines)) from None


def _explain(model: type[BaseModel], error: dict[str, Any]) -> str:
    location = error["loc"]
    field = ".".join(map(str, location))
    if error["type"] == "extra_forbidden":
        return (
            f"unknown field {field!r}{did_you_mean(str(location[-1]), _fields_at(model, location))}"
        )
    if error["type"] == "missing":
        return f"{field}: missing; add it"
    message = error["msg"].removeprefix("Value error, ")
    given = error.get("input")
    shown = f" (given: {given!r})" if isinstance(given, str | int | float) else ""
    return f"{field}: {message}{shown}" if field else message


def _fields_at(model: type[BaseModel], location: tuple[Any, ...]) -> set[str]:
    """Return the fields known at the end of `location`, skipping keys of lists and mappings."""
    models = {model}
    for part in location[:-1]:
        inner = [m.model_fields[part].annotation for m in models if part in m.model_fields]
        models = (
            {found for annotation in inner for found in _models_in(annotation)}
            or {
                m
                for m in models
                if m.model_fields.get("kind") is None
                or part in get_args(m.model_fields["kind"].annotation)
            }
            or models
        )
    return {name for m in models for name in m.model_fields}


def _models_in(annotation: Any) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {found for part in get_args(annotation) for found in _models_in(part)}
