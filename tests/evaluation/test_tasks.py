"""The task files that a run writes for lm-eval."""

import json
from pathlib import Path
from typing import Any

import pytest
from lm_eval.tasks import TaskManager

from adakd.config import ChoiceTask
from adakd.config.scoring import task_name
from adakd.data import prompt_of, read_rows
from adakd.errors import AdakdError
from adakd.evaluation.tasks import answer_scorer
from adakd.evaluation.tasks import items as task_items

ROWS = [
    {
        "id": f"item-{n}",
        "instruction": f"Say {n} — in words.",
        "input": "now" if n % 2 else "",
        "output": f"reference {n}",
        "outputs": [f"reference {n}", f"other wording of {n}", f"reference {(n + 1) % 8}"],
    }
    for n in range(8)
]


@pytest.fixture
def changes(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return {
        "evaluation.sets": {"my-set": {"kind": "jsonl", "path": "rows.jsonl"}},
        "evaluation.choices": [{"set": "my-set", "choices": 3}],
    }


def items(tasks: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tasks / f"{name}.jsonl").read_text().splitlines()]


def test_lm_eval_loads_what_was_written(bench, changes) -> None:
    made = bench(changes)
    manager = TaskManager(include_path=str(made.tasks), include_defaults=False)
    names = [task_name("my-set"), task_name("my-set-choice")]
    assert manager.all_subtasks == sorted(names)
    answers, choice = (manager.load([name])["tasks"][name] for name in names)
    assert (answers.OUTPUT_TYPE, choice.OUTPUT_TYPE) == ("generate_until", "multiple_choice")
    docs = list(answers.test_docs())
    assert [doc["id"] for doc in docs] == [row["id"] for row in ROWS]
    assert answers.doc_to_text(docs[1]) == docs[1]["prompt"]


def test_a_folder_of_tasks_can_be_moved(bench, changes, tmp_path: Path) -> None:
    moved = bench(changes).tasks.rename(tmp_path / "moved")
    manager = TaskManager(include_path=str(moved), include_defaults=False)
    for name in ("my-set", "my-set-choice"):
        task = manager.load([task_name(name)])["tasks"][task_name(name)]
        assert [doc["id"] for doc in task.test_docs()] == [row["id"] for row in ROWS]
    assert not any(str(tmp_path) in file.read_text() for file in moved.glob("*.yaml"))


def test_any_line_separator_may_be_in_an_item(bench, changes, tmp_path: Path) -> None:
    text = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\r\nh\x00\n"
    rows = [{**row, "instruction": f"{text}{n}"} for n, row in enumerate(ROWS)]
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (tmp_path / "rows.jsonl").write_text("".join(lines), encoding="utf-8", newline="")
    made = bench(changes)
    for name in ("my-set", "my-set-choice"):
        read = task_items(str(made.tasks / f"{name}.jsonl"))["test"]
        assert [text in item["prompt"] for item in read] == [True] * len(ROWS)


@pytest.mark.parametrize("template", ["plain", "alpaca"])
def test_a_model_is_asked_as_it_was_trained(bench, changes, template: str) -> None:
    made = bench({**changes, "data.template": template, "data.max_tokens": 512})
    rows = read_rows(made.suite.evaluation.sets["my-set"], made.suite)
    for item, row in zip(items(made.tasks, "my-set"), rows, strict=True):
        assert item["prompt"] == prompt_of(row.instruction, row.input, template)
        assert item["references"] == list(row.references)


def test_the_task_files_can_be_written_over(bench, changes) -> None:
    first = bench(changes)
    before = {file.name: file.read_text() for file in first.tasks.iterdir() if file.is_file()}
    bench(changes)
    after = {file.name: file.read_text() for file in first.tasks.iterdir() if file.is_file()}
    assert before == after
    assert set(before) == {
        "adakd_tasks.py",
        "metrics.json",
        "my-set.jsonl",
        "adakd_my_set.yaml",
        "my-set-choice.jsonl",
        "adakd_my_set_choice.yaml",
    }


def test_the_best_of_several_references_counts(bench) -> None:
    item = {"references": ["a cat", "the dog sat"]}
    score_answer = answer_scorer(bench().tasks / "metrics.json")
    assert score_answer(item, ["the dog sat"]) == {"rouge_l": 1.0}
    assert score_answer(item, ["the dog"])["rouge_l"] == pytest.approx(0.8)


