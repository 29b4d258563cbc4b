"""The laws, run on what a user names: for `adakd check`."""

from pathlib import Path

from adakd.divergences import divergence
from adakd.errors import AdakdError
from adakd.losses.laws import LawResult
from adakd.losses.laws import check_divergence as run_laws
from adakd.registry import Spec, load_plugins


def check_divergence(name_or_file: str) -> dict[str, list[LawResult]]:
    """Run the laws of a divergence on a registered name, or on all that a plug-in file registers.

    Args:
        name_or_file: ``reverse_kl``, or ``./my_divergence.py``.

    Returns:
        The verdict on every law, by the divergence's name, at its default settings.

    Raises:
        AdakdError: an unknown name, a file that fails to import or that registers nothing.
    """
    load_plugins()
    if not name_or_file.endswith(".py"):
        return {name_or_file: run_laws(divergence.build(Spec(name=name_or_file)))}
    before = set(divergence)
    load_plugins((Path(name_or_file),))
    added = [name for name in divergence if name not in before]
    if not added:
        raise AdakdError(
            f'{name_or_file}: registers no divergence; decorate a function with @divergence("name")'
        )
    return {name: run_laws(divergence.build(Spec(name=name))) for name in added}
