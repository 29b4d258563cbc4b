"""Row -> prompt, the same text in training and in evaluation."""

from typing import Any

ALPACA = (
    "Below is an instruction that describes a task{paired}. Write a response that appropriately "
    "completes the request.\n\n### Instruction:\n{instruction}\n\n{input}### Response:\n"
)
"""The template of Stanford Alpaca, which the paper's official code uses."""


def prompt_of(instruction: str, input: str, template: str, tokenizer: Any = None) -> str:
    """Return the prompt of an instruction and its (possibly empty) input.

    Args:
        instruction: what to do.
        input: what to do it with; may be empty.
        template: ``alpaca``, ``plain``, or ``chat`` for the tokenizer's own chat template.
        tokenizer: needed for ``chat`` alone.
    """
    if template == "alpaca":
        return ALPACA.format(
            paired=", paired with an input that provides further context" if input else "",
            instruction=instruction,
            input=f"### Input:\n{input}\n\n" if input else "",
        )
    text = f"{instruction}\n{input}" if input else instruction
    if template == "plain":
        return f"{text}\n\n"
    message = [{"role": "user", "content": text}]
    return str(tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True))
