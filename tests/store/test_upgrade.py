"""Records of earlier schemas load as today's."""

import json
from pathlib import Path

from adakd.planning import PLAIN
from adakd.store import Store
from adakd.store.records import JudgeRecord, TimingRecord, TrainingRecord

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
