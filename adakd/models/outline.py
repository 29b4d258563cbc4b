"""Models without weights, on the meta device: their structure, to check settings against."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from adakd.config import Pretrained, Pruned, Scratch
from adakd.errors import AdakdError
from adakd.models import loading


def outline(base: Pretrained | Scratch, tokenizer: Any) -> PreTrainedModel | None:
    """Return a model without weights; None for adapters, whose structure is their base's.

    Raises:
        AdakdError: its configuration is invalid, or a file of its weights is damaged.
    """
    if isinstance(base, Scratch):
        with torch.device("meta"):
            return loading.scratch_model(base, tokenizer, seed=0)
    where, options = loading.location(base)
    _check_weights(Path(where))
    if Path(where, "adapter_config.json").exists():
        return None
    config = loading.loaded(lambda: AutoConfig.from_pretrained(where, **options), where)
    with torch.device("meta"):
        model: PreTrainedModel = loading.loaded(
            lambda: AutoModelForCausalLM.from_config(config),  # type: ignore[no-untyped-call]
            where,
        )
    return model


def pruned_outline(teacher: PreTrainedModel | None, base: Pruned) -> PreTrainedModel | None:
    """Return a pruned model without weights.

    Raises:
        AdakdError: the teacher has no such layer.
    """
    return None if teacher is None else loading.prune(teacher, base)


def _check_weights(folder: Path) -> None:
    """Read the headers of a folder's safetensors files.

    Raises:
        AdakdError: one of them is cut short or is something else.
    """
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise AdakdError(f"{file}: {error}; copy the model again") from None
