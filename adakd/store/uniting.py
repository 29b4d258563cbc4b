"""One suite of several: what runs must share, and what is united. Needs no torch.

Runs of one suite may differ in what they compare and on what: seeds, divergences, arms, students
trained elsewhere, sets, tasks, metrics, sampling seeds and judges are united. Places of files may
differ, since keys hash their content. All else must be equal.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from adakd.config import Baseline, Suite
from adakd.errors import AdakdError

_FREE = re.compile(
    r"name|description|data\.folder|plugins\.\d+|evaluation\.include_path"
    r"|(data\.train|evaluation\.sets\..+)\.(path|local)|(teacher\.base|student)\.model"
    r"|(training|teacher\.sft)\.(devices|shard|save_every|report_to(\.\d+)?)"
)
"""Fields that decide no result, or name a place: the keys tell whether its content is the same."""
_LISTS = ("seeds", "evaluation.sampling.seeds", "judges", "paper", "ours", "plugins")
_NAMED: Mapping[str, Callable[[Any], str]] = {
    "divergences": lambda one: str(Baseline.model_validate(one)),
    "students": lambda one: f"{one['name']} {one['seed']}",
    "evaluation.metrics": lambda one: str(one["name"]),
    "evaluation.choices": lambda one: str(one["set"]),
    "evaluation.tasks": lambda one: str(one["name"]),
}
"""Lists whose entries have a name: entries of one name must be equal."""
_MAPPINGS = ("arms", "evaluation.sets")
_SWITCHES = ("controls.sft", "controls.longer", "controls.check", "timing.pairs")
"""Fields that are off in some runs: the others' value holds."""
ALLOWED = (
    "seeds, divergences, arms, students, sets, choices, tasks, metrics, sampling seeds and judges"
)
"""What runs of one suite may differ in, in words."""


def united(suites: Sequence[tuple[str, Suite]]) -> Suite:
    """Return the suite of several runs.

    Args:
        suites: each with the name of its run.

    Raises:
        AdakdError: a field that decides results is not the same in all.
    """
    (first, suite), *others = suites
    content = suite.model_dump(mode="json")
    for name, other in others:
        _unite(content, other.model_dump(mode="json"), (first, name))
    return Suite.model_validate(content)


def settings(content: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the fields of settings by dotted path; rows of divergences by their label."""
    if path in _NAMED and isinstance(content, list):
        content = {_NAMED[path](one): one for one in content}
    inner = (
        content.items()
        if isinstance(content, dict)
        else ((str(number), one) for number, one in enumerate(content))
        if isinstance(content, list) and any(isinstance(one, dict) for one in content)
        else None
    )
    if inner is None or not content:
        yield path, content
        return
    for name, value in inner:
        yield from settings(value, f"{path}.{name}".lstrip("."))


def _unite(ours: dict[str, Any], theirs: dict[str, Any], names: tuple[str, str]) -> None:
    """Add what `theirs` has to `ours`."""
    for path in _LISTS:
        node, field = _place(ours, path)
        added = _value(theirs, path)
        node[field] = [*node[field], *(one for one in added if one not in node[field])]
    for path in _MAPPINGS:
        node, field = _place(ours, path)
        node[field] = _entries(node[field], _value(theirs, path), path, names)
    for path, name_of in _NAMED.items():
        if _value(ours, path) is None:
            continue
        node, field = _place(ours, path)
        mine, other = (
            {name_of(one): one for one in of} for of in (node[field], _value(theirs, path))
        )
        node[field] = [*_entries(mine, other, path, names).values()]
    for path in _SWITCHES:
        node, field = _place(ours, path)
        node[field] = node[field] or _value(theirs, path)
    handled = (*_LISTS, *_MAPPINGS, *_NAMED)
    of_switches = {path for path in _SWITCHES if not _value(theirs, path)}
    known, other = dict(settings(ours)), dict(settings(theirs))
    for path in {**known, **other}:
        if path.startswith(tuple(f"{one}." for one in handled)) or path in (*handled, *of_switches):
            continue
        _check_equal(path, known.get(path), other.get(path), names)


def _entries(
    ours: dict[str, Any], theirs: dict[str, Any], path: str, names: tuple[str, str]
) -> dict[str, Any]:
    """Return the named entries of both; the arms of a divergence are united too."""
    found = dict(ours)
    for name, entry in theirs.items():
        before = found.setdefault(name, entry)
        if path == "divergences" and before != entry:
            arms = before["arms"], entry["arms"]
            both = None if None in arms else [*dict.fromkeys((*arms[0], *arms[1]))]
            before, entry = ({**one, "arms": both} for one in (before, entry))
            found[name] = before
        mine, other = (dict(settings(one, f"{path}.{name}")) for one in (before, entry))
        for field in {**mine, **other}:
            _check_equal(field, mine.get(field), other.get(field), names)
    return found


def _check_equal(path: str, ours: Any, theirs: Any, names: tuple[str, str]) -> None:
    if ours == theirs or _FREE.fullmatch(path):
        return
    raise AdakdError(
        f"these are runs of different suites: {path} is {ours!r} in {names[0]} and {theirs!r} in "
        f"{names[1]}; merge runs that differ in {ALLOWED} alone"
    )


def _place(content: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    *parents, field = path.split(".")
    for parent in parents:
        content = content[parent]
    return content, field


def _value(content: dict[str, Any], path: str) -> Any:
    node, field = _place(content, path)
    return node.get(field)
