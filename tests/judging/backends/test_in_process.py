import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adakd.errors import AdakdError
from adakd.judging import InProcess, ItemText, JudgeError, Question, Verdict, load_judge
from adakd.judging.backends.label_probabilities import typed_questions

ITEM = ItemText("Name a colour.", "", ("Red is one.",))
QUESTION = Question(ITEM, "Blue", "Seven")
SHORT = "{{ mark }}{{ instruction }}{{ first }}{{ second }}{{ form }}{{ references }}"
CHAT = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


def build(folder: Path, seed: int = 1, chat: str | None = CHAT) -> Path:
    """Save a chat model with random weights."""
    from adakd.config import Scratch
    from adakd.models import loading

    tokenizer = loading.train_tokenizer([SHORT, ITEM.instruction], 300)
    tokenizer.chat_template = chat
    config = {
        "model_type": "llama",
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.5,  # so that the probabilities differ
    }
    model = loading.scratch_model(Scratch(kind="scratch", config=config), tokenizer, seed)
    loading.save(model, tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("judges") / "tiny")


@pytest.fixture
def prompt(tmp_path: Path) -> Path:
    file = tmp_path / "short.j2"
    file.write_text(SHORT, encoding="utf-8")
    return file


@pytest.fixture
def judge(folder: Path, prompt: Path) -> InProcess:
    return InProcess(model=str(folder), prompt=prompt)


def ask(judge: InProcess, *asked: Question) -> list[Verdict]:
    async def main() -> list[Verdict]:
        async with judge.open() as session:
            return [await session.ask(question) for question in asked]

    return asyncio.run(main())


Break = Callable[[Callable[[int], bool], Exception], None]


@pytest.fixture
def break_down(monkeypatch: pytest.MonkeyPatch) -> Break:
    """Let the model raise an error at some of its calls, counted from 0."""
    from transformers.pipelines.decision import DecisionPipeline

    forward: Any = DecisionPipeline._forward
    calls = iter(range(100))

    def install(at: Callable[[int], bool], error: Exception) -> None:
        def breaking(self: Any, inputs: Any) -> Any:
            if at(next(calls)):
                raise error
            return forward(self, inputs)

        monkeypatch.setattr(DecisionPipeline, "_forward", breaking)

    return install


# --- verdicts -------------------------------------------------------------------------------


def test_the_verdict_is_the_likeliest_label(judge: InProcess) -> None:
    (verdict,) = ask(judge, QUESTION)
    assert verdict.probabilities is not None
    assert sum(verdict.probabilities) == pytest.approx(1)
    best = verdict.probabilities.index(max(verdict.probabilities))
    assert verdict.choice == ("first", "second", "tie")[best]
    assert verdict.seconds > 0
    assert verdict.prompt_tokens is not None
    assert 50 < verdict.prompt_tokens <= 512
    assert verdict.completion_tokens == 0


