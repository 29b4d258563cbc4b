"""Registries of named components, built in or from a plug-in.

A component is a function or a class. Its keyword-only parameters are its settings: a suite may set
them, and they are checked against the signature (name, type, bounds) before anything runs.
"""

import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, create_model

from adakd.errors import AdakdError, UnknownName, did_you_mean, one_line

Part = TypeVar("Part", bound=Callable[..., Any])
P = TypeVar("P", bound=Callable[..., Any])

ENTRY_POINT_GROUP = "adakd.plugins"


class Ours:
    """Marks a setting, ``Annotated[float, Ours]``, whose default comes from no paper."""


class Spec(BaseModel):
    """A component with settings: ``reverse_kl`` or ``{name: skew_reverse_kl, lam: 0.2}``."""

    model_config = ConfigDict(frozen=True, extra="allow")
    name: str

    @property
    def settings(self) -> dict[str, Any]:
        """The settings given with the name."""
        return dict(self.model_extra or {})

    def __str__(self) -> str:
        """Return ``name`` or ``name(setting=value, ...)``."""
        inner = ", ".join(f"{key}={value}" for key, value in self.settings.items())
        return f"{self.name}({inner})" if inner else self.name


def named(value: Any) -> Any:
    """Convert a bare name to the mapping for a model with a ``name`` field."""
    return {"name": value} if isinstance(value, str) else value


PartSpec = Annotated[Spec, BeforeValidator(named)]
"""A :class:`Spec` in settings and suite files, where a bare name suffices."""


class Registry(Mapping[str, Part], Generic[Part]):
    """Components of one kind by name; also the decorator that registers them.

    >>> divergence = Registry("divergence")
    >>> @divergence("forward_kl")
    ... def forward_kl(student, teacher): ...
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._parts: dict[str, Part] = {}

    def __call__(self, name: str) -> Callable[[P], P]:
        """Return a decorator that registers a component as `name`; a duplicate is an error."""

        def register(part: P) -> P:
            if name in self._parts:
                raise AdakdError(f"{self.kind} {name!r} is already registered: choose another name")
            self._parts[name] = part  # type: ignore[assignment]  # P keeps the part's own type
            return part

        return register

    def __getitem__(self, name: str) -> Part:
        if name not in self._parts:
            raise UnknownName(f"unknown {self.kind} {name!r}{did_you_mean(name, self._parts)}")
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def has_part_of(self, module: str) -> bool:
        """Return whether a module registered a component here."""
        return any(getattr(part, "__module__", None) == module for part in self._parts.values())

    def settings(self, name: str) -> type[BaseModel]:
        """Return the model of the settings of `name`, derived from its signature."""
        return _settings_model(self[name], name)

    def ours(self, name: str) -> tuple[str, ...]:
        """Return the settings of `name` that are marked as :class:`Ours`."""
        fields = self.settings(name).model_fields
        return tuple(key for key, field in fields.items() if Ours in field.metadata)

    def resolve(self, spec: Spec) -> dict[str, Any]:
        """Return all settings of `spec`, with defaults filled in.

        Raises:
            AdakdError: an unknown name, an unknown setting, or an invalid value.
        """
        model = self.settings(spec.name)
        unknown = [key for key in spec.settings if key not in model.model_fields]
        if unknown:
            takes = did_you_mean(unknown[0], model.model_fields)
            raise AdakdError(f"{self.kind} {spec.name!r} takes no {unknown[0]!r}{takes}")
        try:
            checked = model(**spec.settings)
        except ValidationError as error:
            first = error.errors()[0]
            # without the type that an alternative of a field was tried as
            field = ".".join(str(part) for part in first["loc"] if "[" not in str(part))
            message = first["msg"].removeprefix("Value error, ")
            if first["type"] == "missing":
                message = "missing; add it"
            raise AdakdError(f"{self.kind} {spec.name!r}, {field}: {message}") from None
        return {key: getattr(checked, key) for key in model.model_fields}

    def build(self, spec: Spec) -> Any:
        """Build the component of `spec`: an instance, or a function with bound settings."""
        part, settings = self[spec.name], self.resolve(spec)
        if isinstance(part, type):
            return part(**settings)
        return partial(part, **settings) if settings else part


@cache
def _settings_model(part: Any, name: str) -> type[BaseModel]:
    parameters = inspect.signature(part).parameters.values()
    keywords = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    owner: Any = part
    if isinstance(part, type):
        owner = next(vars(of)["__init__"] for of in part.__mro__ if "__init__" in vars(of))
    wanted = inspect.get_annotations(owner)
    # Evaluate only the annotations of settings: others may be imported under TYPE_CHECKING only.
    hints = get_type_hints(
        type(name, (), {"__annotations__": {p.name: wanted.get(p.name, Any) for p in keywords}}),
        globalns=getattr(owner, "__globals__", {}),
        include_extras=True,
    )
    fields: dict[str, Any] = {
        p.name: (hints[p.name], ... if p.default is p.empty else p.default) for p in keywords
    }
    return create_model(name, __config__=ConfigDict(extra="forbid", strict=False), **fields)


def load_plugins(files: tuple[Path, ...] = ()) -> None:
    """Import every installed plug-in (entry-point group ``adakd.plugins``), then `files`.

    Raises:
        AdakdError: a file is missing or fails to import.
    """
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        entry_point.load()
    for file in files:
        try:
            path = file.resolve()
        except (OSError, RuntimeError, ValueError) as error:  # NUL in a name, a loop of links
            raise AdakdError(f"plug-in {str(file)!r}: {one_line(error)}") from None
        _import_file(path)


def plugin_module(path: Path) -> str:
    """Return the name under which a plug-in file is imported, given its resolved path."""
    return f"adakd_plugin_{path.stem}_{abs(hash(str(path)))}"


def _import_file(path: Path) -> None:
    name = plugin_module(path)
    if name in sys.modules:
        return
    if not path.is_file():
        raise AdakdError(f"plug-in {path}: no such file; fix `plugins:` in the file that names it")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise AdakdError(f"plug-in {path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        if isinstance(error, AdakdError):
            raise AdakdError(f"plug-in {path}: {error}") from error
        raise AdakdError(f"plug-in {path}: {type(error).__name__}: {error}") from error
