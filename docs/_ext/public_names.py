"""The build fails where a public name is missing from the API page."""

from collections import defaultdict
from importlib import import_module
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError

PACKAGES = (
    "adakd",
    "adakd.adaptive",
    "adakd.divergences",
    "adakd.judging",
    "adakd.metrics",
    "adakd.policies",
)
"""Packages that others build on: all that their `__all__` names is public."""


def check(app: Sphinx, env: BuildEnvironment) -> None:
    """Compare the documented names with the public ones.

    Raises:
        ExtensionError: a public name is not documented.
    """
    documented = {name for name, *_ in env.get_domain("py").get_objects()}
    names = [f"{package}.{n}" for package in PACKAGES for n in import_module(package).__all__]
    of_object: dict[int, list[str]] = defaultdict(list)
    for name in names:
        of_object[id(_object(name))].append(name)
    # One of the names of a thing is enough: adakd.Policy is adakd.policies.Policy.
    missing = [same[0] for same in of_object.values() if not documented.intersection(same)]
    if missing:
        raise ExtensionError(f"docs/api.md documents no {', '.join(missing)}: add them there")


def _object(name: str) -> Any:
    package, _, own = name.rpartition(".")
    return getattr(import_module(package), own)


def setup(app: Sphinx) -> dict[str, Any]:
    """Check once all pages are read."""
    app.connect("env-check-consistency", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
