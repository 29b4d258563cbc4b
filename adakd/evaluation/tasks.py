"""Instruction sets as lm-eval tasks: a folder of task files that plain ``lm_eval`` reads too.

A run writes ``tasks/`` into its folder: for each set the rendered items (``dolly.jsonl``) and a
task file (``adakd_dolly.yaml``), and the metrics in ``metrics.json``. This scores any model outside
adakd as the run does::

    lm_eval --model hf --model_args pretrained=MODEL --include_path RUN/tasks --tasks adakd_dolly
"""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from adakd.config import ChoiceTask, Suite
from adakd.config.scoring import task_name
from adakd.data import Row, prompt_of, read_rows
from adakd.data.token_ids import response_ids
from adakd.errors import AdakdError
from adakd.metrics import metric
from adakd.metrics.lm_eval import CHOICE
from adakd.registry import Spec, load_plugins

HOOKS = "adakd_tasks"
"""The Python file beside the task files that holds the functions named in them."""
METRICS = "metrics.json"
"""The file beside the task files that names the metrics of the answers, and their plug-ins."""


def write_tasks(suite: Suite, tokenizer: Any, folder: Path) -> None:
    """Write every instruction set and multiple-choice task of `suite` as an lm-eval task."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{HOOKS}.py").write_text(
        '"""Functions for the task files in this folder; made by adakd."""\n\n'
        "from pathlib import Path\n\n"
        "from adakd.evaluation.tasks import answer_scorer\n"
        "from adakd.evaluation.tasks import items as items_of\n\n"
        '__all__ = ["items", "score_answer"]\n\n\n'
        "def items(file, **options):\n"
        '    """Return the items of a file in this folder."""\n'
        "    return items_of(str(Path(__file__).with_name(file)), **options)\n\n\n"
        f'score_answer = answer_scorer(Path(__file__).with_name("{METRICS}"))\n'
    )
    (folder / METRICS).write_text(_metrics_file(suite), encoding="utf-8")
    for name, source in suite.evaluation.sets.items():
        rows = read_rows(source, suite)
        _write(folder, name, _answer_items(rows, suite, tokenizer), _answer_task(suite))
    for choice in suite.evaluation.choices:
        rows = read_rows(suite.evaluation.sets[choice.set], suite)
        _write(folder, choice.name, _choice_items(rows, choice, suite, tokenizer), _CHOICE)


def items(file: str, **_: Any) -> dict[str, Any]:
    """Return the items of a file as lm-eval's data set; called by lm-eval."""
    import datasets

    lines = Path(file).read_bytes().splitlines()  # of bytes: texts may hold U+2028 and the like
    return {"test": datasets.Dataset.from_list([json.loads(line) for line in lines])}


def count_items(folder: Path, name: str) -> int:
    """Return the number of items of a set in a folder that :func:`write_tasks` filled."""
    with (folder / f"{name}.jsonl").open("rb") as lines:
        return sum(1 for _ in lines)


def answer_scorer(file: Path) -> Callable[[dict[str, Any], Sequence[str]], dict[str, float]]:
    """Return the function that computes all metrics of an answer, for lm-eval.

    A metric that cannot score the answer is left out: it has no part in lm-eval's mean.

    Args:
        file: the metrics, written by :func:`write_tasks`.
    """
    content = json.loads(file.read_text(encoding="utf-8"))
    load_plugins(tuple(map(Path, content["plugins"])))
    metrics = {spec["name"]: metric.build(Spec(**spec)) for spec in content["metrics"]}

    def score_answer(item: dict[str, Any], answers: Sequence[str]) -> dict[str, float]:
        values = {name: value(answers[0], item["references"]) for name, value in metrics.items()}
        return {name: float(value) for name, value in values.items() if value is not None}

    return score_answer


def _metrics_file(suite: Suite) -> str:
    specs = [spec.model_dump(mode="json") for spec in suite.evaluation.metrics]
    plugins = [str(file.resolve()) for file in suite.plugins]
    return json.dumps({"metrics": specs, "plugins": plugins}, indent=1) + "\n"


class _Function(str):
    """A function of the hooks file, written with lm-eval's YAML tag."""


class _Dumper(yaml.SafeDumper):
    """YAML writer for task files."""


