"""A model and a job -> a score with every item."""

import json
import math
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.models.huggingface import HFLM

from adakd.data.token_ids import prompt_ids
from adakd.errors import AdakdError
from adakd.evaluation.answer_scores import stored_answer_scores
from adakd.evaluation.harness import Harness, score, together
from adakd.evaluation.lm_eval_tasks import known_tasks
from adakd.evaluation.tasks import task_name
from adakd.metrics import metric, rouge_l
from adakd.models import loading
from adakd.store.records import ScoreRecord

SAMPLED = {"evaluation.sampling": {"max_new_tokens": 8}}

SETS = {"first": 4, "second": 2, "third": 3}
"""The rows of three instruction sets."""
THREE = {
    "evaluation.sets": {
        name: {"kind": "generated", "split": "test", "rows": rows} for name, rows in SETS.items()
    },
    "evaluation.choices": [{"set": "first"}],
}


def scored(made: Any, parts: Any) -> tuple[dict[Any, ScoreRecord], list[int]]:
    """Return the scores of groups of jobs, and the requests of each time that the engine ran."""
    asked, decode = [], made.harness._answers

    def counting(model: Any, requests: Any, *rest: Any) -> Any:
        asked.append(len(requests))
        return decode(model, requests, *rest)

    counting.hand_back = decode.hand_back
    made.harness._answers = counting
    found = [one for part in parts for one in score(made.harness, part, made.suite, made.tasks)]
    made.harness._answers = decode
    assert all(one.seconds > 0 for one in found)
    bare = [one.model_copy(update={"seconds": 0.0}) for one in found]
    return {(one.task, one.sampling_seed): one for one in bare}, asked


def references(tasks: Path, name: str) -> dict[str, list[str]]:
    lines = (tasks / f"{name}.jsonl").read_text().splitlines()
    return {item["id"]: item["references"] for item in map(json.loads, lines)}


def test_a_score_is_the_mean_rouge_of_the_answers_it_stores(bench, tmp_path: Path) -> None:
    made = bench()
    record = made.score("puzzles")
    known = references(made.tasks, "puzzles")
    assert [item.id for item in record.items] == list(known)
    for item in record.items:
        assert item.value == rouge_l(str(item.answer), known[item.id])
    values = [item.value for item in record.items if item.value is not None]
    assert record.value == pytest.approx(sum(values) / len(values))
    assert (record.n, record.unscored, record.metric) == (6, 0, "rouge_l")
    assert (record.sort, record.higher_is_better, record.sampling_seed) == ("answers", True, None)
    assert record.key == made.jobs("puzzles")[0].key


