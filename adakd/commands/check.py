"""Run the laws of a part: for `adakd check`."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from adakd.console import shown
from adakd.divergences import divergence
from adakd.errors import AdakdError
from adakd.registry import Spec, load_plugins

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
    load_plugins()
    if not name_or_file.endswith(".py"):
        return _laws_of([name_or_file])
    before = set(divergence)
    load_plugins((Path(name_or_file),))
    added = [name for name in divergence if name not in before]
    if not added:
        raise AdakdError(
            f'{name_or_file}: registers no divergence; decorate a function with @divergence("name")'
        )
    return _laws_of(added)


def _laws_of(names: Sequence[str]) -> "dict[str, list[LawResult]]":
    built = {name: divergence.build(Spec(name=name)) for name in names}

    from adakd.losses.laws import check_divergence as run_laws  # torch, once all names are known

    return {name: run_laws(one) for name, one in built.items()}


def law_lines(results: "Mapping[str, Sequence[LawResult]]") -> Iterator[Text]:
    """Yield the results for the terminal: a divergence, then a line for each law."""
    for divergence_name, laws in results.items():
        yield shown(divergence_name, "bold")
        for law in laws:
            mark = shown("  holds ", "green") if law.ok else shown("  broken", "red")
            yield Text.assemble(mark, shown(f"  {law.name}  "), shown(law.detail, "dim"))
