"""Whole training steps on a device, from a teacher's stored hidden states: both arms, both kernels.

    python tests/gpu/bench_step.py OUT.json [--seconds N] [--device cpu --tiny]

A step is the student's forward pass under bf16 autocast with float32 weights, the loss from hidden
states, the backward pass, clipping and fused AdamW, on 8 sequences of 512 tokens. Models have the
shapes of SmolLM2-135M and Qwen2-1.5B and random weights; the teachers' states and heads are random
too, as wide as those of SmolLM2-135M and Qwen2-7B.
"""

import math
import time
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

from device_timing import Device, Results, arguments, spread, table

RATE, LARGEST_GRADIENT = 5e-5, 1.0
PEAK = 989e12
"""FLOPs a second that an H100 SXM's data sheet states for dense bf16 products."""
GROUPS = 256 << 20
"""Bytes for logits from hidden states, as on a CPU, beside the default."""


@dataclass(frozen=True)
class Shape:
    """A student, and the hidden states that it learns from."""

    name: str
    family: str
    config: dict[str, Any]
    teacher: dict[str, Any]
    """The changes that make the student's configuration the teacher's."""
    sequences: int = 8
    length: int = 512


SMOL = {
    "vocab_size": 49_152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "tie_word_embeddings": True,
}
QWEN = {
    "vocab_size": 151_936,
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}
QWEN_7B = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "tie_word_embeddings": False,
}
SHAPES = (
    Shape("SmolLM2-135M", "llama", SMOL | {"num_hidden_layers": 30}, {}),
    Shape("Qwen2-1.5B", "qwen2", QWEN, QWEN_7B),
    Shape(
        "SmolLM2-135M, 10 of 30 layers",
        "llama",
        SMOL | {"num_hidden_layers": 10},
        {"num_hidden_layers": 30},
    ),
)
SMALLER = {"vocab_size": 96, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1}
TINY = (
    Shape("tiny SmolLM2", "llama", SMOL | SMALLER | HEADS, {}, 2, 3),
    Shape("tiny Qwen2", "qwen2", QWEN | SMALLER | HEADS, {"hidden_size": 24}, 2, 3),
)
VARIANTS = [("triton", None), ("torch", None), ("triton", GROUPS)]
"""Kernels and budgets; each is measured with both arms."""
FIRST, FURTHER = 20, 5
"""Seconds for the ratio of the arms, in those of other rows: a pair of steps takes 0.3 s."""


def model(shape: Shape, changes: dict[str, Any], device: str, dtype: Any) -> Any:
    """Return a model with random weights, made on the device."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(shape.family, **shape.config | changes)
    config.dtype = dtype
    torch.manual_seed(0)
    with torch.device(device):
        made = AutoModelForCausalLM.from_config(config, dtype=dtype)
    with torch.no_grad():  # logits with a standard deviation of about 4
        made.get_output_embeddings().weight.normal_(std=4 / math.sqrt(made.config.hidden_size))
    return made


class Side:
    """A student with its optimizer, and a batch with the teacher's states."""

    def __init__(self, shape: Shape, device: str) -> None:
        import torch

        from adakd.losses.lm_head import HiddenStates, LMHead

        self.shape, self.device = shape, device
        self.student = model(shape, {}, device, torch.float32).train()
        self.optimizer = torch.optim.AdamW(self.student.parameters(), lr=RATE, fused=True)
        vocabulary = shape.config["vocab_size"]
        ids = torch.randint(vocabulary, (shape.sequences, shape.length), device=device)
        self.batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
        width = (shape.config | shape.teacher)["hidden_size"]
        tokens = shape.sequences * (shape.length - 1)
        ours = self.student.get_output_embeddings().weight.detach().to(torch.bfloat16)
        states = torch.randn(tokens, width, device=device).to(torch.bfloat16)
        head = torch.randn(vocabulary, width, device=device).to(torch.bfloat16)
        head *= 4 / math.sqrt(width)
        common = min(width, ours.shape[1])
        head[:, :common] = ours[:, :common]
        self.remembered = HiddenStates(states, LMHead(head))

    def objective(self, kernels: str, arm: str | None, budget: int | None) -> Any:
        from adakd.losses.objective import Objective

        return Objective("reverse_kl", arm, total_steps=100, kernels=kernels, budget=budget)

    def step(self, objective: Any, clock: Any, teacher: Any = None) -> Any:
        """Train for a step; return its loss."""
        import torch

        from adakd.training.trainer import distillation_loss

        outputs = teacher or (lambda *_: self.remembered)
        with torch.autocast(self.device, torch.bfloat16):
            loss = distillation_loss(self.student, outputs, objective, self.batch, clock).loss
        with clock.phase("backward"):
            loss.backward()
        with clock.phase("optimizer"):
            torch.nn.utils.clip_grad_norm_(self.student.parameters(), LARGEST_GRADIENT)
            self.optimizer.step()
            self.optimizer.zero_grad()
        return loss.detach()

    def flops(self) -> float:
        """Return those of a step: 6 per weight and token, and the teacher's head."""
        tokens = self.shape.sequences * self.shape.length
        weights = sum(weight.numel() for weight in self.student.parameters())
        return 6 * weights * tokens + 2 * self.remembered.head.weight.numel() * tokens


