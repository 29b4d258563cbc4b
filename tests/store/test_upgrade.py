"""Records of earlier schemas load as today's."""

import json
from pathlib import Path

from adakd.planning import PLAIN
from adakd.store import Store
from adakd.store.records import TimingRecord, TrainingRecord

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
