"""How costs grow: with the cells of a run, and with the tokens of a batch."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from made_records import score, step, training
from measuring import note, peak, row

from adakd.config import Suite
from adakd.losses.lm_head import HiddenStates, LMHead
from adakd.losses.objective import Objective
from adakd.planning import PLAIN, Plan, plan
from adakd.reporting import write_report
from adakd.store import Store
from adakd.store.provenance import run_record
from adakd.store.records import ScoreRecord, TrainingRecord

STEPS, ITEMS = 200, 100
GRIDS = {4: (["forward_kl", "reverse_kl"], 1), 64: ([], 4)}
"""Divergences and training seeds that make so many cells, two arms each."""
LAMS = [round(0.1 * number, 1) for number in range(1, 9)]


def suite(cells: int) -> Suite:
    divergences, seeds = GRIDS[cells]
    generated = {"kind": "generated", "rows": 100}
    scratch = {"kind": "scratch", "config": {"model_type": "llama"}}
    return Suite.model_validate(
        {
            "name": f"{cells}-cells",
            "seeds": list(range(seeds)),
            "data": {"train": generated},
            "teacher": {"base": scratch, "sft": {"steps": STEPS}},
            "student": scratch,
            "divergences": divergences or [{"name": "skew_reverse_kl", "lam": lam} for lam in LAMS],
            "training": {"steps": STEPS},
            "evaluation": {"sets": {"puzzles": generated}, "sampling": {"do_sample": False}},
            "controls": {"sft": False},
        }
    )


def work(cells: int, folder: Path) -> float:
    """Do all of a run but train and score; return its seconds for each of the students."""
    start = time.process_time()
    planned = plan(suite(cells))
    store = Store(folder)
    store.add(run_record(planned))
    for record in records(planned):
        if record.key not in store:
            store.add(record)
    write_report(folder)
    return (time.process_time() - start) / cells


def records(planned: Plan) -> Iterator[TrainingRecord | ScoreRecord]:
    chance = torch.Generator().manual_seed(0)
    for cell in planned.cells:
        kept = 1.0 if cell.arm == PLAIN else 0.7
        losses = torch.rand(STEPS, generator=chance).tolist()
        steps = (step(number, of, kept_ratio=kept) for number, of in enumerate(losses, start=1))
        yield training(cell, steps)
    for job in planned.jobs:
        values = torch.rand(ITEMS, generator=chance).tolist()
        yield score(job, values, lambda number: f"answer {number} " * 20)


@pytest.mark.benchmark(group="Growth", timer=time.process_time)
def test_cells(benchmark: Any, tmp_path: Path) -> None:
    """Plan, store and report: the cost of a cell beside its training and its scores."""
    work(4, tmp_path / "warm")
    few = min(work(4, tmp_path / f"few-{number}") for number in range(3))
    many = benchmark.pedantic(work, (64, tmp_path / "many"), rounds=1)
    what = "a cell of 64: plan, store and report"
    line = row(what, "a cell of 4", "times its seconds", many / few, at_most=1.1)
    note(benchmark, line, seconds_of_one_in_4=few, seconds_of_one_in_64=many)


@pytest.mark.benchmark(group="Growth", timer=time.process_time)
@pytest.mark.parametrize("side", ["logits", "hidden states"])
def test_tokens(benchmark: Any, side: str) -> None:
    """The memory of AdaKD's loss beyond the gradients that it is asked for."""
    vocab, width = (8_192, 576)
    torch.manual_seed(0)
    weight = torch.randn(vocab, width, requires_grad=True)

    def beyond(tokens: int) -> float:
        objective = Objective("reverse_kl", "adakd", total_steps=1, budget=2**24)
        labels = torch.zeros(tokens, dtype=torch.long)
        given = torch.randn(tokens, width if side == "hidden states" else vocab, requires_grad=True)
        teacher = torch.randn_like(given)
        pair = (given, teacher)
        asked = given.numel() * 4
        if side == "hidden states":
            head = LMHead(weight)
            pair = (HiddenStates(given, head), HiddenStates(teacher, head))
            asked += weight.numel() * 4
        return peak(lambda: objective(*pair, labels).loss.backward()) - asked

    few, many = beyond(512), benchmark.pedantic(beyond, (8192,), rounds=1)
    what = f"memory of AdaKD's loss beyond its gradients at 8,192 tokens, from {side}"
    line = row(what, "at 512 tokens", "times its bytes", many / few, at_most=1.1)
    note(benchmark, line, mib_at_512=few / 2**20, mib_at_8192=many / 2**20)
