"""What models say at the counted positions: the same by hidden states as by logits."""

import logging
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adakd.config import Lora, Scratch
from adakd.data.example import IGNORED
from adakd.losses.lm_head import HiddenStates
from adakd.losses.objective import Objective, SupervisedObjective
from adakd.models import loading
from adakd.models.forward import response, response_logits
from adakd.registry import Spec

SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16}
MODELS: dict[str, dict[str, Any]] = {
    "llama": SMALL | {"num_attention_heads": 2, "tie_word_embeddings": True},
    "qwen2": SMALL | {"num_attention_heads": 2, "num_key_value_heads": 2},
    "qwen3": SMALL | HEADS,
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "opt": {
        "hidden_size": 32,
        "ffn_dim": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "word_embed_proj_dim": 32,
        "max_position_embeddings": 64,
    },
    "phi": SMALL | {"num_attention_heads": 2},
    "gemma2": SMALL | HEADS | {"final_logit_softcapping": 0.05},
    "gemma3_text": SMALL | HEADS | {"final_logit_softcapping": 30.0},
    "cohere": SMALL | {"num_attention_heads": 2, "logit_scale": 0.5},
    "granite": SMALL | {"num_attention_heads": 2, "logits_scaling": 4.0},
}


def scratch(tokenizer: Any, name: str = "llama", seed: int = 1, **changes: Any) -> Any:
    config = {"model_type": name, **MODELS[name], **changes}
    return loading.scratch_model(Scratch(kind="scratch", config=config), tokenizer, seed)


def batch(vocabulary: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(2, vocabulary, (3, 12), generator=generator)
    mask = torch.ones_like(ids)
    mask[0, 8:] = mask[1, 3:] = 0
    labels = ids.clone()
    labels[:, :2] = IGNORED
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def counted_of(given: dict[str, Tensor]) -> Tensor:
    return (given["attention_mask"] > 0) & (given["labels"] != IGNORED)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, "adakd")
    return caplog


# --- the same logits ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_hidden_states_and_head_make_the_logits_of_the_whole_model(
    tokenizer: Any, name: str
) -> None:
    model = scratch(tokenizer, name).eval()
    given = batch(len(tokenizer))
    counted = counted_of(given)
    with torch.no_grad():
        hidden = response(model, given, counted)
        picked = response_logits(model, given, counted)
        inputs = {key: given[key] for key in ("input_ids", "attention_mask")}
        whole = model(**inputs).logits
        again = model(**inputs).logits
    assert isinstance(hidden, HiddenStates)
    assert hidden.shape == picked.shape == (int(counted.sum()), len(tokenizer))
    torch.testing.assert_close(hidden.head.logits(hidden.states), whole[counted])
    torch.testing.assert_close(picked, whole[counted])
    assert torch.equal(whole, again)  # the model is left as it was
    if name == "gemma2":
        assert whole.abs().max() <= 0.05


OBJECTIVES = {
    "adakd": Objective(
        "jensen_shannon", Spec(name="adakd", focus={"name": "fixed", "ratio": 0.6}), 1
    ),
    "supervised": SupervisedObjective(),
}


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", MODELS)
def test_loss_and_gradient_are_those_of_the_logits(
    tokenizer: Any, name: str, objective: str
) -> None:
    student, teacher = scratch(tokenizer, name), scratch(tokenizer, "llama", seed=2)
    student.eval()  # without dropout
    given = batch(len(tokenizer))
    counted = counted_of(given)
    ends = []
    for read in (response, response_logits):
        student.zero_grad()
        with torch.no_grad():
            theirs = read(teacher, given, counted)
        loss = OBJECTIVES[objective](
            read(student, given, counted), theirs, given["labels"][counted]
        )
        loss.loss.backward()
        weights = student.named_parameters()
        gradients = {name: weight.grad for name, weight in weights if weight.grad is not None}
        ends.append((loss.loss.detach(), gradients))
    torch.testing.assert_close(ends[0][0], ends[1][0], rtol=1e-5, atol=1e-7)
    assert ends[0][1].keys() == ends[1][1].keys()
    for name, gradient in ends[0][1].items():
        torch.testing.assert_close(gradient, ends[1][1][name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16], ids=str)
def test_products_are_in_the_precision_of_autocast(tokenizer: Any, precision: torch.dtype) -> None:
    model = scratch(tokenizer).eval()
    given = batch(len(tokenizer))
    counted = counted_of(given)
    with torch.autocast("cpu", precision):
        hidden = response(model, given, counted)
        logits = response_logits(model, given, counted)
    assert isinstance(hidden, HiddenStates)
    assert hidden.precision == logits.dtype == precision
    states, weight = hidden.states.to(precision), hidden.head.weight.to(precision)
    torch.testing.assert_close(nn.functional.linear(states, weight), logits)


def test_adapters_have_their_gradient_and_the_head_none(tokenizer: Any) -> None:
    model = loading.with_adapters(scratch(tokenizer), Lora(r=2, dropout=0), 1)
    given = batch(len(tokenizer))
    counted = counted_of(given)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    labels, gradients = given["labels"][counted], []
    for read in (response, response_logits):
        loss = SupervisedObjective()(read(model, given, counted), None, labels).loss
        gradients.append(torch.autograd.grad(loss, trained))
    assert any(gradient.any() for gradient in gradients[0])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


# --- where the head is left to the model --------------------------------------------------------


class Shifted(nn.Module):
    """A model that moves its logits in a way that its configuration does not tell."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner, self.config = inner, inner.config

    def get_output_embeddings(self) -> Any:
        return self.inner.get_output_embeddings()

    def forward(self, **inputs: Any) -> Any:
        output = self.inner(**inputs)
        output.logits = output.logits + 1
        return output


class Wrapper(nn.Module):
    """As several devices have it."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, **inputs: Any) -> Any:
        return self.module(**inputs)


def adapted_head(model: Any) -> Any:
    return loading.with_adapters(model, Lora(r=2, target_modules=["lm_head"]), 1)


def sharded(model: Any) -> Any:
    model.lm_head.weight.ds_id = 7  # as ZeRO-3 marks what is spread over machines
    return model


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (Shifted, "in an unknown way"),
        (Wrapper, "wrapped"),
        (adapted_head, "output layer is a"),
        (sharded, "sharded"),
    ],
)
def test_other_heads_give_logits_and_the_reason_once(
    tokenizer: Any, told: pytest.LogCaptureFixture, change: Any, reason: str
) -> None:
    plain = scratch(tokenizer, "qwen2").eval()
    given = batch(len(tokenizer))
    counted = counted_of(given)
    model = change(plain)
    with torch.no_grad():
        expected = model(
            input_ids=given["input_ids"], attention_mask=given["attention_mask"]
        ).logits[counted]
        for _ in range(2):
            answer = response(model, given, counted)
            assert isinstance(answer, Tensor)
            torch.testing.assert_close(answer, expected)
    assert len(told.messages) == 1
    assert reason in told.messages[0]


def test_finding_out_moves_no_random_numbers(tokenizer: Any) -> None:
    model = scratch(tokenizer, attention_dropout=0.5).train()
    given = batch(len(tokenizer))
    counted = counted_of(given)
    answers = []
    for _ in range(2):  # only the first finds out
        torch.manual_seed(3)
        answers.append(response(model, given, counted))
    assert torch.equal(answers[0].states, answers[1].states)
