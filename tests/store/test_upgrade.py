"""Records of earlier schemas load as today's."""

import json
from pathlib import Path

import pytest

from adakd.planning import PLAIN
from adakd.store import Store
from adakd.store.records import (
    JudgeRecord,
    RunRecord,
    ScoreRecord,
    TimingRecord,
    TrainingRecord,
)
from adakd.store.upgrade import upgraded

CELL = {"role": "distilled", "seed": 1, "divergence": "reverse_kl", "arm": "none", "key": "abc"}
STEP = {"arm": "none", "seconds": {"loss": 0.5}, "peak_bytes": None}


def test_the_plain_arm_has_its_name_in_the_first_schema_too(tmp_path: Path) -> None:
    old = [
        {"kind": "training", "key": "abc", "cell": CELL, "status": "done"},
        {
            "kind": "timing",
            "key": "t",
            "divergence": "reverse_kl",
            "arm": "adakd",
            "device": "cpu",
            "tokens": 3,
            "pairs": [[STEP, {**STEP, "arm": "adakd"}]],
        },
    ]
    lines = [json.dumps({"kind": r["kind"], "schema_version": 1, **r}) for r in old]
    lines = [line.replace(": ", ":").replace(", ", ",") + "\n" for line in lines]
    (tmp_path / "results.jsonl").write_text("".join(lines), encoding="utf-8")
    store = Store(tmp_path)
    (training,), (timing,) = store.of(TrainingRecord), store.of(TimingRecord)
    assert training.cell.arm == PLAIN
    assert training.cell.method == "reverse_kl"
    assert [step.arm for step in timing.pairs[0]] == [PLAIN, "adakd"]


def test_the_judge_in_this_process_has_its_name_in_the_first_schema_too(tmp_path: Path) -> None:
    old = {"kind": "judge", "schema_version": 1, "key": "decision@1", "name": "decision"}
    rest = {"description": "", "mode": "decision"}
    lines = [
        json.dumps({**old, "backend": "decision", **rest}, separators=(",", ":")),
        json.dumps({**old, "key": "r@1", "backend": "rule", **rest}, separators=(",", ":")),
    ]
    (tmp_path / "results.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    judges = list(Store(tmp_path).of(JudgeRecord))
    assert [judge.backend for judge in judges] == ["in_process", "rule"]
    assert [judge.key for judge in judges] == ["decision@1", "r@1"]
    assert judges[0].mode == "decision"


SUITE = {
    "name": "old",
    "seeds": [1, 2],
    "data": {"train": {"kind": "generated", "rows": 9}},
    "teacher": {"base": {"kind": "pretrained", "model": "gone/teacher"}},
    "student": {"kind": "pretrained", "model": "gone/student"},
    "divergences": ["forward_kl", {"divergence": "reverse_kl", "arms": ["egad"]}],
    "arms": {"adakd": "adakd", "egad": "egad"},
    "training": {"steps": 5},
    "controls": {"longer": 0.1},
    "evaluation": {
        "sets": {"dolly": {"kind": "generated", "rows": 9}},
        "choices": [{"set": "dolly"}],
        "tasks": ["piqa", {"name": "arc_easy", "metric": "acc"}],
    },
}
RUN = {
    "kind": "run",
    "schema_version": 1,
    "key": "r",
    "started": "2026-01-01T00:00:00+00:00",
    "command": "adakd run old",
    "suite": SUITE,
    "suite_digest": "0",
    "wanted": [],
    "versions": {},
    "hardware": {},
    "commit": None,
}


def test_a_run_has_the_cells_and_tasks_of_its_suite() -> None:
    run = RunRecord.model_validate(upgraded(RUN))
    methods = dict.fromkeys(cell.method for cell in run.cells)
    assert list(methods) == [
        "teacher", "untrained", "sft",
        "forward_kl", "forward_kl + adakd", "forward_kl + egad", "forward_kl, 10 % longer",
        "reverse_kl", "reverse_kl + egad", "reverse_kl, 10 % longer",
    ]  # fmt: skip
    seeds = {method: [c.seed for c in run.cells if c.method == method] for method in methods}
    assert seeds.pop("teacher") == seeds.pop("untrained") == [1]
    assert all(of == [1, 2] for of in seeds.values())
    assert [(task.name, task.sort, task.metric, task.title, task.scale) for task in run.tasks] == [
        ("dolly", "answers", "rouge_l", "ROUGE-L", 100),
        ("dolly-choice", "choice", "acc_norm", "accuracy", 100),
        ("piqa", "task", "", "", 1),
        ("arc_easy", "task", "acc", "accuracy", 1),
    ]


def test_of_a_suite_that_cannot_be_read_any_more_there_are_none() -> None:
    run = RunRecord.model_validate(upgraded({**RUN, "suite": {"name": "older", "gone": 1}}))
    assert (run.cells, run.tasks) == ((), ())


@pytest.mark.parametrize(
    ("sort", "metric", "values", "shown"),
    [
        ("answers", "rouge_l", [0.2, 0.4], ("ROUGE-L", 100)),
        ("answers", "rouge_l", [None], ("ROUGE-L", 100)),
        ("choice", "acc_norm", [0, 1], ("accuracy", 100)),
        ("task", "acc_norm", [0, 1], ("acc_norm", 100)),
        ("task", "mine", [0.5, 2], ("mine", 1)),
    ],
)
def test_a_score_has_a_display_and_the_key_of_its_answers(
    sort: str, metric: str, values: list[float | None], shown: tuple[str, float]
) -> None:
    items = [{"id": str(n), "value": value} for n, value in enumerate(values)]
    known = [value for value in values if value is not None]
    mean = sum(known) / max(len(known), 1)
    old = {
        "kind": "score", "schema_version": 1, "key": "s", "cell": CELL, "task": "t", "sort": sort,
        "metric": metric, "sampling_seed": None, "value": mean if known else "NaN",
        "n": len(items), "seconds": 1.0, "items": items,
    }  # fmt: skip
    score = ScoreRecord.model_validate(upgraded(old))
    assert (score.title, score.scale) == shown
    assert score.answers == "s"
