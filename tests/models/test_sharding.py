"""A model that is spread over processes, here over one: what is whole is what it was.

Two processes train one in ``tests/training/test_process_group.py``.
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM, LlamaConfig

from adakd.config import Lora
from adakd.errors import AdakdError
from adakd.models import loading, sharding

IDS = torch.arange(12).reshape(2, 6)


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    """A group of this process alone."""
    place = f"file://{tmp_path / 'meeting'}"
    distributed.init_process_group("gloo", init_method=place, rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def llama(tied: bool = True) -> Any:
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=20,
        hidden_size=8,
        intermediate_size=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        tie_word_embeddings=tied,
    )
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def adapted(_: bool) -> Any:
    return loading.with_adapters(llama(), Lora(r=2, dropout=0), 1)


def step(model: Any, optimizer: torch.optim.Optimizer) -> None:
    logits = model(input_ids=IDS).logits
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), IDS.flatten()).backward()
    optimizer.step()
    optimizer.zero_grad()


def adam(model: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1, fused=True)


@pytest.mark.parametrize("make", [llama, adapted])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.usefixtures("group")
def test_states_are_those_of_a_whole_model(make: Any, tied: bool) -> None:
    """Before and after steps, of optimizer and model, saved by either and loaded by the other."""
    whole, spread = make(tied), make(tied)
    sharding.shard(spread)
    assert sharding.is_sharded(spread)
    assert not sharding.is_sharded(whole)
    assert all(isinstance(own, DTensor) for own in spread.parameters())
    ours, theirs = adam(whole), adam(spread)
    for _ in range(2):
        step(whole, ours)
        step(spread, theirs)
    state = sharding.whole_state(spread)
    assert list(state) == list(whole.state_dict())
    torch.testing.assert_close(state, dict(whole.state_dict()))
    assert len({id(one) for one in state.values()}) == len(list(whole.parameters()))
    moments = sharding.whole_optimizer_state(theirs)
    torch.testing.assert_close(moments, ours.state_dict())
    again, anew = make(tied), make(tied)
    sharding.shard(anew)
    again.load_state_dict(state)
    anew.load_state_dict(whole.state_dict())
    of_again, of_anew = adam(again), adam(anew)
    of_whole = copy.deepcopy(ours.state_dict())  # as from a file
    of_again.load_state_dict(moments)
    of_anew.load_state_dict(sharding.split_optimizer_state(of_whole, of_anew))
    for model, optimizer in ((whole, ours), (again, of_again), (anew, of_anew)):
        step(model, optimizer)
    torch.testing.assert_close(dict(again.state_dict()), dict(whole.state_dict()))
    torch.testing.assert_close(sharding.whole_state(anew), dict(whole.state_dict()))


@pytest.mark.parametrize("make", [llama, adapted])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.usefixtures("group")
def test_a_whole_copy_answers_as_the_model_and_leaves_it_alone(
    make: Any, precision: torch.dtype
) -> None:
    whole, spread = make(True), make(True)
    hollow = sharding.hollow_copy(spread)
    assert {own.device.type for own in hollow.parameters()} == {"meta"}
    sharding.shard(spread)
    step(spread, adam(spread))
    whole.load_state_dict(sharding.whole_state(spread))
    whole.to(precision)
    with sharding.gathered(spread, hollow, precision) as copy, torch.no_grad():
        assert not sharding.is_sharded(copy)
        assert {own.dtype for own in copy.parameters()} == {precision}
        torch.testing.assert_close(copy(input_ids=IDS).logits, whole(input_ids=IDS).logits)
    assert {own.device.type for own in hollow.parameters()} == {"meta"}
    assert all(isinstance(own, DTensor) for own in spread.parameters())


@pytest.mark.usefixtures("group")
def test_weights_are_parts_again_after_a_pass_without_gradient() -> None:
    """The embeddings stay whole after one: an optimizer would be given copies."""
    spread = llama()
    sharding.shard(spread)
    with torch.no_grad():
        spread(input_ids=IDS)
    assert not all(isinstance(own, DTensor) for own in spread.parameters())
    sharding.reshard(spread)
    assert all(isinstance(own, DTensor) for own in spread.parameters())


@pytest.mark.usefixtures("group")
def test_a_model_without_decoder_layers_is_refused() -> None:
    model = llama()
    model.config.num_hidden_layers = 7
    with pytest.raises(AdakdError, match=r"training\.shard: no stack of 7 layers"):
        sharding.shard(model)