_Dumper.add_representer(
    _Function, lambda dumper, name: dumper.represent_scalar("!function", f"{HOOKS}.{name}")
)


def _write(folder: Path, name: str, rows: list[dict[str, Any]], task: dict[str, Any]) -> None:
    file = folder / f"{name}.jsonl"
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    file.write_text("".join(lines), encoding="utf-8")
    content = {
        "task": task_name(name),
        "custom_dataset": _Function("items"),
        "dataset_kwargs": {"file": file.name},
        "test_split": "test",
        "target_delimiter": "",
        "metadata": {"version": 1.0},
        **task,  # fields by name: lm-eval would compile a template anew for each item
    }
    text = yaml.dump(content, Dumper=_Dumper, sort_keys=False)
    (folder / f"{task_name(name)}.yaml").write_text(text, encoding="utf-8")


def _answer_items(rows: list[Row], suite: Suite, tokenizer: Any) -> list[dict[str, Any]]:
    return [
        {
            "id": row.id,
            "prompt": prompt_of(row.instruction, row.input, suite.data.template, tokenizer),
            "reference": row.references[0],
            "references": list(row.references),
        }
        for row in rows
    ]


def _answer_task(suite: Suite) -> dict[str, Any]:
    sampling = suite.evaluation.sampling
    generation: dict[str, Any] = {"until": [], "max_gen_toks": sampling.max_new_tokens}
    if sampling.do_sample:
        chosen = sampling.model_dump(include={"do_sample", "temperature", "top_p", "top_k"})
        generation |= chosen
    else:
        generation["do_sample"] = False
    return {
        "output_type": "generate_until",
        "doc_to_text": "prompt",
        "doc_to_target": "reference",
        "process_results": _Function("score_answer"),
        "generation_kwargs": generation,
        "metric_list": [
            _listed(spec.name, metric.display(spec.name).higher_is_better)
            for spec in suite.evaluation.metrics
        ],
    }


def _listed(name: str, higher_is_better: bool) -> dict[str, Any]:
    return {"metric": name, "aggregation": "mean", "higher_is_better": higher_is_better}


_CHOICE: dict[str, Any] = {
    "output_type": "multiple_choice",
    "doc_to_text": "prompt",
    "doc_to_choice": "choices",
    "doc_to_target": "answer",
    "metric_list": [_listed(CHOICE, True)],
}


def _choice_items(
    rows: list[Row], choice: ChoiceTask, suite: Suite, tokenizer: Any
) -> list[dict[str, Any]]:
    """Return items whose wrong answers are references of other items, drawn with a fixed seed."""

    def option(reference: str) -> str:
        return " ".join(reference.split()[: choice.max_words])

    answers = sorted({option(row.references[0]) for row in rows})
    if len(answers) < choice.choices:
        raise AdakdError(
            f"evaluation.choices: set {choice.set!r} has {len(answers)} different references, "
            f"fewer than the {choice.choices} choices"
        )
    _check_options(answers, choice, suite, tokenizer)
    made = []
    for row in rows[: choice.limit]:
        chance = random.Random(row.id)
        right = [option(reference) for reference in row.references]
        others = [answer for answer in answers if answer not in right]
        if len(others) < choice.choices - 1:
            raise AdakdError(
                f"evaluation.choices: item {row.id!r} of set {choice.set!r} has "
                f"{len(others)} wrong answers in the set, too few for {choice.choices} choices"
            )
        options = [*chance.sample(others, choice.choices - 1), right[0]]
        chance.shuffle(options)
        made.append(
            {
                "id": row.id,
                "prompt": prompt_of(row.instruction, row.input, suite.data.template, tokenizer),
                "choices": options,
                "answer": options.index(right[0]),
            }
        )
    return made


def _check_options(
    options: Sequence[str], choice: ChoiceTask, suite: Suite, tokenizer: Any
) -> None:
    """Check before any training that every option fits into the length that students train on."""
    longest, limit = max(map(len, response_ids(options, tokenizer))), suite.data.max_tokens
    if longest > limit:
        raise AdakdError(
            f"evaluation.choices: an option of set {choice.set!r} has {longest} tokens, more than "
            f"data.max_tokens ({limit}): lower max_words ({choice.max_words}), or raise it"
        )