def test_a_prompt_is_tokenized_once_for_all_models(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt may have a million characters, and there may be a hundred models."""
    made, seen = bench(), []

    def spied(prompts: list[str], tokenizer: Any) -> list[list[int]]:
        seen.extend(prompts)
        return prompt_ids(prompts, tokenizer)

    monkeypatch.setattr("adakd.evaluation.harness.prompt_ids", spied)
    first = made.score("puzzles")
    made.harness = Harness(made.model, made.context.tokenizer, made.suite)
    assert made.score("puzzles").items == first.items
    assert seen
    assert len(seen) == len(set(seen))


def test_one_generation_serves_all_metrics(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["rouge_l", "token_f1", "exact_match"]
    made = bench({"evaluation.metrics": names})
    generated: list[int] = []
    generate = type(made.harness).generate_until

    def counting(self: Any, requests: list[Any], **rest: Any) -> Any:
        generated.append(len(requests))
        return generate(self, requests, **rest)

    monkeypatch.setattr(type(made.harness), "generate_until", counting)
    records = made.scores("puzzles")
    assert generated == [6]
    assert [record.metric for record in records] == names
    assert [record.title for record in records] == ["ROUGE-L", "token F1", "exact match"]
    assert {record.answers for record in records} == {records[0].key}
    assert [record.has_texts for record in records] == [True, False, False]
    known, texts = references(made.tasks, "puzzles"), records[0].items
    for record in records:
        values = [metric[record.metric](str(item.answer), known[item.id]) for item in texts]
        assert [item.value for item in record.items] == values
        assert record.value == pytest.approx(sum(values) / len(values))


@pytest.mark.parametrize("seeds", [(None,), (10, 20)])
def test_sets_of_few_answers_are_decoded_together(bench, seeds: tuple[int | None, ...]) -> None:
    """To the scores that each has by itself; the sampling seeds of a set stay apart."""
    sampled = {"max_new_tokens": 8, "do_sample": None not in seeds}
    made = bench({**THREE, "evaluation.sampling": sampled})
    groups = [made.jobs(name, seed) for name in SETS for seed in seeds]
    parts = [*together([made.jobs("first-choice"), *groups], made.suite, made.tasks)]
    assert [*map(len, parts)] == [1, *[len(SETS)] * len(seeds)]
    alone, asked = scored(made, [[jobs] for jobs in groups])
    assert asked == [rows for rows in SETS.values() for _ in seeds]
    found, asked = scored(made, parts[1:])
    assert asked == [sum(SETS.values())] * len(seeds)
    assert found == alone
    assert len({tuple(item.answer for item in score.items) for score in found.values()}) > 1


def test_a_set_that_fills_four_batches_waits_for_no_other(bench) -> None:
    made = bench({**THREE, "evaluation.batch_size": 1})
    parts = together([made.jobs(name) for name in SETS], made.suite, made.tasks)
    tasks = [[job.task for job, *_ in part] for part in parts]
    assert tasks == [["first"], ["second", "third"]]


def test_a_further_metric_of_stored_answers_is_what_it_would_have_been(bench) -> None:
    made = bench({"evaluation.metrics": ["rouge_l", "token_f1"]})
    jobs = made.jobs("puzzles")
    rouge, f1 = made.scores("puzzles")
    (later,) = stored_answer_scores(jobs[1:], rouge, made.suite)
    assert later.model_copy(update={"seconds": 0.0}) == f1
    more = bench({"evaluation.sets.puzzles.rows": 3, "evaluation.choices": []}, "other")
    with pytest.raises(AdakdError, match=r"evaluation\.sets\.puzzles: item .* is not in the data"):
        list(stored_answer_scores(jobs[1:], rouge, more.suite))


def test_an_answer_that_cannot_be_scored_is_counted_and_left_out(bench, tmp_path: Path) -> None:
    (tmp_path / "picky.py").write_text(
        "from adakd import metric\n"
        "@metric('picky', title='picky', scale=1, higher_is_better=False)\n"
        "def picky(prediction, references):\n"
        "    return None if len(prediction) % 2 else 3.0\n"
        "@metric('never')\n"
        "def never(prediction, references):\n"
        "    return None\n"
    )
    changes = {"plugins": ["picky.py"], "evaluation.metrics": ["picky", "never"]}
    picky, never = bench({**changes, **SAMPLED}).scores("puzzles", 10)
    odd = [item for item in picky.items if len(str(item.answer)) % 2]
    assert [item.id for item in picky.items if item.value is None] == [item.id for item in odd]
    assert picky.unscored == len(odd) > 0
    assert (picky.value, picky.n, picky.higher_is_better, picky.scale) == (3.0, 6, False, 1)
    assert (never.unscored, math.isnan(never.value)) == (6, True)


def test_the_best_reference_of_several_counts(bench, tmp_path: Path) -> None:
    made = bench()
    answers = {item.id: item.answer for item in made.score("puzzles").items}
    file = tmp_path / "rows.jsonl"
    rows = [
        {"id": key, "instruction": "x", "output": "none", "outputs": ["none", "word", "owl pig"]}
        for key in answers
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"kind": "jsonl", "path": "rows.jsonl"}
    other = bench({"evaluation.sets.puzzles": source, "evaluation.choices": []}, "other")
    for item in other.score("puzzles").items:
        assert item.value == rouge_l(str(item.answer), ["none", "word", "owl pig"])


def test_greedy_answers_are_the_models_own(bench) -> None:
    made = bench({"evaluation.batch_size": 4})
    tokenizer, model = made.context.tokenizer, made.model.eval()
    answers = {item.id: item.answer for item in made.score("puzzles").items}
    lines = (made.tasks / "puzzles.jsonl").read_text().splitlines()
    for item in map(json.loads, lines):
        ids = tokenizer(item["prompt"], return_tensors="pt")["input_ids"]
        for _ in range(8):
            with torch.no_grad():
                word = model(input_ids=ids).logits[:, -1].argmax(-1, keepdim=True)
            if int(word) == tokenizer.eos_token_id:
                break
            ids = torch.cat([ids, word], 1)
        expected = tokenizer.decode(ids[0], skip_special_tokens=True)[len(item["prompt"]) :]
        assert answers[item["id"]] == expected


def test_a_seed_decides_what_is_sampled(bench) -> None:
    made = bench(SAMPLED)

    def answers(seed: int) -> list[str | None]:
        return [item.answer for item in made.score("puzzles", seed).items]

    one = answers(10)
    assert answers(11) != one
    assert answers(10) == one
    assert len(set(one)) > 1


def test_a_choice_is_the_likeliest_option_a_byte(bench) -> None:
    made = bench()
    record = made.score("puzzles-choice")
    assert (record.sort, record.n) == ("choice", 6)
    assert (record.metric, record.title, record.scale) == ("acc_norm", "accuracy", 100)
    assert all(item.answer is None for item in record.items)
    tokenizer, model = made.context.tokenizer, made.model.eval()
    lines = (made.tasks / "puzzles-choice.jsonl").read_text().splitlines()
    for item, scored in zip(map(json.loads, lines), record.items, strict=True):
        each = []
        for option in item["choices"]:
            start = len(tokenizer(item["prompt"])["input_ids"])
            ids = torch.tensor([tokenizer(item["prompt"] + option)["input_ids"]])
            with torch.no_grad():
                steps = model(input_ids=ids).logits[0, start - 1 : -1].log_softmax(-1)
            likelihood = steps.gather(-1, ids[0, start:, None]).sum()
            each.append(float(likelihood) / len(option.encode()))
        right = each.index(max(each)) == item["answer"]
        assert scored.value == float(right)
    assert record.value == pytest.approx(sum(i.value or 0 for i in record.items) / 6)


def test_likelihoods_are_lm_evals_own(bench) -> None:
    harness = bench({"evaluation.batch_size": 3}).harness
    chance, longest = random.Random(0), harness.max_length
    sizes = [(1, 1), (5, 1), (3, 7), (9, 2), (longest, 4), (longest + 9, 1), (1, longest), (2, 2)]

    def ids(count: int) -> list[int]:
        return [chance.randrange(harness.vocab_size) for _ in range(count)]

    requests = [((str(n), "x"), ids(one), ids(other)) for n, (one, other) in enumerate(sizes)]
    (_, context, _) = requests[1]
    best = int(harness.model(torch.tensor([context])).logits[0, -1].argmax())
    requests.append((("greedy", "x"), context, [best]))
    ours = harness._loglikelihood_tokens(requests)
    theirs = HFLM._loglikelihood_tokens(harness, requests, disable_tqdm=True)
    assert [same for _, same in ours] == [same for _, same in theirs] == [False] * 8 + [True]
    assert [value for value, _ in ours] == pytest.approx([value for value, _ in theirs], rel=1e-5)


@pytest.mark.parametrize("task", ["puzzles", "puzzles-choice"])
def test_progress_rises_to_the_whole(bench, task: str) -> None:
    shares: list[float] = []
    bench({"evaluation.batch_size": 2}).score(task, on_share=shares.append)
    assert shares == sorted(shares)
    assert len(shares) >= 3
    assert 0 < shares[0] < shares[-1] == 1


@pytest.mark.slow
def test_a_task_of_ones_own(bench, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "items.json").write_text(json.dumps([{"q": "cat", "a": f" {w}"} for w in "abcde"]))
    (own / "mine.yaml").write_text(
        f"""
task: mine
dataset_path: json
dataset_kwargs: {{data_files: {{test: {own / "items.json"}}}}}
test_split: test
output_type: loglikelihood
doc_to_text: "{{{{q}}}}"
doc_to_target: "{{{{a}}}}"
metric_list:
  - {{metric: perplexity, aggregation: perplexity, higher_is_better: false}}
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
"""
    )
    asked = {"evaluation.include_path": "own", "evaluation.tasks": [{"name": "mine", "limit": 3}]}
    record = bench(asked).score("mine")
    assert (record.sort, record.metric, record.n) == ("task", "perplexity", 3)
    assert not record.higher_is_better
    assert (record.title, record.scale) == ("perplexity", 1)
    assert record.value > 1
    asked["evaluation.tasks"] = [{"name": "mine", "metric": "acc"}]
    record = bench(asked).score("mine")
    assert (record.metric, record.n, record.higher_is_better) == ("acc", 5, True)
    assert (record.title, record.scale) == ("accuracy", 100)
    asked["evaluation.tasks"] = [{"name": "mine", "metric": "ac"}]
    with pytest.raises(AdakdError, match=r"'mine' has no metric 'ac'; did you mean 'acc'\?"):
        bench(asked).score("mine")


@pytest.mark.slow
def test_an_unknown_task_is_named(bench) -> None:
    with pytest.raises(AdakdError, match=r"no task or group 'arc_eazy' \(near: .*arc_easy"):
        bench({"evaluation.tasks": ["arc_eazy"]}).score("arc_eazy")


@pytest.mark.slow
def test_tasks_without_a_network(bench) -> None:
    with pytest.raises(AdakdError, match=r"the data of 'arc_easy' cannot be loaded"):
        bench({"evaluation.tasks": ["arc_easy"]}).score("arc_easy")


def test_a_set_added_later_is_found(bench) -> None:
    """In one process and one folder, as in a notebook."""
    bench().score("puzzles")
    more = {"evaluation.sets.riddles": {"kind": "generated", "split": "test", "rows": 3}}
    assert bench(more).score("riddles").n == 3
    assert bench({"evaluation.sets.puzzles.rows": 5}).score("puzzles").n == 5


@pytest.mark.slow
def test_known_tasks_are_lm_evals_and_ones_own(bench) -> None:
    made = bench()
    known = known_tasks(made.tasks)
    assert known == sorted(known)
    assert {"adakd_puzzles", "arc_easy", "hellaswag"} <= set(known)


@pytest.mark.slow
def test_plain_lm_eval_gives_the_same_value(bench, tmp_path: Path) -> None:
    made = bench({"evaluation.metrics": ["rouge_l", "token_f1"]})
    records = made.scores("puzzles")
    loading.save(made.model, made.context.tokenizer, tmp_path / "model")
    command: list[Any] = [
        sys.executable, "-m", "lm_eval", "run",
        "--model", "hf",
        "--model_args", f"pretrained={tmp_path / 'model'},dtype=float32,max_length=96",
        "--include_path", made.tasks,
        "--tasks", task_name("puzzles"),
        "--batch_size", 6,
        "--device", "cpu",
        "--output_path", tmp_path / "out",
    ]  # fmt: skip
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (file,) = (tmp_path / "out").rglob("results_*.json")
    scores = json.loads(file.read_text())["results"][task_name("puzzles")]
    for record in records:
        assert scores[f"{record.metric},none"] == pytest.approx(record.value, abs=1e-9)
