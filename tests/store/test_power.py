"""The simulated power cuts of `tests/bench/kills.py`: what was synced stays, the rest may go."""

import os
import random
from pathlib import Path

import pytest
from power import LOSSES, Disk

from adakd.store.disk import sync, sync_tree


def after_cut(folder: Path, memory: Path, losses: str, seed: int) -> dict[str, str]:
    """Write with and without syncs, cut the power, and return what the files then hold."""
    folder.mkdir()
    memory.mkdir()
    for name in ("lines", "replaced", "over"):
        (folder / name).write_text("before\n")
    disk = Disk(folder, memory)
    disk.watch()
    (folder / "safe").mkdir()
    (folder / "safe/file").write_text("all of it")
    sync_tree(folder)
    with (folder / "lines").open("a") as lines:
        lines.write("one, two, three\n")
    (folder / "draft").write_text("renamed")
    os.replace(folder / "draft", folder / "replaced")
    (folder / "over").write_text("written over")
    (folder / "synced").write_text("without its name")
    sync(folder / "synced")
    (folder / "safe/file").unlink()
    disk.cut(random.Random(seed), losses)
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in files}


@pytest.mark.parametrize("losses", LOSSES)
def test_a_cut_loses_what_was_not_synced_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, losses: str
) -> None:
    monkeypatch.setattr(os, "fsync", os.fsync)  # restored in the end
    kept = {"lines": "before\n", "over": "before\n", "safe/file": "all of it"}
    new = {"replaced": "", "synced": "without its name"}
    seen: dict[str, set[str]] = {}
    for seed in range(40):
        found = after_cut(tmp_path / f"{seed}", tmp_path / f"{seed}-memory", losses, seed)
        for name, text in found.items():
            seen.setdefault(name, set()).add(text)
        assert found["lines"].startswith("before\n")
        if losses == "all":
            assert found == {**kept, "replaced": "before\n"}
        elif losses == "contents":
            assert found == {"lines": "before\n", "over": "before\n", **new}
    if losses == "some":
        assert {"before\n", "before\none, two, three\n"} < seen["lines"]
        assert any(text.endswith("\0") for text in seen["lines"])
        assert {"before\n", "renamed", ""} <= seen["replaced"]
        assert {"safe/file", "synced"} <= {*seen}
