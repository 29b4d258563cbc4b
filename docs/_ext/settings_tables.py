"""Write the tables of all settings of suite and judge files, from the code that checks them."""

import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

from adakd.config import Suite
from adakd.config.judge import Prices, Vetting
from adakd.judging import judge_backend
from adakd.judging.judge_files import JudgeConfig, JuryConfig
from adakd.registry import Spec

BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
NAMES = {"NoneType": "null", "Path": "path", "str": "text", "Any": "any"}


@dataclass(frozen=True)
class Row:
    """One setting."""

    name: str
    type: str
    default: str
    text: str


def write(app: Sphinx) -> None:
    """Write `_generated/suite-settings.md` and `_generated/judge-settings.md`."""
    folder = Path(app.srcdir, "_generated")
    folder.mkdir(exist_ok=True)
    suite = "\n".join(_section(model) for model in _models(Suite, {}))
    (folder / "suite-settings.md").write_text(suite, encoding="utf-8")
    models = (JudgeConfig, Vetting, Prices, JuryConfig)
    parts = [_section(model) for model in models] + [_backend(name) for name in judge_backend]
    (folder / "judge-settings.md").write_text("\n".join(parts), encoding="utf-8")


def _models(model: type[BaseModel], seen: dict[type, None]) -> dict[type, None]:
    """Return a model and all that it holds, each once, outer ones first."""
    if model in seen or model is Spec:
        return seen
    seen[model] = None
    for field in model.model_fields.values():
        for inner in _classes(field.annotation):
            _models(inner, seen)
    return seen


def _classes(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _classes(argument)


def _section(model: type[BaseModel]) -> str:
    fields = {name: f for name, f in model.model_fields.items() if f.repr}
    return _table(model.__name__, model.__doc__ or "", _rows(fields, _texts(model)))


def _backend(name: str) -> str:
    part = judge_backend[name]
    rows = _rows(judge_backend.settings(name).model_fields, _texts(part))
    return _table(f"kind: {name}", part.__doc__ or "", rows)


def _texts(part: Any) -> Mapping[str, str]:
    """Return the docstring below each attribute of a class and of its bases."""
    texts: dict[str, str] = {}
    for base in reversed(part.__mro__):
        if base.__module__.startswith("adakd"):
            found = ModuleAnalyzer.for_module(base.__module__).find_attr_docs()
            of_class = {n: " ".join(t).strip() for (c, n), t in found.items() if c == base.__name__}
            texts |= of_class
    return texts


def _rows(fields: Mapping[str, FieldInfo], texts: Mapping[str, str]) -> list[Row]:
    return [
        Row(
            name,
            " ".join([_type(field.annotation), *_bounds(field.metadata)]),
            "" if field.is_required() else _default(field.get_default(call_default_factory=True)),
            texts.get(name, "").replace("``", "`"),
        )
        for name, field in fields.items()
    ]


def _table(title: str, text: str, rows: list[Row]) -> str:
    head = f"### {title}\n\n{text.partition(chr(10))[0].replace('``', '`')}\n"
    lines = [f"| `{r.name}` | {r.type} | {r.default} | {r.text} |" for r in rows]
    return "\n".join([head, "| field | value | default | |", "|---|---|---|---|", *lines, ""])


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return " ".join([_type(arguments[0]), *_bounds(arguments[1:])])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_type, arguments)))
    if origin is tuple:
        return "list of " + ", ".join(_type(one) for one in arguments if one is not Ellipsis)
    if origin is dict:
        return f"mapping to {_type(arguments[1])}"
    if annotation is Spec:
        return "a part: name, or name with settings"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    name = getattr(annotation, "__name__", str(annotation))
    return NAMES.get(name, name)


def _bounds(metadata: Iterable[Any]) -> Iterator[str]:
    for one in metadata:
        for field, sign in BOUNDS.items():
            if (limit := getattr(one, field, None)) is not None:
                yield f"{sign} {limit:g}"
        if getattr(one, "min_length", None) == 1:
            yield "(at least one)"


def _default(value: Any) -> str:
    if isinstance(value, BaseModel) and not isinstance(value, Spec):
        return "its defaults"
    if value is None:
        return "null"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(str, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {v}" for k, v in value.items()) + "}"
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{shown}`".replace("|", "\\|") if shown else "empty"


def setup(app: Sphinx) -> dict[str, Any]:
    """Write the tables before any page is read."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
