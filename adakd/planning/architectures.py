"""Sizes of models before any weight is read, without torch: for estimates of a plan.

From the configuration of a model from scratch, the files of a local folder or of the hub's cache;
else from the size in the model's name, ``135M`` or ``1.5B``.
"""

import json
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

from adakd.config import Pretrained, Pruned, Scratch
from adakd.planning.keys import adapted

_IN_NAME = re.compile(r"(?<![\dA-Za-z.])(\d+(?:\.\d+)?)(b|m)(?![A-Za-z\d])", re.IGNORECASE)
_UNITS = {"b": 10**9, "m": 10**6}
_GPT2 = {"gpt2": 124, "gpt2-medium": 355, "gpt2-large": 774, "gpt2-xl": 1558}
"""Millions of parameters of models whose names do not have them."""
_NAMES = {
    "width": ("hidden_size", "n_embd", "d_model", "dim"),
    "layers": ("num_hidden_layers", "n_layer", "num_layers", "n_layers"),
    "inner": ("intermediate_size", "n_inner", "ffn_dim"),
    "heads": ("num_attention_heads", "n_head", "n_heads"),
    "vocabulary": ("vocab_size",),
    "positions": ("n_positions", "max_position_embeddings"),
}
"""What architectures call a field of their configuration."""
_OLD = ("gpt2", "opt", "gpt_neo", "gpt_bigcode")
"""Model types with two matrices in an MLP, position embeddings, biases and tied embeddings."""
ASPECT = 128
"""Width over layers of a usual model, where only its number of parameters is known."""


@dataclass(frozen=True)
class Architecture:
    """The size of a model; exact but for models of which only the name is known."""

    parameters: int
    width: int
    """Dimensions of a hidden state."""
    layers: int
    embeddings: int = 0
    """Parameters of embeddings and LM head; 0 where they are not known apart."""
    is_exact: bool = True

    def without(self, layers: int) -> "Architecture":
        """Return the model with so many layers less."""
        share = layers / self.layers
        less = round((self.parameters - self.embeddings) * share)
        return replace(self, parameters=self.parameters - less, layers=self.layers - layers)

    def adapters(self, r: int, matrices: int | None) -> int:
        """Return the parameters of LoRA adapters of rank `r` on so many matrices of a layer.

        All matrices are taken for square ones of the model's width; None is all of a layer, whose
        MLP is about four times as wide.
        """
        sides = 2 * self.width * matrices if matrices is not None else 23 * self.width
        return self.layers * r * sides


def architecture(
    base: Pretrained | Scratch | Pruned,
    teacher: Pretrained | Scratch,
    vocabulary: int | None = None,
) -> Architecture | None:
    """Return the size of a model; None where nothing tells it.

    Args:
        base: the model.
        teacher: the model that a pruned one is a copy of.
        vocabulary: entries of the tokenizer of a model from scratch; what its settings ask for if
            not given, which takes enough text.
    """
    if isinstance(base, Pruned):
        whole = architecture(teacher, teacher, vocabulary)
        return whole and whole.without(len(base.drop_layers))
    if isinstance(base, Scratch):
        return _of_config({"vocab_size": vocabulary or base.vocabulary} | base.config)
    folder = _folder(base)
    if folder is not None:
        folder = adapted(folder) or folder
        found = _of_config(_config(folder))
        counted = sum(map(_count, folder.glob("*.safetensors"))) if not base.gguf_file else 0
        if found and counted:
            return replace(found, parameters=counted)
        if found:
            return found
    count = named(base.gguf_file or base.model)
    return None if count is None else _usual(count)


def named(model: str) -> int | None:
    """Return the number of parameters in the name of a model, if it has one."""
    name = Path(model).name
    if name in _GPT2:
        return _GPT2[name] * 10**6
    found = _IN_NAME.search(name)
    return None if found is None else round(float(found[1]) * _UNITS[found[2].lower()])


def tokenizer_file(base: Pretrained | Scratch) -> Path | None:
    """Return the ``tokenizer.json`` of a model where it is on this machine."""
    folder = _folder(base) if isinstance(base, Pretrained) else None
    file = folder / "tokenizer.json" if folder else None
    return file if file and file.is_file() else None


def _folder(base: Pretrained) -> Path | None:
    """Return the folder of a model: a local one, or its snapshot in the hub's cache."""
    if Path(base.model).is_dir():
        return Path(base.model)
    from huggingface_hub import try_to_load_from_cache  # late: most plans need no hub

    try:
        found = try_to_load_from_cache(base.model, "config.json", revision=base.revision)
    except ValueError:  # no name that the hub could have
        return None
    return Path(found).parent if isinstance(found, str) else None


def _config(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _of_config(config: Mapping[str, Any]) -> Architecture | None:
    """Return the size that a configuration gives; None where it leaves the width to a default."""
    inner: Any = config.get("text_config")
    config = inner if isinstance(inner, dict) else config
    found = {what: next(_values(config, names), None) for what, names in _NAMES.items()}
    width, layers, vocabulary = found["width"], found["layers"], found["vocabulary"]
    if width is None or layers is None or vocabulary is None:
        return None
    heads = found["heads"] or max(width // 64, 1)
    size = _number(config.get("head_dim")) or width // heads
    keys = size * (_number(config.get("num_key_value_heads")) or heads)
    queries = size * heads
    is_old = config.get("model_type") in _OLD
    mlp = (2 if is_old else 3) * width * (found["inner"] or 4 * width)
    layer = 2 * width * (queries + keys) + mlp + 2 * width
    is_tied = bool(config.get("tie_word_embeddings", is_old))
    embeddings = width * vocabulary * (1 if is_tied else 2)
    if is_old:
        embeddings += width * (found["positions"] or 0)
        layer += 2 * width + 4 * width + 5 * width
    return Architecture(embeddings + layers * layer + width, width, layers, embeddings)


def _values(config: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[int]:
    for name in names:
        if number := _number(config.get(name)):
            yield number


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _count(file: Path) -> int:
    """Return the number of parameters in a file of safetensors, by its header."""
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length))
        shapes = [one["shape"] for name, one in header.items() if name != "__metadata__"]
        return sum(map(prod, shapes))
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return 0


def _usual(parameters: int) -> Architecture:
    """Return a usual shape of so many parameters: 12 width^2 a layer."""
    width = (ASPECT * parameters / 12) ** (1 / 3)
    return Architecture(parameters, round(width), max(1, round(width / ASPECT)), is_exact=False)
