"""Parts of keys: hashes of everything that affects a result, and nothing else."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from adakd.adaptive import adaptive, focus, indicator, temperature
from adakd.bridges import bridge
from adakd.config import Pretrained, Pruned, Scratch, Source, Suite, Timing, Training
from adakd.config.hashing import digest, file_digest, files_below, files_digest
from adakd.data.files import is_local, local_file
from adakd.data.overlap import local_overlap
from adakd.divergences import divergence
from adakd.metrics import metric
from adakd.policies import policy
from adakd.registry import Registry, plugin_module

_TRAINING: tuple[Registry[Any], ...] = (
    divergence, policy, adaptive, focus, indicator, temperature, bridge,
)  # fmt: skip
"""The registries whose parts a training may use."""

_DEVICES = {"devices", "shard"}
"""Settings that say how devices share a training."""
_TEMPLATES = "additional_chat_templates"
_WEIGHTS = (".gguf", ".safetensors", ".bin", ".pt", ".pth", ".h5", ".msgpack")
_BESIDE = ("optimizer", "scheduler", "rng_state", "scaler", "training_args", "trainer_state")
"""Files of a training that no model is loaded from, by the start of their names."""
_TEXTS = (".md", ".png", ".jpg", ".log")


def timing_key(recipe: str, timing: Timing) -> str:
    """Return the key of an overhead measurement, by the recipe of the adaptive arm.

    So one serves all seeds, whichever was there first.
    """
    return digest("timing", recipe, timing)


def own_tasks(folder: Path | None) -> list[tuple[str, str]]:
    """Return names and hashes of all files in a suite's own folder of tasks."""
    return files_digest(files_below(folder), folder) if folder else []


def source_digest(source: Source, suite: Suite) -> str:
    """Return a hash of a source; for files, of their content, so that they may move."""
    file = None if source.kind == "generated" else local_file(source, suite)
    if file is None and source.kind == "hub" and (folder := Path(source.id)).is_dir():
        asked = source.model_dump(exclude={"id", "local"})
        return digest(asked, files_digest(files_below(folder), folder))
    if file is None:
        return digest(source)
    chosen = source.model_dump(include={"limit", "min_response_words", "columns"})
    return digest(file_digest(file), chosen)


def data_digest(suite: Suite) -> str:
    """Return a hash of the training data and its preprocessing."""
    settings = suite.data.model_dump(exclude={"train", "folder", "overlap"})
    return digest(settings, source_digest(suite.data.train, suite), *_left_out(suite))


def _left_out(suite: Suite) -> list[Any]:
    """Return what decides the rows that are left out as evaluation items; empty if none is.

    For data on the hub, unread here, the evaluation sets stand for these rows.
    """
    if suite.data.overlap == "keep":
        return []
    local = local_overlap(suite)
    unread = [
        source_digest(source, suite)
        for source in suite.evaluation.sets.values()
        if local is None or not is_local(source, suite)
    ]
    numbers = () if local is None else local.overlapping
    return [numbers, sorted(unread)] if numbers or unread else []


def model_digest(base: Pretrained | Scratch | Pruned) -> Any:
    """Return the identity of a base model; for a folder that of its files, so that it may move.

    Every file enters by its whole content: weights, configuration, tokenizer, adapters and the
    folder that adapters were trained on. Optimizer states and texts about the model do not.
    """
    if not isinstance(base, Pretrained) or not Path(base.model).is_dir():
        return base
    return base.gguf_file, _folder_digest(Path(base.model), base.gguf_file, ())


def _folder_digest(folder: Path, gguf_file: str | None, inside: tuple[Path, ...]) -> Any:
    """Return the hashes of a model's files; `inside` are the folders of adapters on top of it."""
    files = {file for file in folder.iterdir() if file.is_file() and not _beside(file)}
    files |= {file for file in (folder / _TEMPLATES).glob("*") if file.is_file()}
    if gguf_file is not None:  # the weights of the folder's other files are not read
        files = {file for file in files if file.suffix not in _WEIGHTS}
        files |= {file for file in (folder / gguf_file,) if file.is_file()}
    found = files_digest(files, folder)
    base = adapted(folder)
    if base is None or base.resolve() in inside:
        return found
    return found, _folder_digest(base, None, (*inside, folder.resolve()))


def _beside(file: Path) -> bool:
    return file.name.startswith((".", *_BESIDE)) or file.suffix in _TEXTS


def adapted(folder: Path) -> Path | None:
    """Return the folder of the model that the adapters of a folder were trained on, if any."""
    try:
        settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        base = Path(settings["base_model_name_or_path"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return base if base.is_dir() else None


def suite_digest(suite: Suite) -> str:
    """Return the hash of a suite's settings, but for the devices that share a training."""
    shared: Any = {"training": _DEVICES, "teacher": {"sft": _DEVICES}}
    return digest(suite.model_dump(mode="json", exclude=shared))


def deciding(training: Training) -> dict[str, Any]:
    """Return the settings of a training that affect its result."""
    return training.model_dump(exclude={*_DEVICES, "save_every", "report_to"})


def plugin_digests(files: Iterable[Path], of_metrics: bool) -> list[str]:
    """Return the hashes of the imported plug-in files that decide metrics, or else trainings.

    A file that registers parts of one of the two alone does not decide the other: a metric that is
    added to a finished run trains nothing again. A file that registers neither may be a helper of
    any other, and decides both.
    """
    found = []
    for file in files:
        module = plugin_module(file.resolve())
        measures = metric.has_part_of(module)
        trains = any(registry.has_part_of(module) for registry in _TRAINING)
        if (measures or not trains) if of_metrics else (trains or not measures):
            found.append(file_digest(file))
    return found
