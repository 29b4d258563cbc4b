"""What the README shows works as it stands there."""

import re
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from adakd import check_divergence

README = Path(__file__).resolve().parents[1] / "README.md"


@pytest.fixture(scope="module")
def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def tiny(layers: int) -> torch.nn.Module:
    config = LlamaConfig(
        vocab_size=29,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
    )
    torch.manual_seed(layers)
    return AutoModelForCausalLM.from_config(config)


def test_the_divergence_keeps_the_laws(blocks, tmp_path):
    file = tmp_path / "mixed_kl.py"
    file.write_text(blocks[0])
    (laws,) = check_divergence(str(file)).values()
    assert [law.name for law in laws if not law.ok] == []


def test_the_training_loop_trains(blocks):
    student, teacher = tiny(1), tiny(2)
    ids = torch.randint(29, (4, 12), generator=torch.Generator().manual_seed(0))
    batches = [{"input_ids": ids, "labels": ids}] * 12
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-2)
    names = {"torch": torch, "student": student, "teacher": teacher, "batches": batches}
    distance = []
    for _ in range(2):
        exec(blocks[1], names | {"optimizer": optimizer})
        with torch.no_grad():
            gap = student(ids).logits.softmax(-1) - teacher(ids).logits.softmax(-1)
        distance.append(float(gap.abs().sum()))
    assert distance[1] < distance[0]
