"""Prompt templates."""

from adakd.data import prompt_of

ALPACA_WITH = """\
Below is an instruction that describes a task, paired with an input that provides further context. \
Write a response that appropriately completes the request.

### Instruction:
Sort.

### Input:
b a

### Response:
"""
ALPACA_WITHOUT = """\
Below is an instruction that describes a task. \
Write a response that appropriately completes the request.

### Instruction:
Sort.

### Response:
"""


def test_alpaca_is_the_papers_text() -> None:
    assert prompt_of("Sort.", "b a", "alpaca") == ALPACA_WITH
    assert prompt_of("Sort.", "", "alpaca") == ALPACA_WITHOUT


def test_alpaca_within_qwens_chat_tokens() -> None:
    assert prompt_of("Sort.", "", "alpaca_qwen") == (
        f"<|im_start|>{ALPACA_WITHOUT}<|im_end|><|im_start|>Assistant:"
    )


def test_braces_are_left_alone() -> None:
    for template in ("alpaca", "alpaca_qwen", "plain"):
        prompt = prompt_of("Use {input} and {0}.", "{x}", template)
        assert "Use {input} and {0}.\n" in prompt
        assert "{x}\n" in prompt


def test_plain_is_instruction_and_input_alone() -> None:
    assert prompt_of("Sort.", "b a", "plain") == "Sort.\nb a\n\n"
    assert prompt_of("Sort.", "", "plain") == "Sort.\n\n"


def test_chat_is_the_tokenizers_own() -> None:
    from adakd.models.loading import train_tokenizer

    tokenizer = train_tokenizer(["Sort b a"], 300)
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    assert prompt_of("Sort.", "b a", "chat", tokenizer) == "<user>Sort.\nb a</><assistant>"
    assert prompt_of("Sort.", "", "chat", tokenizer) == "<user>Sort.</><assistant>"
