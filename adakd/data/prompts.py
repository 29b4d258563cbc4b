"""Format instructions as prompts, identically for training and evaluation."""

from typing import Any

from adakd.errors import AdakdError

ALPACA = (
    "Below is an instruction that describes a task{paired}. Write a response that appropriately "
    "completes the request.\n\n### Instruction:\n{instruction}\n\n{input}### Response:\n"
)
"""The Stanford Alpaca template, which AdaKD's reference implementation uses."""
QWEN = "<|im_start|>{alpaca}<|im_end|><|im_start|>Assistant:"
"""The same within Qwen's chat tokens, as the reference implementation has it for Qwen models: not
Qwen's own chat template, which has roles and line breaks."""


def prompt_of(instruction: str, input: str, template: str, tokenizer: Any = None) -> str:
    """Return the prompt of an instruction and its (possibly empty) input.

    Args:
        instruction: the task.
        input: its input; may be empty.
        template: ``alpaca``, ``alpaca_qwen`` for the same in Qwen's chat tokens, ``plain``, or
            ``chat`` for the tokenizer's own chat template.
        tokenizer: required for ``chat`` only.

    Raises:
        AdakdError: the tokenizer has no chat template, or it fails.
    """
    if template in ("alpaca", "alpaca_qwen"):
        alpaca = ALPACA.format(
            paired=", paired with an input that provides further context" if input else "",
            instruction=instruction,
            input=f"### Input:\n{input}\n\n" if input else "",
        )
        return alpaca if template == "alpaca" else QWEN.format(alpaca=alpaca)
    text = f"{instruction}\n{input}" if input else instruction
    if template == "plain":
        return f"{text}\n\n"
    return _chat_prompt(text, tokenizer)


def _chat_prompt(text: str, tokenizer: Any) -> str:
    if not getattr(tokenizer, "chat_template", None):
        raise AdakdError(
            "data.template: chat, but the teacher's tokenizer has no chat template: choose alpaca "
            "or plain, or a teacher with one"
        )
    message = [{"role": "user", "content": text}]
    try:
        made = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # a template is a program of the tokenizer's author
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise AdakdError(f"data.template: the tokenizer's chat template fails: {why}") from None
    return str(made)
