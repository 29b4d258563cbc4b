"""What others may build on is named, importable and explained."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import adakd

MODULES = sorted(m.name for m in pkgutil.walk_packages(adakd.__path__, "adakd."))
NEEDS = {
    "adakd.losses.triton_kernels": "triton",
    "adakd.execution.ray": "ray",
    "adakd.execution.ray_worker": "ray",
}


def documentation(thing: Any) -> str:
    """Its own docstring: an inherited one explains something else."""
    return (vars(thing).get("__doc__") if isinstance(thing, type) else thing.__doc__) or ""


def public_parts(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Yield the public functions and classes made in a module, and public methods of these."""
    for name, thing in vars(module).items():
        made_here = getattr(thing, "__module__", None) == module.__name__
        if name.startswith("_") or not made_here or not (
            inspect.isclass(thing) or inspect.isfunction(thing)
        ):  # fmt: skip
            continue
        yield name, thing
        for method, function in vars(thing).items() if inspect.isclass(thing) else ():
            function = getattr(function, "fget", None) or getattr(function, "__func__", function)
            if inspect.isfunction(function) and not method.startswith("_"):
                yield f"{name}.{method}", function


def test_every_module_is_found() -> None:
    assert {"adakd.cli", "adakd.divergences.kl", "adakd.training.trainer"} <= set(MODULES)


@pytest.mark.parametrize("name", adakd.__all__)
def test_every_public_name_is_there_and_explained(name: str) -> None:
    thing = getattr(adakd, name)
    assert len((inspect.getdoc(thing) or "").split()) >= 3


def test_public_names_are_sorted_and_none_is_left_out() -> None:
    assert list(adakd.__all__) == sorted(adakd.__all__)
    assert set(adakd.__all__) == set(adakd._HOME_OF)
    with pytest.raises(AttributeError, match="'nothing'"):
        _ = adakd.nothing


@pytest.mark.parametrize("module", MODULES)
def test_every_public_part_has_a_docstring(module: str) -> None:
    if module in NEEDS:  # packages that not every installation has
        pytest.importorskip(NEEDS[module])
    loaded = importlib.import_module(module)
    assert documentation(loaded)
    parts = public_parts(loaded)
    assert not [name for name, part in parts if not documentation(part)]


@pytest.mark.parametrize(
    "package",
    ["", ".adaptive", ".divergences", ".judging", ".metrics", ".policies", ".stats"],
)
def test_a_package_exports_what_it_says(package: str) -> None:
    module = importlib.import_module(f"adakd{package}")
    for name in module.__all__:
        assert hasattr(module, name), name
    assert len(set(module.__all__)) == len(module.__all__)


@pytest.mark.parametrize(
    "name", ["load_suite", "plan", "run", "judge", "write_report", "divergence", "metric"]
)
def test_what_needs_no_model_waits_for_none(name: str) -> None:
    code = (
        f"import sys, adakd; adakd.{name}; print({{'torch', 'lm_eval', 'nltk'}} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "adakd", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Usage: python -m adakd" in done.stdout
