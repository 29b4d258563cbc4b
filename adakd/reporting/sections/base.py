"""Sections of the report: a builder of the view, and the template that lays the view out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar, cast

from adakd.reporting.index import Index, index
from adakd.reporting.verdicts import Verdicts, verdicts
from adakd.store import Store

T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    """The records of a run, from which sections build their views."""

    store: Store
    index: Index
    _built: dict[Callable[..., Any], Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, store: Store) -> "Context":
        """Return the context of the records of `store`."""
        return cls(store, index(store))

    @cached_property
    def verdicts(self) -> Verdicts:
        """The verdicts of all judges, by comparison."""
        return verdicts(self.store, self.index)

    def once(self, build: Callable[["Context"], T]) -> T:
        """Return what `build` makes of this context; sections share it, so it is made once."""
        if build not in self._built:
            self._built[build] = build(self)
        return cast(T, self._built[build])


@dataclass(frozen=True)
class Section:
    """A section of the page, or a part of one."""

    id: str
    """Its anchor on the page, its key in ``report.json``; the stem of module, template and test."""
    title: str
    """The name in the navigation and the heading."""
    build: Callable[[Context], object | None]
    """Makes the view, all that the template shows; None where the page lacks the section."""
    template: str
    parts: tuple["Section", ...] = ()
    """Sections within this one; they are not in the navigation."""
    style: str | None = None
    """The template of CSS rules that depend on the view."""
    has_figures: bool = True
    """Whether the view is part of ``report.json``."""


@dataclass(frozen=True)
class Shown:
    """A section of one page, with its view."""

    section: Section
    view: object
    parts: tuple["Shown", ...]


def shown(sections: tuple[Section, ...], context: Context) -> tuple[Shown, ...]:
    """Build the views of all sections that the page has."""
    views = ((section, section.build(context)) for section in sections)
    return tuple(
        Shown(section, view, shown(section.parts, context))
        for section, view in views
        if view is not None
    )
