"""Check an lm-eval task by one built request, before any training."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from lm_eval.models.utils import normalize_gen_kwargs

from adakd.config import Task
from adakd.data.token_ids import response_ids
from adakd.errors import AdakdError, did_you_mean, one_line

DEFAULT_NEW_TOKENS = 256
"""lm-eval's limit of generated tokens where a task gives none."""


def check_requests(task: Any, asked: Task, context_length: int, tokenizer: Any) -> None:
    """Build one request of a task and check its metric, its room for an answer and its options.

    Args:
        task: lm-eval's, with its number of few-shot examples.
        asked: the settings of the task in the suite.
        context_length: the most tokens of prompt and answer together.
        tokenizer: that of the models.

    Raises:
        AdakdError: the task builds no request, or would fail after the trainings.
    """
    where = f"evaluation.tasks: {asked.name!r}"
    try:
        task.build_all_requests(limit=1, rank=0, world_size=1)
        requests = list(task.instances)
    except Exception as error:  # a task file may hold any template and any function
        raise AdakdError(
            f"{where}: its first request cannot be built ({type(error).__name__}: "
            f"{one_line(error)}); fix the task file, or leave the task out"
        ) from None
    if not requests:
        raise AdakdError(f"{where}: the task has no items; leave it out")
    metrics = list(task.aggregation())
    if asked.metric is not None and asked.metric not in metrics:
        raise AdakdError(
            f"{where} has no metric {asked.metric!r}{did_you_mean(asked.metric, metrics)}"
        )
    for request in requests:
        if request.request_type == "generate_until":
            asks = normalize_gen_kwargs(dict(request.args[1]), DEFAULT_NEW_TOKENS)
            new_tokens = int(asks["max_gen_toks"])
            if new_tokens >= context_length:
                raise AdakdError(
                    f"{where}: its max_gen_toks ({new_tokens}) leaves no room for a prompt in "
                    f"{context_length} tokens; lower it in the task file"
                )
    for text in _continuations(task, asked.limit):
        # no token is shorter than a byte, so that few texts have to be tokenized
        if len(text.encode()) > context_length:
            (tokens,) = response_ids([text], tokenizer)
            if len(tokens) > context_length:
                raise AdakdError(
                    f"{where}: an option or target has {len(tokens)} tokens, more than the model's "
                    f"context length ({context_length}): leave the task out"
                )


def _continuations(task: Any, limit: int | None) -> Iterator[str]:
    """Yield the texts whose likelihood a task asks for, as far as its documents tell them."""
    tell = {"multiple_choice": "doc_to_choice", "loglikelihood": "doc_to_target"}
    name = tell.get(task.OUTPUT_TYPE or "")
    if name is None or not hasattr(task, name):
        return
    for document in islice(task.eval_docs, limit):
        found = getattr(task, name)(document)
        texts = found if isinstance(found, list) else [found]
        yield from (text for text in texts if isinstance(text, str))
