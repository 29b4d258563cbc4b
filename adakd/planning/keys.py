"""Parts of keys: hashes of everything that affects a result, and nothing else."""

import hashlib
from pathlib import Path
from typing import Any

from adakd.config import Pretrained, Pruned, Scratch, Source, Suite, Timing, Training
from adakd.config.hashing import digest, file_digest
from adakd.data.files import local_file
from adakd.planning.cells import Cell


def timing_key(adaptive: Cell, timing: Timing) -> str:
    """Return the key of the overhead measurement of an adaptive cell against its plain twin."""
    return digest("timing", adaptive.key, timing)


def own_tasks(folder: Path | None) -> list[str]:
    """Return the hashes of the task files of a suite's own folder."""
    files = sorted(folder.rglob("*")) if folder else []
    return [file_digest(file) for file in files if file.suffix in {".yaml", ".py", ".jsonl"}]


def source_digest(source: Source, suite: Suite) -> str:
    """Return a hash of a source; for a file, of its content, so that the file may move."""
    file = None if source.kind == "generated" else local_file(source, suite)
    if file is None:
        return digest(source)
    chosen = source.model_dump(include={"limit", "min_response_words"})
    return digest(file_digest(file), chosen)


def data_digest(suite: Suite) -> str:
    """Return a hash of the training data and its preprocessing."""
    settings = suite.data.model_dump(exclude={"train", "folder"})
    return digest(settings, source_digest(suite.data.train, suite))


def model_digest(base: Pretrained | Scratch | Pruned) -> Any:
    """Return the identity of a base model; for a folder that of its files, so that it may move."""
    if not isinstance(base, Pretrained) or not (folder := Path(base.model)).is_dir():
        return base
    files = sorted(file for file in folder.iterdir() if file.is_file())
    return base.gguf_file, [(f.name, f.stat().st_size, _first_bytes(f)) for f in files]


def _first_bytes(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.sha256(stream.read(1 << 20)).hexdigest()


def deciding(training: Training) -> dict[str, Any]:
    """Return the settings of a training that affect its result."""
    left_out = {"save_every", "report_to"}
    if training.kernels == "torch":  # so runs stored before the setting existed keep their keys
        left_out.add("kernels")
    return training.model_dump(exclude=left_out)
