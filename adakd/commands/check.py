"""Run the laws of a part: for `adakd check`."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from adakd.bridges import bridge
from adakd.console import shown
from adakd.divergences import divergence
from adakd.errors import AdakdError
from adakd.registry import Registry, Spec, load_plugins

if TYPE_CHECKING:
    from adakd.losses.laws import LawResult


def check_divergence(name_or_file: str) -> "dict[str, list[LawResult]]":
    """Run the laws of a divergence on a registered name, or on all that a plug-in file registers.

    Args:
        name_or_file: ``reverse_kl``, or ``./my_divergence.py``.

    Returns:
        The result of every law by the divergence's name, at its default settings.

    Raises:
        AdakdError: an unknown name, or a file that fails to import or registers no divergence.
    """
    built = {name: divergence.build(Spec(name=name)) for name in _names(name_or_file, divergence)}

    from adakd.losses.laws import check_divergence as run_laws  # torch, once all names are known

    return {name: run_laws(one) for name, one in built.items()}


def check_bridge(name_or_file: str) -> "dict[str, list[LawResult]]":
    """Run the laws of a bridge, as :func:`check_divergence` runs those of a divergence.

    Args:
        name_or_file: ``overlap``, or ``./my_bridge.py``.

    Raises:
        AdakdError: an unknown name, or a file that fails to import or registers no bridge.
    """
    specs = [Spec(name=name) for name in _names(name_or_file, bridge)]
    for spec in specs:
        bridge.resolve(spec)

    from adakd.losses.bridge_laws import check_bridge as run_laws

    return {spec.name: run_laws(partial(bridge.build, spec)) for spec in specs}


def _names(name_or_file: str, registry: Registry[Any]) -> list[str]:
    """Return a name, or those of all parts that a plug-in file registers."""
    load_plugins()
    if not name_or_file.endswith(".py"):
        return [name_or_file]
    before = set(registry)
    load_plugins((Path(name_or_file),))
    added = [name for name in registry if name not in before]
    if not added:
        kind = registry.kind
        form = "class" if kind == "bridge" else "function"
        raise AdakdError(
            f'{name_or_file}: registers no {kind}; decorate a {form} with @{kind}("name")'
        )
    return added


def law_lines(results: "Mapping[str, Sequence[LawResult]]") -> Iterator[Text]:
    """Yield the results for the terminal: a part, then a line for each law."""
    for name, laws in results.items():
        yield shown(name, "bold")
        for law in laws:
            mark = shown("  holds ", "green") if law.ok else shown("  broken", "red")
            yield Text.assemble(mark, shown(f"  {law.name}  "), shown(law.detail, "dim"))
