"""Locate the shipped folders (suites, judges, templates), installed or in a checkout."""

from pathlib import Path

from adakd.errors import UnknownName, did_you_mean

_PACKAGE = Path(__file__).resolve().parents[1]
_PACKAGED = _PACKAGE / "_data"
ROOT = _PACKAGED if _PACKAGED.is_dir() else _PACKAGE.parent
"""The folder that holds ``suites/``, ``judges/`` and ``templates/``."""


PUBLISHED = ROOT / "suites" / "paper" / "tables.json"
"""The scores reported by the AdaKD paper."""


def benchmarks() -> Path:
    """Return the folder of the benchmarks, which is among the tests in a checkout."""
    return ROOT / "bench" if ROOT == _PACKAGED else ROOT / "tests" / "bench"


def shipped(kind: str) -> dict[str, Path]:
    """Return the shipped YAML files of a kind (``suites`` or ``judges``) by name."""
    folder = ROOT / kind
    files = sorted(folder.rglob("*.yaml"))
    return {file.relative_to(folder).with_suffix("").as_posix(): file for file in files}


def find(kind: str, name: str) -> Path:
    """Return the file for `name`: a path if it ends in .yaml or .yml, else a shipped name.

    Raises:
        UnknownName: neither a file nor a shipped name; the closest name is suggested.
    """
    path = Path(name)
    if path.suffix in {".yaml", ".yml"}:
        if not path.is_file():
            raise UnknownName(f"{path}: no such file")
        return path
    known = shipped(kind)
    if name not in known:
        single = kind.removesuffix("s")
        raise UnknownName(f"there is no shipped {single} {name!r}{did_you_mean(name, known)}")
    return known[name]
