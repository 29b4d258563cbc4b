"""Tasks of lm-eval give the numbers of plain ``lm_eval`` on the same saved model."""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lm_eval
import pytest
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import GenerationConfig

from adakd.config.scoring import Task
from adakd.errors import AdakdError
from adakd.evaluation.lm_eval_tasks import check_task
from adakd.models import loading

pytestmark = pytest.mark.slow  # lm-eval reads its index of all tasks

WORDS = "bird tree rock river last cow first word owl house cloud car".split()
CHOICE = """
task: own_choice
output_type: multiple_choice
doc_to_text: "Which word is the last of these?\\n{{question}}\\nA:"
doc_to_choice: choices
doc_to_target: answer
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
"""
WRITTEN = """
task: own_answers
output_type: generate_until
doc_to_text: "Q: {{question}}\\nA:"
doc_to_target: "{{choices[answer]}}"
generation_kwargs: {until: ["Q:"], max_gen_toks: 12, do_sample: false}
metric_list:
  - {metric: bleu, aggregation: bleu, higher_is_better: true}
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
filter_list:
  - {name: first, filter: [{function: regex, regex_pattern: "(\\\\w)"}, {function: take_first}]}
  - {name: second, filter: [{function: take_first}]}
"""
PAGES = """
task: own_pages
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{question}}"
metric_list:
  - {metric: word_perplexity, aggregation: weighted_perplexity, higher_is_better: false}
"""
DATA = "dataset_path: json\ndataset_kwargs: {{data_files: {{test: {file}}}}}\ntest_split: test\n"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of task files of a user's own; one, since lm-eval's index takes a while."""
    folder, chance = tmp_path_factory.mktemp("own"), random.Random(0)
    lines = []
    for _ in range(24):
        words = [chance.choice(WORDS) for _ in range(chance.randint(4, 14))]
        options = chance.sample(WORDS, 4)
        answer = chance.randrange(4)
        lines.append({"question": " ".join(words), "choices": options, "answer": answer})
    (folder / "items.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = DATA.format(file=folder / "items.jsonl")
    no_shots = CHOICE.replace("own_choice", "own_no_shots") + "num_fewshot: 0\n"
    long = CHOICE.replace("own_choice", "own_long").replace("choices\n", "['a', '{{question}}']\n")
    for task in (CHOICE, WRITTEN, PAGES, no_shots, long.replace("target: answer", "target: 0")):
        name = task.split()[1]
        (folder / f"{name}.yaml").write_text(f"task: {name}\n{data}{task.split(name, 1)[1]}")
    (folder / "own_second.yaml").write_text(
        (folder / "own_choice.yaml").read_text().replace("own_choice", "own_second")
        + "process_docs: !function first.half\n"
    )
    (folder / "first.py").write_text("def half(docs):\n    return docs.select(range(12))\n")
    group = "group: {}\ntask: [own_choice, own_second]\naggregate_metric_list:\n"
    group += "  - {{metric: acc, aggregation: mean, weight_by_size: {}}}\n"
    (folder / "own_group.yaml").write_text(group.format("own_group", "true"))
    (folder / "own_macro.yaml").write_text(group.format("own_macro", "false"))
    code = (folder / "own_choice.yaml").read_text().replace("own_choice", "own_code")
    (folder / "own_code.yaml").write_text(code + "unsafe_code: true\n")
    return folder


def changes(own: Path, task: Mapping[str, Any], positions: int = 512) -> dict[str, Any]:
    return {
        "evaluation.include_path": str(own),
        "evaluation.tasks": [task],
        "student.config.tie_word_embeddings": False,
        "student.config.max_position_embeddings": positions,
        "data.max_tokens": 64,
    }


def plain(folder: Path, own: Path, name: str, **options: Any) -> dict[str, Any]:
    """Return the scores of plain lm-eval, by metric and filter."""
    model = HFLM(pretrained=str(folder), device="cpu", batch_size=5)
    manager = TaskManager(include_path=str(own), include_defaults=False)
    done = lm_eval.simple_evaluate(
        model=model, tasks=[name], task_manager=manager, bootstrap_iters=0, **options
    )
    found: dict[str, Any] = done["results"][name]
    samples = [
        s for s in done["samples"][name] if s["filter"] == done["samples"][name][0]["filter"]
    ]
    return {**found, "samples": samples}


@pytest.mark.parametrize("shots", [0, 5])
@pytest.mark.parametrize(
    ("name", "metric"),
    [("own_choice", "acc"), ("own_choice", "acc_norm"), ("own_answers", "exact_match")],
)
@pytest.mark.parametrize("positions", [512, 96])
def test_the_numbers_of_plain_lm_eval(
    bench, own: Path, tmp_path: Path, shots: int, name: str, metric: str, positions: int
) -> None:
    """Few-shot prompts have more tokens than ``data.max_tokens``, and than the shorter context."""
    task = {"name": name, "metric": metric, "num_fewshot": shots}
    made = bench(changes(own, task, positions))
    model = made.model
    model.generation_config = GenerationConfig(repetition_penalty=1.7)
    loading.save(model, made.context.tokenizer, tmp_path / "model")
    ours = made.score(name)
    theirs = plain(tmp_path / "model", own, name, num_fewshot=shots)
    chosen = next(v for key, v in theirs.items() if key.partition(",")[0] == metric)
    assert ours.value == pytest.approx(chosen, abs=1e-9)
    values = [sample[metric] for sample in theirs["samples"]]
    assert [item.value for item in ours.items] == values
    if metric == "acc":
        assert 0 < ours.value < 1


def test_the_perplexity_of_plain_lm_eval(bench, own: Path, tmp_path: Path) -> None:
    made = bench(changes(own, {"name": "own_pages"}, positions=8))
    loading.save(made.model, made.context.tokenizer, tmp_path / "model")
    theirs = plain(tmp_path / "model", own, "own_pages")
    assert made.score("own_pages").value == pytest.approx(theirs["word_perplexity,none"], rel=1e-5)


def test_few_shot_examples_that_a_task_forbids(bench, own: Path) -> None:
    with pytest.raises(AdakdError, match=r"'own_no_shots' sets num_fewshot: 0"):
        bench(changes(own, {"name": "own_no_shots", "num_fewshot": 5})).score("own_no_shots")


def test_a_continuation_that_does_not_fit_is_told(bench, own: Path) -> None:
    task = {"name": "own_long"}
    made = bench(changes(own, task, positions=4))
    with pytest.raises(AdakdError, match=r"a continuation .* has \d+ tokens, more than the model"):
        made.score("own_long")
    with pytest.raises(AdakdError, match=r"'own_long': an option .* has \d+ tokens, more than .*4"):
        check_task(Task.model_validate(task), made.suite, made.context.tokenizer)


def test_a_group_is_scored_over_all_its_items(bench, own: Path, tmp_path: Path) -> None:
    made = bench(changes(own, {"name": "own_group", "num_fewshot": 2}))
    loading.save(made.model, made.context.tokenizer, tmp_path / "model")
    record = made.score("own_group")
    done = lm_eval.simple_evaluate(
        model=HFLM(pretrained=str(tmp_path / "model"), device="cpu", batch_size=5),
        tasks=["own_group"],
        num_fewshot=2,
        task_manager=TaskManager(include_path=str(own), include_defaults=False),
        bootstrap_iters=0,
    )
    assert record.value == pytest.approx(done["results"]["own_group"]["acc,none"])
    assert (record.n, len({item.id for item in record.items})) == (36, 36)
    assert record.value == pytest.approx(sum(item.value or 0 for item in record.items) / 36)


def test_a_group_that_is_no_mean_over_items_is_told(bench, own: Path) -> None:
    with pytest.raises(AdakdError, match=r"group 'own_macro' is not weighted by size"):
        bench(changes(own, {"name": "own_macro"})).score("own_macro")


def test_code_of_a_model_runs_only_where_that_is_confirmed(bench, own: Path) -> None:
    task = {"name": "own_code"}
    made = bench(changes(own, task))
    with pytest.raises(AdakdError, match=r"confirm_run_unsafe_code: true"):
        check_task(Task.model_validate(task), made.suite, made.context.tokenizer)
    confirmed = bench({**changes(own, task), "evaluation.confirm_run_unsafe_code": True}, "code")
    check_task(Task.model_validate(task), confirmed.suite, made.context.tokenizer)
    assert confirmed.score("own_code").n == 24
