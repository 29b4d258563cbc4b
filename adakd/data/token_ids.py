"""Token ids of prompts and responses, the same for training and evaluation. Needs no torch."""

from collections.abc import Sequence
from typing import Any

_PROBE = "a"
"""A text that any tokenizer encodes, to see which special tokens it adds around one."""


def prompt_ids(prompts: Sequence[str], tokenizer: Any) -> list[list[int]]:
    """Return the token ids of prompts, which a response can follow.

    They begin as the tokenizer begins every text (with its BOS token, if any), but not twice where
    a chat template wrote that already. An end token that the tokenizer appends is left out.
    """
    opening = _opening(tokenizer)
    return [
        ids if ids[: len(opening)] == opening else [*opening, *ids]
        for ids in _bare(prompts, tokenizer)
    ]


def response_ids(responses: Sequence[str], tokenizer: Any) -> list[list[int]]:
    """Return the token ids of responses, without end tokens at their end."""
    encoded = _bare(responses, tokenizer)
    for ids in encoded:
        while ids and ids[-1] == tokenizer.eos_token_id:
            ids.pop()
    return encoded


def _bare(texts: Sequence[str], tokenizer: Any) -> list[list[int]]:
    if not texts:
        return []
    return [[*ids] for ids in tokenizer([*texts], add_special_tokens=False)["input_ids"]]


def _opening(tokenizer: Any) -> list[int]:
    """Return the special tokens that the tokenizer puts before a text."""
    (bare,) = _bare([_PROBE], tokenizer)
    whole = [*tokenizer(_PROBE)["input_ids"]]
    for start in range(len(whole) - len(bare) + 1):
        if whole[start : start + len(bare)] == bare:
            return whole[:start]
    return []
