"""The layers of docs/architecture: who may import whom, read from the source of every module."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "adakd"
MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for file in PACKAGE.rglob("*.py")
}
LAYERS = """
    __main__
    cli
    __init__
    commands
    execution
    reporting
    judging
    training evaluation benchmarks
    models
    losses stats
    store
    planning
    bridges adaptive policies metrics
    divergences data
    config
    registry
    progress
    console errors interrupts
"""
"""The top first: each line may import those below it, and nobody beside it."""
HEIGHT = {name: -number for number, line in enumerate(LAYERS.split("\n")) for name in line.split()}
NEVER = {"stats": {"store"}, "reporting": {"torch"}}
"""Statistics are of plain numbers, and a report is made where there is no torch."""
TWICE = {
    "__init__": "every package",
    "__main__": "the command line",
    "base": "protocol and registry of a package",
    "loading": "files and what is made of them",
    "provenance": "its records and its section",
    "overhead": "its measurement and its section",
    "diagnostics": "their formulas, their recording in a training and their section",
    "benchmarks": "their results and their section",
    "ranking": "its statistics and its part of the report",
    "vetting": "of a judge, and its part of the report",
    "agreement": "of judges, and its part of the report",
    "judge": "its settings and its verb",
}
"""Stems that several packages have, for the same thing seen from several layers."""


def imports(file: Path) -> Iterator[str]:
    """Yield what a module imports, wherever it does so; names are completed to modules."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            full = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in MODULES else str(node.module) for name in full)


def layer(module: str) -> str:
    return [*module.split("."), "__init__"][1]


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_downwards(module: str) -> None:
    mine = layer(module)
    for name in imports(MODULES[module]):
        theirs = layer(name) if name.partition(".")[0] == "adakd" else None
        assert (theirs or name.partition(".")[0]) not in NEVER.get(mine, ()), name
        if theirs is not None and theirs != mine:
            assert HEIGHT[theirs] < HEIGHT[mine], f"{module} imports {name}, which is not below it"


def test_no_circle() -> None:
    graph = {
        module: {name for name in imports(file) if name in MODULES and name != module}
        for module, file in MODULES.items()
        if file.name != "__init__.py"  # a face only hands names on
    }
    assert {*TopologicalSorter(graph).static_order()} >= {*graph}  # raises CycleError


def test_few_modules_stand_beside_the_packages() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 8


def test_a_stem_means_one_thing() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for module, file in MODULES.items():
        places[file.stem].append(module)
    assert not {stem: of for stem, of in places.items() if len(of) > 1 and stem not in TWICE}


def test_tests_mirror_the_packages() -> None:
    packages = {file.parent.relative_to(PACKAGE) for file in PACKAGE.rglob("*.py")}
    apart = {Path("golden"), Path("bench"), Path("plugin"), Path("plugin/adakd_tiny_plugin")}
    apart.add(Path("gpu"))
    tests = {file.parent.relative_to(ROOT / "tests") for file in (ROOT / "tests").rglob("*.py")}
    assert tests - apart <= packages
