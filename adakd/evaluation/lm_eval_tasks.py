"""lm-eval's tasks: an index of their names, what is checked of one, and loading as lm-eval does."""

import random
from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lm_eval.defaults import DEFAULT_OTHER_SEED, DEFAULT_RANDOM_SEED
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from adakd.config import Pruned, Suite
from adakd.config import Task as TaskConfig
from adakd.errors import AdakdError, one_line
from adakd.evaluation.requests import check_requests
from adakd.models.loading import context_length


def known_tasks(include: Path | None = None) -> list[str]:
    """Return the names of all tasks of lm-eval and of a folder; takes a while."""
    return sorted(all_tasks(include).all_tasks)


def check_task(asked: TaskConfig, suite: Suite, tokenizer: Any) -> None:
    """Load an lm-eval task and build a request of it, before hours of training.

    Args:
        asked: the settings of the task.
        suite: whose models it is for.
        tokenizer: of those models.

    Raises:
        AdakdError: lm-eval does not know the task or its metric, cannot reach its data, or cannot
            build its requests.
    """
    loaded = load(all_tasks(suite.evaluation.include_path), asked.name, asked)
    runs_code = any(getattr(task, "UNSAFE_CODE", False) for task in loaded["tasks"].values())
    if runs_code and not suite.evaluation.confirm_run_unsafe_code:
        raise AdakdError(
            f"evaluation.tasks: {asked.name!r} runs code that the model writes: leave it out, "
            "or set evaluation.confirm_run_unsafe_code: true where that is safe"
        )
    for task in loaded["tasks"].values():
        check_requests(task, asked, _context_length(suite), tokenizer)


def _context_length(suite: Suite) -> int:
    """Return the shortest context of the models of a suite, as lm-eval finds it."""
    bases = [base for base in (suite.teacher.base, suite.student) if not isinstance(base, Pruned)]
    return min(context_length(base) or HFLM._DEFAULT_MAX_LENGTH for base in bases)


@lru_cache(maxsize=1)
def all_tasks(include: Path | None) -> TaskManager:
    """Return the index of lm-eval's thousands of tasks and a folder's; takes a while.

    Raises:
        AdakdError: the folder cannot be read.
    """
    try:
        return TaskManager(include_path=str(include) if include else None)
    except Exception as error:  # the folder may hold any file
        raise AdakdError(f"evaluation.include_path: {include}: {one_line(error)}") from None


def seed_as_lm_eval() -> None:
    """Set the seeds that ``lm_eval`` sets before it loads a task."""
    random.seed(DEFAULT_RANDOM_SEED)
    np.random.seed(DEFAULT_OTHER_SEED)
    torch.manual_seed(DEFAULT_OTHER_SEED)


def load(manager: TaskManager, name: str, asked: TaskConfig) -> Any:
    """Return lm-eval's tasks for the name of one or of a group, ready for few-shot examples.

    Raises:
        AdakdError: an unknown task, unreachable data, examples that the task forbids, or a group
            whose score is not the mean over its items.
    """
    known = [*manager.all_subtasks, *manager.all_groups]
    if name not in known:
        near = get_close_matches(name, known, n=3)
        raise AdakdError(
            f"evaluation.tasks: lm-eval knows no task or group {name!r} (near: {near or 'none'}); "
            "see `adakd ls tasks`, or set evaluation.include_path"
        )
    try:
        loaded = manager.load([name])
    except (ConnectionError, FileNotFoundError) as error:
        raise AdakdError(
            f"evaluation.tasks: the data of {name!r} cannot be loaded ({error}); "
            "leave it out where there is no network"
        ) from None
    except Exception as error:  # a task file may hold any template and any function
        raise AdakdError(
            f"evaluation.tasks: {name!r} cannot be loaded ({type(error).__name__}: "
            f"{one_line(error)}); fix the task file, or leave the task out"
        ) from None
    if (group := loaded["groups"].get(name)) is not None:
        _check_group(group, loaded["groups"].values())
    for task in loaded["tasks"].values():
        _set_examples(task, asked)
    return loaded


def _check_group(group: Any, groups: Iterable[Any]) -> None:
    """Check that a group's score is a mean over its items, as differences are taken.

    Raises:
        AdakdError: it has no score, or tasks count alike whatever their number of items.
    """
    metrics = group.aggregate_metric_list
    if not metrics:
        names = ", ".join(task.task_name for task in group.getall_tasks())
        raise AdakdError(f"evaluation.tasks: group {group.name!r} has no score: ask for {names}")
    if not all(one.weight_by_size for each in groups for one in each.aggregate_metric_list or ()):
        raise AdakdError(
            f"evaluation.tasks: group {group.name!r} is not weighted by size, so its score is no "
            "mean over items: ask for its tasks one by one"
        )


def _set_examples(task: Any, asked: TaskConfig) -> None:
    """Set the number and seed of a task's few-shot examples as ``lm_eval`` does."""
    own = task.get_config("num_fewshot")
    if own == 0 and asked.num_fewshot:
        raise AdakdError(
            f"evaluation.tasks: {task.task_name!r} sets num_fewshot: 0, which lm-eval does not "
            "override: leave num_fewshot out"
        )
    if asked.num_fewshot is not None:
        task.set_config(key="num_fewshot", value=asked.num_fewshot)
    elif own is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=DEFAULT_OTHER_SEED)
