"""The files of a finished model, compared with their hashes in the record of its training."""

from collections.abc import Mapping
from pathlib import Path

from adakd.config.hashing import content_digest
from adakd.errors import AdakdError
from adakd.planning import Cell


def file_hashes(folder: Path) -> dict[str, str]:
    """Return the hash of each file of a saved model, by its name."""
    return {file.name: content_digest(file) for file in sorted(folder.iterdir())}


def check_files(cell: Cell, folder: Path, known: Mapping[str, str]) -> None:
    """Check that the files of a finished model are those that its training saved.

    Raises:
        AdakdError: one is not.
    """
    for name, expected in known.items():
        file = folder / name
        try:
            reason = "" if content_digest(file) == expected else "its content has changed"
        except OSError as error:
            reason = str(error.strerror)
        if reason:
            raise AdakdError(
                f"{file}: {reason} since the training of {cell} saved it, so results would not be "
                "those of one model; restore it from a copy; or, to train it again, remove the "
                f'line with "kind":"training" and "key":"{cell.key}" from results.jsonl; or '
                "choose another --out folder"
            )