def test_one_hook_computes_all_metrics_with_their_settings(bench, tmp_path: Path) -> None:
    """From the files alone, as plain lm-eval finds them."""
    (tmp_path / "mine.py").write_text(
        "from adakd import metric\n"
        "@metric('length')\n"
        "def length(prediction, references, *, most: int = 9):\n"
        "    return min(len(prediction), most) if prediction else None\n"
    )
    metrics = ["token_f1", {"name": "length", "most": 3}]
    made = bench({"plugins": ["mine.py"], "evaluation.metrics": metrics})
    score_answer = answer_scorer(made.tasks / "metrics.json")
    assert score_answer({"references": ["a dog"]}, ["dogs dog"]) == {
        "token_f1": pytest.approx(2 / 3),
        "length": 3,
    }
    assert score_answer({"references": ["a dog"]}, [""]) == {"token_f1": 0}  # length has no value
    task = TaskManager(include_path=str(made.tasks), include_defaults=False).load(
        [task_name("puzzles")]
    )["tasks"][task_name("puzzles")]
    assert set(task.higher_is_better()) == {"token_f1", "length"}


# --- multiple choice --------------------------------------------------------------------------


def test_the_reference_stands_once_among_references_of_others(bench, changes) -> None:
    made = bench(changes)
    by_id = {row["id"]: row for row in ROWS}
    everything = {row["output"] for row in ROWS}
    for item in items(made.tasks, "my-set-choice"):
        row = by_id[item["id"]]
        wrong = [option for i, option in enumerate(item["choices"]) if i != item["answer"]]
        assert item["choices"][item["answer"]] == row["output"]
        assert len(set(item["choices"])) == 3
        assert set(wrong) <= everything - set(row["outputs"])


def test_the_right_place_is_anywhere(bench) -> None:
    made = bench({"evaluation.sets.puzzles.rows": 60})
    places = [item["answer"] for item in items(made.tasks, "puzzles-choice")]
    assert set(places) == {0, 1, 2, 3}
    assert max(places.count(place) for place in range(4)) < 30


def test_options_stay_when_items_are_cut(bench) -> None:
    """The choices of an item are its own: a limit takes items away and changes none."""
    whole = items(bench({"evaluation.sets.puzzles.rows": 12}, "a").tasks, "puzzles-choice")
    cut = {
        "evaluation.sets.puzzles.rows": 12,
        "evaluation.choices": [{"set": "puzzles", "limit": 5}],
    }
    assert items(bench(cut, "b").tasks, "puzzles-choice") == whole[:5]


def test_long_options_are_cut_to_words(bench) -> None:
    cut = {"evaluation.choices": [{"set": "puzzles", "choices": 2, "max_words": 1}]}
    for item in items(bench(cut).tasks, "puzzles-choice"):
        assert all(len(option.split()) == 1 for option in item["choices"])
        assert len(set(item["choices"])) == 2


def test_too_few_answers_for_the_choices(bench) -> None:
    with pytest.raises(AdakdError, match=r"evaluation\.choices: set 'puzzles' has 6 different"):
        bench({"evaluation.choices": [{"set": "puzzles", "choices": 7}]})


def test_an_item_that_has_too_few_others(bench, changes, tmp_path: Path) -> None:
    """Enough answers in the set, but one item accepts most of them itself."""
    greedy = {**ROWS[0], "outputs": [row["output"] for row in ROWS]}
    lines = [json.dumps(row) + "\n" for row in (greedy, *ROWS[1:])]
    (tmp_path / "rows.jsonl").write_text("".join(lines))
    with pytest.raises(AdakdError, match=r"'item-0'"):
        bench(changes)


def test_names() -> None:
    assert ChoiceTask(set="my-set").name == "my-set-choice"
    assert task_name("my-set") == "adakd_my_set"


@pytest.mark.parametrize("words", [40, 3])
def test_an_option_longer_than_what_students_read_is_told(
    bench, changes, tmp_path: Path, words: int
) -> None:
    """Cut to few enough words it fits."""
    long = [{**row, "outputs": [f"{n} " + "Zürich Łódź " * 20]} for n, row in enumerate(ROWS)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in long))
    choice = {"set": "my-set", "choices": 3, "max_words": words}
    room = {"data.max_tokens": 40, "data.max_prompt_tokens": 20, "evaluation.choices": [choice]}
    if words == 3:
        assert len(items(bench({**changes, **room}).tasks, "my-set-choice")) == len(ROWS)
        return
    with pytest.raises(AdakdError, match=r"'my-set' has \d+ tokens.*max_tokens \(40\).*max_words"):
        bench({**changes, **room})