def test_the_probabilities_are_those_of_transformers(judge: InProcess, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.pipelines.decision import DecisionPipeline

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    pipeline = DecisionPipeline(
        model=model, tokenizer=AutoTokenizer.from_pretrained(folder), device="cpu"
    )
    asked = typed_questions("pair", judge.verdicts, judge.scale)
    theirs = pipeline({"state": judge.render(QUESTION), "questions": asked})
    (verdict,) = ask(judge, QUESTION)
    expected = theirs["verdict"]["probabilities"].values()
    assert verdict.probabilities == pytest.approx(tuple(expected), abs=1e-6)


def test_the_same_question_has_the_same_verdict_and_another_order_is_another_one(
    judge: InProcess,
) -> None:
    one, again, other = ask(judge, QUESTION, QUESTION, Question(ITEM, "Seven", "Blue"))
    assert replace(one, seconds=0) == replace(again, seconds=0)
    assert one.probabilities != other.probabilities


def test_an_answer_is_rated_on_the_scale(folder: Path, prompt: Path) -> None:
    prompt.write_text(SHORT.replace("{{ second }}", "{{ labels }}"), encoding="utf-8")
    judge = InProcess(model=str(folder), prompt=prompt, asks="rating", scale=(3, 7))
    one, same, other = ask(judge, *(Question(ITEM, text, None) for text in ("Blue", "Blue", "7")))
    assert one.choice == same.choice == other.choice == "rated"
    assert one.score is not None
    assert 3 <= one.score <= 7
    assert one.score == same.score
    assert judge.traits().asks == "rating"


def test_references_are_shown_or_not(judge: InProcess) -> None:
    blind = replace(judge, references=False)
    assert "Red is one." in judge.render(QUESTION)
    assert "Red is one." not in blind.render(QUESTION)
    other = replace(QUESTION, item=replace(ITEM, references=("Quite another.",)))
    assert blind.render(other) == blind.render(QUESTION)
    assert judge.render(other) != judge.render(QUESTION)


def test_an_answer_cannot_write_the_control_tokens_of_the_model(judge: InProcess) -> None:
    (verdict,) = ask(judge, Question(ITEM, "<end><|mark|><|split|><pad>", "Blue"))
    assert verdict.probabilities is not None


@pytest.mark.parametrize("asks", ["pair", "rating"])
def test_the_shipped_prompts_ask_for_a_decision(folder: Path, asks: Any) -> None:
    judge = InProcess(model=str(folder), asks=asks)
    shown = judge.render(QUESTION if asks == "pair" else replace(QUESTION, second=None))
    assert "[[" not in shown
    assert "JSON" not in shown


def test_a_prompt_that_asks_for_a_text_is_refused(folder: Path, prompt: Path) -> None:
    prompt.write_text("{{ first }} or {{ second }}? End with [[A]] or [[B]].", encoding="utf-8")
    with pytest.raises(AdakdError, match=r"^prompt: .*short\.j2 supports only replies in text"):
        InProcess(model=str(folder), prompt=prompt)


def test_more_words_are_more_tokens_and_none_are_written(judge: InProcess) -> None:
    some, more = judge.tokens(QUESTION), judge.tokens(replace(QUESTION, first="Blue " * 100))
    assert some is not None
    assert more is not None
    assert some.completion == more.completion == 0
    assert some.prompt < more.prompt


# --- what goes wrong ------------------------------------------------------------------------


def test_a_prompt_beyond_the_context_fails_with_its_length_and_the_next_is_asked(
    judge: InProcess,
) -> None:
    long, after = ask(judge, Question(ITEM, "word " * 400, "Blue"), QUESTION)
    assert (long.choice, long.probabilities) == ("failed", None)
    assert "but the context has 512" in long.reason
    assert after.choice != "failed"


def test_one_question_that_breaks_the_model_is_a_failure_of_its_own(
    judge: InProcess, break_down: Break
) -> None:
    import torch

    break_down(lambda call: call == 2, torch.OutOfMemoryError("out of memory\nat 3 GiB"))
    before, broken, after = ask(judge, QUESTION, QUESTION, QUESTION)
    assert broken.choice == "failed"
    assert broken.reason == "OutOfMemoryError: out of memory at 3 GiB"
    assert before.choice == after.choice != "failed"


def test_a_model_that_is_broken_for_good_ends_the_judging(
    judge: InProcess, break_down: Break
) -> None:
    break_down(lambda call: call >= 1, RuntimeError("device lost"))
    with pytest.raises(JudgeError, match=r"^model: .* not answer typed questions: .*device lost"):
        ask(judge, QUESTION)


def test_weights_that_are_not_numbers_are_found_before_the_first_question(
    tmp_path: Path, prompt: Path
) -> None:
    from safetensors.torch import load_file, save_file

    file = build(tmp_path / "nan") / "model.safetensors"
    weights = load_file(file)
    save_file({name: weight * float("nan") for name, weight in weights.items()}, file)
    with pytest.raises(JudgeError, match=r"^model: .*finite number"):
        ask(InProcess(model=str(file.parent), prompt=prompt))


def test_a_model_without_a_chat_template_says_which_to_choose(tmp_path: Path, prompt: Path) -> None:
    base = build(tmp_path / "base", chat=None)
    with pytest.raises(JudgeError, match=r"^model: .*choose an instruct model"):
        ask(InProcess(model=str(base), prompt=prompt))


@pytest.mark.parametrize("kind", ["missing", "empty", "damaged", "gguf"])
def test_a_model_that_cannot_be_loaded_is_an_error_of_its_field(
    tmp_path: Path, folder: Path, prompt: Path, kind: str
) -> None:
    place = tmp_path / kind
    if kind == "empty":
        place.mkdir()
    if kind in ("damaged", "gguf"):
        shutil.copytree(folder, place)
        (place / "model.safetensors").write_bytes(b"no weights")
    gguf_file = "none.gguf" if kind == "gguf" else None
    with pytest.raises(JudgeError, match=r"^model: ") as caught:
        ask(InProcess(model=str(place), gguf_file=gguf_file, prompt=prompt))
    assert kind in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_event_loop_goes_on_while_the_model_answers(
    judge: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.pipelines.decision import DecisionPipeline

    forward: Any = DecisionPipeline._forward

    def slow(self: Any, inputs: Any) -> Any:
        time.sleep(0.2)
        return forward(self, inputs)

    async def main() -> int:
        async with judge.open() as session:
            monkeypatch.setattr(DecisionPipeline, "_forward", slow)
            asked = asyncio.ensure_future(session.ask(QUESTION))
            ticks = 0
            while not asked.done():
                await asyncio.sleep(0.01)
                ticks += 1
            assert (await asked).choice != "failed"
            return ticks

    assert asyncio.run(main()) > 3


def test_after_a_cancelled_question_the_next_is_asked(judge: InProcess) -> None:
    async def main() -> Verdict:
        async with judge.open() as session:
            asked = asyncio.ensure_future(session.ask(QUESTION))
            await asyncio.sleep(0)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            return await session.ask(QUESTION)

    assert asyncio.run(main()).choice != "failed"


# --- identity -------------------------------------------------------------------------------


def test_the_content_of_the_model_is_its_identity_and_its_place_is_not(
    tmp_path: Path, folder: Path, judge: InProcess
) -> None:
    moved = replace(judge, model=str(shutil.copytree(folder, tmp_path / "moved")))
    assert moved.fingerprint() == judge.fingerprint()
    (tmp_path / "moved" / "README.md").write_text("Read me", encoding="utf-8")
    assert replace(moved).fingerprint() == judge.fingerprint()
    shutil.rmtree(tmp_path / "moved")
    build(tmp_path / "moved", seed=2)
    assert replace(moved).fingerprint() != judge.fingerprint()


def test_a_change_deep_in_large_weights_is_another_model(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"

    def content(change_at: int | None) -> Any:
        weights = bytearray(20_000_000)
        if change_at is not None:
            weights[change_at : change_at + 1_000_000] = b"1" * 1_000_000
        file.write_bytes(weights)
        return InProcess(model=str(tmp_path)).fingerprint()["model"]

    contents = [content(None), content(5_000_000), content(10_000_000), content(19_000_000)]
    assert len({json.dumps(one) for one in contents}) == 4


def test_every_setting_decides(folder: Path, judge: InProcess) -> None:
    others = [
        replace(judge, references=False),
        replace(judge, verdicts=("X", "Y", "Z")),
        replace(judge, revision="other"),
        replace(judge, prompt=None),
        replace(judge, model="some/hub-id"),
    ]
    said = [json.dumps(one.fingerprint(), default=str) for one in (judge, *others)]
    assert len(set(said)) == len(said)


def test_a_folder_is_told_by_its_name_alone(judge: InProcess) -> None:
    assert judge.traits().model == "tiny"
    assert replace(judge, gguf_file="Some-1B.Q4.gguf").traits().model == "Some-1B.Q4"
    assert judge.traits().concurrency == 1
    assert load_judge("in_process").family == "qwen"


def test_reading_a_judge_imports_no_model_library() -> None:
    code = (
        "import sys; from adakd.judging import load_judge; load_judge('in_process');"
        "print({'torch', 'transformers', 'openai', 'sklearn'} & set(sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"
