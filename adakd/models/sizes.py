"""Numbers of parameters, known before any weight is read."""

import re
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from adakd.config import Pretrained, Pruned, Scratch
from adakd.models.loading import prune
from adakd.models.outline import outline

_IN_NAME = re.compile(r"(?<![\dA-Za-z.])(\d+(?:\.\d+)?)(b|m)(?![A-Za-z\d])", re.IGNORECASE)
"""A size such as ``135M`` in the name of a model."""
_UNITS = {"b": 10**9, "m": 10**6}


def parameters(base: Pretrained | Scratch | Pruned, teacher: Pretrained | Scratch) -> int | None:
    """Return the number of parameters of a model; None where nothing local tells it.

    Counted from the structure for a model from scratch, in a local folder, or pruned from one of
    these. Otherwise the size in the name of the model, ``135M`` or ``1.5B``; a model pruned from
    such a one counts as the whole.

    Args:
        base: the model.
        teacher: the model that a pruned one is a copy of.

    Raises:
        AdakdError: a configuration is invalid, or a pruned layer does not exist.
    """
    whole = teacher if isinstance(base, Pruned) else base
    if isinstance(whole, Scratch):
        config = AutoConfig.for_model(**{"vocab_size": whole.vocabulary} | whole.config)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    elif Path(whole.model).is_dir() and whole.gguf_file is None:
        model = outline(whole, None)
    else:
        model = None
    if model is None:
        return None if isinstance(whole, Scratch) else _named(whole.gguf_file or whole.model)
    if isinstance(base, Pruned):
        model = prune(model, base)
    return int(model.num_parameters())


def _named(model: str) -> int | None:
    found = _IN_NAME.search(Path(model).name)
    return None if found is None else round(float(found[1]) * _UNITS[found[2].lower()])
