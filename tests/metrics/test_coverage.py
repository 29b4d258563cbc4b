"""References without a token for a metric are counted, in the plan and in the score."""

import json
from pathlib import Path
from typing import Any

import pytest

from adakd.commands.plan import unseen_references
from adakd.judging.answer_files import read_answers
from adakd.metrics import metric

UNSEEN_BY_ROUGE_L = ["答案是。", "مرحبا بالعالم", "привет", "नमस्ते", "สวัสดี", "🙂", "…"]


@pytest.mark.parametrize("text", UNSEEN_BY_ROUGE_L)
def test_a_reference_without_a_token_scores_0_against_itself(text: str) -> None:
    assert metric.unseen("rouge_l", [(text,)]) == 1
    assert metric["rouge_l"](text, [text]) == 0


@pytest.mark.parametrize("name", ["rouge_l", "rouge_l_unicode", "token_f1", "exact_match"])
@pytest.mark.parametrize("text", [*UNSEEN_BY_ROUGE_L, "yes", "42", "答案是 42", "café", "I\u0307"])
def test_a_reference_is_counted_exactly_where_it_cannot_match_itself(name: str, text: str) -> None:
    assert bool(metric.unseen(name, [(text,)])) == (metric[name](text, [text]) == 0)


def test_one_reference_with_a_token_is_enough_and_none_is_no_reference() -> None:
    assert metric.unseen("rouge_l", [("是", "yes"), (), ("是", "对"), ("no",)]) == 1


def write(file: Path, *texts: str, **more: Any) -> None:
    rows = [{"id": n, "instruction": f"Q{n}", "output": t} for n, t in enumerate(texts)]
    lines = (json.dumps({**row, "answer": "x", "reference": row["output"]}) for row in rows)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def test_the_plan_counts_them_and_names_a_metric(make_suite, tmp_path: Path) -> None:
    write(tmp_path / "zh.jsonl", "是", "对", "yes")
    changes = {
        "evaluation.sets": {"zh": {"kind": "jsonl", "path": "zh.jsonl"}},
        "evaluation.choices": [],
    }
    assert list(unseen_references(make_suite(changes))) == [
        "zh: 2 of 3 references have no token for ROUGE-L, so their items score 0 whatever the "
        "answer; rouge_l_unicode reads any script"
    ]
    unicode = make_suite({**changes, "evaluation.metrics": ["rouge_l_unicode"]})
    assert not list(unseen_references(unicode))


def test_the_scores_of_files_count_them(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}.jsonl", "是", "对", "yes")
    answers = read_answers(tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    assert [score.unseen for score in answers.scores] == [2, 2]
