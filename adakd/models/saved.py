"""Saved models of a run: whether they can still be read."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from adakd.errors import one_line

CONFIGS = ("config.json", "adapter_config.json")
"""The configuration of a whole model, and that of adapters."""
TOKENIZER = "tokenizer.json"


def damage(folder: Path) -> str:
    """Return why a saved model cannot be read; empty if it can.

    Only the headers of the weights are read: they tell a file that is cut short.
    """
    try:
        if not folder.is_dir():
            return "there is none"
        configs = [folder / name for name in CONFIGS if (folder / name).exists()]
        weights = sorted(folder.glob("*.safetensors"))
        if not configs or not weights:
            return f"it has no {'configuration' if weights else 'weights'}"
        tokenizers = [folder / TOKENIZER] if (folder / TOKENIZER).exists() else []
        for file in (*configs, *tokenizers):
            json.loads(file.read_text(encoding="utf-8"))
        for file in weights:
            with safe_open(file, framework="pt"):
                pass
    except (OSError, ValueError, SafetensorError) as error:
        return one_line(error)
    return ""