class Silent:
    """A clock that does not stop the device at the phases."""

    def phase(self, name: str) -> Any:
        from contextlib import nullcontext

        return nullcontext()


def measure(
    side: Side, results: Results, ceilings: dict[str, float], objective: Any, repeat: float
) -> dict[str, Any]:
    """Time steps as a training takes them, then the phases of three more."""
    from adakd.training.profiling import Clock

    device, silent = results.device, Silent()
    loss = float(side.step(objective, silent))
    peak = device.peak(lambda: side.step(objective, silent))
    seconds = device.times(lambda: side.step(objective, silent), repeat, least=5)
    clock = Clock()
    for _ in range(3):
        side.step(objective, clock)
    rate = side.flops() / median(seconds)
    tokens = side.shape.sequences * side.shape.length
    found = {
        "value": loss,
        **spread(seconds),
        "tokens_per_second": tokens / median(seconds),
        "share_of_data_sheet": rate / PEAK,
        "share_of_flops": rate / ceilings["bf16_flops_per_second"],
        **{f"{phase}_ms": 1000 * spent / 3 for phase, spent in clock.take().items()},
    }
    if peak is not None:
        found["peak_mib"] = peak / 2**20
    return found


def live(side: Side, results: Results) -> dict[str, Any]:
    """Time the forward pass of a live teacher, which stored states save."""
    import torch

    from adakd.models.forward import response

    teacher = model(side.shape, side.shape.teacher, side.device, torch.bfloat16).eval()
    valid = torch.ones_like(side.batch["input_ids"], dtype=torch.bool)

    @torch.no_grad()
    def step() -> None:
        response(teacher, side.batch, valid)

    return spread(results.device.times(step, 0.3))


def in_turn(
    side: Side, device: Device, kernels: str, budget: int | None, seconds: float
) -> dict[str, Any]:
    """Take steps of both arms in turn; return the median ratio of neighbours with quartiles.

    A step waits for the one before, so that a drift of the machine meets both arms alike.
    """
    silent = Silent()
    plain, adaptive = (side.objective(kernels, arm, budget) for arm in (None, "adakd"))
    end, ratios = time.perf_counter() + seconds, []
    while len(ratios) < 4 or time.perf_counter() < end:
        first = device.elapsed(lambda: side.step(plain, silent))
        ratios.append(device.elapsed(lambda: side.step(adaptive, silent)) / first)
    low, middle, high = quantiles(ratios[1:], n=4)
    return {"adakd_over_plain": middle, "ratio_low": low, "ratio_high": high, "pairs": len(ratios)}


def groups(budget: int | None) -> str:
    return "default" if budget is None else "256 MiB"


def main() -> None:
    options = arguments(__doc__, seconds=40)
    device = Device(options.device)
    results = Results(options.out, device, options.seconds)
    ceilings = results.head["ceilings"] = device.ceilings(options.tiny)
    shapes, repeat = (TINY, 0.01) if options.tiny else (SHAPES, 0.6)
    for number, shape in enumerate(shapes):
        made: list[Side] = []

        def make(shape: Shape = shape, made: list[Side] = made) -> dict[str, Any]:
            made.append(Side(shape, options.device))
            weights = sum(weight.numel() for weight in made[0].student.parameters())
            return {"weights": float(weights)}

        results.add(make, student=shape.name)
        if not made:
            continue
        for kernels, budget in VARIANTS:
            turns = repeat * (FIRST if (kernels, budget) == VARIANTS[0] else FURTHER)
            what = {"student": shape.name, "kernels": kernels, "groups": groups(budget)}
            results.add(
                lambda kernels=kernels, budget=budget, turns=turns, side=made[0]: in_turn(
                    side, device, kernels, budget, turns
                ),
                needs=turns,
                **what,
            )
            for arm in (None, "adakd"):
                results.add(
                    lambda kernels=kernels, arm=arm, budget=budget, side=made[0]: measure(
                        side, results, ceilings, side.objective(kernels, arm, budget), repeat
                    ),
                    loss=f"reverse_kl + {arm}" if arm else "reverse_kl",
                    **what,
                )
        if number < 2:
            results.add(
                lambda side=made[0]: live(side, results),
                needs=14.0 if number == 1 else 3.0,  # its weights take seconds to draw
                student=shape.name,
                loss="a live teacher's forward pass",
            )
        made.clear()
        device.free()
    table(results.rows, "groups", ("milliseconds", "adakd_over_plain"))


if __name__ == "__main__":
    main()
