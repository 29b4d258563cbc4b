"""lm-eval in process: a model and a job -> a score with every item and every answer."""

import logging
import time
from collections.abc import Callable
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import lm_eval
import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import set_seed

from adakd.config import Suite
from adakd.config import Task as TaskConfig
from adakd.errors import AdakdError, did_you_mean
from adakd.evaluation.tasks import CHOICE_METRIC, METRIC, task_name
from adakd.models.forward import response_logits
from adakd.models.loading import DTYPES
from adakd.planning import Job
from adakd.store.records import Item, ScoreRecord

OnShare = Callable[[float], None]
"""Called with the share of a job's requests that are done."""


class Harness(HFLM):  # type: ignore[misc]  # lm-eval is untyped
    """lm-eval's Hugging Face model, with progress for the caller instead of bars of its own."""

    def __init__(self, model: Any, tokenizer: Any, suite: Suite) -> None:
        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        dtype = DTYPES[suite.evaluation.precision]
        super().__init__(
            pretrained=model.to(dtype).eval(),
            tokenizer=tokenizer,
            batch_size=suite.evaluation.batch_size,
            device=str(model.device),
            max_length=suite.data.max_tokens,
        )
        self.on_share: OnShare = lambda _: None
        self._requests = self._done = 0

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> Any:
        """Generate without a bar."""
        self._requests, self._done = len(requests), 0
        return super().generate_until(requests, disable_tqdm=True)

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> Any:
        """Score continuations without a bar."""
        self._requests, self._done = len(requests), 0
        return super().loglikelihood(requests, disable_tqdm=True)

    def _model_generate(self, context: Any, *args: Any, **kwargs: Any) -> Any:
        generated = super()._model_generate(context, *args, **kwargs)
        self._count(len(context))
        return generated

    def _loglikelihood_tokens(
        self, requests: list[Any], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        """Return what lm-eval's own method does, with logits of the continuations alone.

        That one computes the output layer and a softmax at every token of the prompts too.
        """
        lengths = [len(context) + len(continuation) for _, context, continuation in requests]
        order = sorted(range(len(requests)), key=lengths.__getitem__, reverse=True)
        answers: dict[int, tuple[float, bool]] = {}
        size = override_bs or self.batch_size
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            answers |= zip(batch, self._likelihoods([requests[i][1:] for i in batch]), strict=True)
            self._count(len(batch))
        return [answers[number] for number in range(len(requests))]

    @torch.inference_mode()
    def _likelihoods(self, pairs: list[Any]) -> list[tuple[float, bool]]:
        """Return of each context with its continuation: log-likelihood, and if it is greedy."""
        rows = [
            (context + continuation)[-(self.max_length + 1) :] for context, continuation in pairs
        ]
        inputs = torch.zeros(len(rows), max(map(len, rows)) - 1, dtype=torch.long)
        asked = torch.zeros_like(inputs, dtype=torch.bool)
        for number, (row, (_, continuation)) in enumerate(zip(rows, pairs, strict=True)):
            inputs[number, : len(row) - 1] = torch.tensor(row[:-1])
            asked[number, len(row) - 1 - len(continuation) : len(row) - 1] = True
        inputs = inputs.to(self.device)
        seen = torch.ones_like(inputs)  # padding too: it is on the right, where no token looks
        batch = {"input_ids": inputs, "attention_mask": seen}
        logits = response_logits(self.model, batch, asked.to(self.device))
        wanted = torch.tensor([token for _, continuation in pairs for token in continuation])
        wanted = wanted.to(logits.device)
        chosen = logits.log_softmax(-1, torch.float32).gather(-1, wanted[:, None]).squeeze(-1)
        greedy = logits.argmax(-1) == wanted
        sizes = [len(continuation) for _, continuation in pairs]
        parts = zip(chosen.split_with_sizes(sizes), greedy.split_with_sizes(sizes), strict=True)
        return [(float(part.sum()), bool(same.all())) for part, same in parts]

    def _count(self, requests: int) -> None:
        self._done += requests
        self.on_share(min(1.0, self._done / max(1, self._requests)))


def score(
    harness: Harness, job: Job, suite: Suite, tasks: Path, on_share: OnShare = lambda _: None
) -> ScoreRecord:
    """Return the score of one job.

    Args:
        harness: the model of the job's cell.
        job: the task and the sampling seed.
        suite: what the task's settings are read from.
        tasks: the folder that :func:`~adakd.evaluation.tasks.write_tasks` filled.
        on_share: called with the share of the job's requests that are done.

    Raises:
        AdakdError: lm-eval does not know the task, or cannot reach its data.
    """
    harness.on_share = on_share
    start = time.perf_counter()
    name, sort, asked = _asked(job, suite)
    seed = job.sampling_seed if job.sampling_seed is not None else 0
    if sort == "task":
        manager = _all_tasks(suite.evaluation.include_path)
    else:
        manager = TaskManager(include_path=str(tasks), include_defaults=False)
    loaded = _load(manager, name, asked, seed)
    set_seed(seed)
    result = lm_eval.evaluate(
        lm=harness,
        task_dict=loaded,
        limit=asked.limit,
        bootstrap_iters=0,  # the report has its own, paired intervals
        log_samples=True,
    )
    samples = [s for s in result["samples"][name] if s["filter"] == _first_filter(result, name)]
    metric = asked.metric or _first_metric(result, name)
    if samples and metric not in samples[0]:
        known = did_you_mean(metric, samples[0]["metrics"])
        raise AdakdError(f"evaluation.tasks: {name!r} has no metric {metric!r}{known}")
    return ScoreRecord(
        key=job.key,
        cell=job.cell,
        task=job.task,
        sort=sort,
        metric=metric,
        higher_is_better=result["higher_is_better"][name].get(metric, True),
        sampling_seed=job.sampling_seed,
        value=_aggregate(result["results"][name], metric),
        n=len(samples),
        unscored=sum(not isinstance(sample[metric], int | float) for sample in samples),
        seconds=time.perf_counter() - start,
        items=tuple(_item(sample, metric) for sample in samples),
    )


def known_tasks(include: Path | None = None) -> list[str]:
    """Return every task that lm-eval knows, its own and those of a folder; takes a while."""
    return sorted(_all_tasks(include).all_tasks)


def check_task(asked: TaskConfig, suite: Suite) -> None:
    """Load an lm-eval task, to know now rather than later that it can be had.

    Raises:
        AdakdError: lm-eval does not know the task, or cannot reach its data.
    """
    _load(_all_tasks(suite.evaluation.include_path), asked.name, asked, seed=0)


def _asked(job: Job, suite: Suite) -> tuple[str, Any, TaskConfig]:
    """Return a job's lm-eval name, its sort and its settings."""
    if job.task in suite.evaluation.sets:
        return task_name(job.task), "answers", TaskConfig(name=job.task, metric=METRIC)
    if job.task in {choice.name for choice in suite.evaluation.choices}:
        return task_name(job.task), "choice", TaskConfig(name=job.task, metric=CHOICE_METRIC)
    asked = next(task for task in suite.evaluation.tasks if task.name == job.task)
    return asked.name, "task", asked


@lru_cache(maxsize=1)
def _all_tasks(include: Path | None) -> TaskManager:
    """Return lm-eval's index of its own thousands of tasks and those of a folder; takes a while."""
    return TaskManager(include_path=str(include) if include else None)


def _load(manager: TaskManager, name: str, asked: TaskConfig, seed: int) -> Any:
    """Return lm-eval's tasks for one name, its few-shot examples settled.

    Raises:
        AdakdError: an unknown task, or data that cannot be had.
    """
    if name not in manager.all_subtasks:
        near = get_close_matches(name, manager.all_subtasks, n=3)
        raise AdakdError(
            f"evaluation.tasks: lm-eval knows no single task {name!r} (near: {near or 'none'}); "
            "see `adakd ls tasks`, or set evaluation.include_path"
        )
    try:
        loaded = manager.load([name])
    except (ConnectionError, FileNotFoundError) as error:
        raise AdakdError(
            f"evaluation.tasks: the data of {name!r} cannot be had ({error}); "
            "leave it out where there is no network"
        ) from None
    task = loaded["tasks"][name]
    if asked.num_fewshot is not None:
        task.set_config(key="num_fewshot", value=asked.num_fewshot)
    elif task.get_config("num_fewshot") is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=seed)
    return loaded


def _first_metric(result: Any, name: str) -> str:
    return str(next(iter(result["higher_is_better"][name])))


def _first_filter(result: Any, name: str) -> str:
    return str(result["samples"][name][0]["filter"])


def _aggregate(scores: dict[str, Any], metric: str) -> float:
    return float(next(v for key, v in scores.items() if key.partition(",")[0] == metric))


def _item(sample: dict[str, Any], metric: str) -> Item:
    value = sample[metric]
    generated = sample["filtered_resps"][0]
    return Item(
        id=str(sample["doc"].get("id", sample["doc_hash"])),
        value=float(value) if isinstance(value, int | float) else None,
        answer=generated if isinstance(generated, str) else None,
    )
