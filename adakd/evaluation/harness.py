"""lm-eval in process: a model and its jobs -> scores with every item and every answer."""

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import lm_eval
import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from adakd.config import Suite
from adakd.config import Task as TaskConfig
from adakd.config.scoring import task_name
from adakd.data.token_ids import prompt_ids, response_ids
from adakd.errors import AdakdError, did_you_mean, one_line
from adakd.evaluation.answer_scores import answer_score
from adakd.evaluation.lm_eval_tasks import all_tasks, load, seed_as_lm_eval
from adakd.evaluation.serving import Answers, OwnAnswers
from adakd.evaluation.shared_prompts import (
    Pair,
    batches_alone,
    batches_of_prompts,
    groups,
    probe,
)
from adakd.evaluation.tasks import count_items
from adakd.metrics import Display
from adakd.metrics.lm_eval import CHOICE_DISPLAY, lm_eval_display
from adakd.models.continuations import Prompt, shared_logits
from adakd.models.decoding import DECODERS, Ends, Request
from adakd.models.forward import response_logits
from adakd.models.loading import DTYPES, use_plain_generation
from adakd.planning import Job
from adakd.policies import Decoding
from adakd.store.records import Item, ScoreRecord, Sort

_log = logging.getLogger(__name__)
OnShare = Callable[[float], None]
"""Called with the share of a job's requests that are done."""


class Harness(HFLM):  # type: ignore[misc]  # lm-eval is untyped
    """lm-eval's Hugging Face model, which reports progress to the caller instead of in bars.

    Instruction sets are read as in training: the same token ids, at most ``data.max_tokens``.
    Tasks of lm-eval are read as lm-eval does, at the model's own context length. Both ignore the
    generation settings that the model was saved with.

    Args:
        model: placed on its device.
        tokenizer: that of the model.
        suite: has the settings.
        answers: decodes the answers to instruction sets; an engine of this process if not given.
    """

    def __init__(
        self, model: Any, tokenizer: Any, suite: Suite, answers: Answers | None = None
    ) -> None:
        self._answers = answers or OwnAnswers(DECODERS[suite.evaluation.own_engine])
        self._sampling_seed: int | None = None
        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        dtype = DTYPES[suite.evaluation.precision]
        use_plain_generation(model, tokenizer)
        super().__init__(
            pretrained=model.to(dtype).eval(),
            tokenizer=tokenizer,
            batch_size=suite.evaluation.batch_size,
            device=str(model.device),
            max_length=suite.data.max_tokens,
        )
        self.on_share: OnShare = lambda _: None
        self._requests = self._done = 0
        self._shares: bool | None = None
        self._trained_length, self._as_trained = suite.data.max_tokens, True

    def read(self, sort: Sort, sampling_seed: int | None = None) -> None:
        """Read the next requests as those of an instruction set, or of a task of lm-eval.

        Args:
            sort: the sort of the task.
            sampling_seed: names the random streams of its answers.
        """
        self._as_trained, self._sampling_seed = sort != "task", sampling_seed
        self._max_length = self._trained_length if self._as_trained else None

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **options: Any
    ) -> list[int]:
        """Return the token ids of a text: of a prompt, unless special tokens are asked about."""
        if self._as_trained and add_special_tokens is None:
            return [*_prompt_tokens(self.tokenizer, string)]
        ids: list[int] = super().tok_encode(string, add_special_tokens, **options)
        return ids

    def tok_batch_encode(
        self,
        strings: list[str],
        padding_side: str = "left",
        left_truncate_len: int | None = None,
        truncation: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the token ids and the attention mask of texts, padded on the left."""
        if not self._as_trained:
            found: tuple[torch.Tensor, torch.Tensor] = super().tok_batch_encode(
                strings, padding_side, left_truncate_len, truncation
            )
            return found
        prompts = (_prompt_tokens(self.tokenizer, text) for text in strings)
        encoded = [[*ids[-(left_truncate_len or 0) :]] for ids in prompts]
        longest = max(map(len, encoded))
        missing = [longest - len(ids) for ids in encoded]
        pad = self.tokenizer.pad_token_id
        rows = [[pad] * gap + ids for gap, ids in zip(missing, encoded, strict=True)]
        mask = [[0] * gap + [1] * (longest - gap) for gap in missing]
        return torch.tensor(rows), torch.tensor(mask)

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Return the token ids of a prompt and a continuation.

        lm-eval moves the white space at the end of a prompt to the continuation; a response to an
        instruction is tokenized apart from its prompt, as in training.
        """
        if not self._as_trained:
            context_ids, continuation_ids = super()._encode_pair(context, continuation)
            return context_ids, continuation_ids
        (response,) = response_ids([continuation], self.tokenizer)
        return [*_prompt_tokens(self.tokenizer, context)], response

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> Any:
        """Generate without a bar: answers to an instruction set by the suite's engine.

        The random stream of an answer is named by the sampling seed, the set and the item. So both
        arms of a pair draw the same numbers, whatever the batch.
        """
        self._requests, self._done = len(requests), 0
        if not self._as_trained:
            self._answers.hand_back(self.model)
            return super().generate_until(requests, disable_tqdm=True)
        settings = requests[0].args[1]  # those of the set
        most = settings["max_gen_toks"]
        asked = [
            Request(
                self.tok_encode(one.args[0])[-(self.max_length - most) :],
                most,
                f"sampling seed {self._sampling_seed}, {one.task_name}, item {one.doc['id']}",
            )
            for one in requests
        ]
        decoding = Decoding(
            settings["temperature"] if settings["do_sample"] else 0.0,
            settings.get("top_p", 1.0),
            settings.get("top_k", 0),
        )
        ends = Ends(self.tokenizer.eos_token_id, self.tokenizer.pad_token_id)
        found = self._answers(self.model, asked, decoding, ends, self.batch_size, self._count)
        end = self.tokenizer.eos_token
        return [self.tok_decode(tokens).split(end)[0] for tokens in found]

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> Any:
        """Score continuations without a bar."""
        self._answers.hand_back(self.model)
        self._requests, self._done = len(requests), 0
        return super().loglikelihood(requests, disable_tqdm=True)

    def _model_generate(self, context: Any, *args: Any, **kwargs: Any) -> Any:
        generated = super()._model_generate(context, *args, **kwargs)
        self._count(len(context))
        return generated

    def _loglikelihood_tokens(
        self, requests: list[Any], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        """Return lm-eval's values, from logits of the continuations alone.

        Its own method applies the LM head and a softmax at every token of the prompts too.

        Raises:
            AdakdError: a continuation is longer than the context.
        """
        longest = max((len(continuation) for *_, continuation in requests), default=0)
        if longest > self.max_length:
            limit = "data.max_tokens" if self._as_trained else "the model's context length"
            raise AdakdError(
                f"a continuation to score has {longest} tokens, more than {limit} "
                f"({self.max_length}): leave out its task, or raise that limit"
            )
        pairs = [(tuple(context), tuple(continuation)) for _, context, continuation in requests]
        answers: dict[int, tuple[float, bool]] = {}
        size = override_bs or self.batch_size
        prompts, alone = groups(pairs, self.max_length)
        if prompts and not self._shares_prompts([pairs[i] for i in probe(prompts)]):
            prompts, alone = [], [*range(len(pairs))]
        batches = batches_of_prompts(prompts, pairs, size)
        read = [(batch, self._shared_likelihoods) for batch in batches]
        read += [(batch, self._likelihoods) for batch in batches_alone(alone, pairs, size)]
        for batch, likelihoods in read:
            answers |= zip(batch, likelihoods([pairs[i] for i in batch]), strict=True)
            self._count(len(batch))
        return [answers[number] for number in range(len(requests))]

    def _shares_prompts(self, pairs: Sequence[Pair]) -> bool:
        """Return whether the model gives the same values if continuations share their prompts.

        Asked once, with two options of two of its questions: caches of unusual architectures may
        not bear padding, or may not be repeated.
        """
        if self._shares is None:
            try:
                # The second of two options has the cache of a repeated row.
                ours = self._shared_likelihoods(pairs)[1::2]
                whole = self._likelihoods(pairs[1::2])
            except Exception as error:  # a model of any kind refuses in its own way
                self._shares, why = False, one_line(error)
            else:
                # bfloat16 has an eighth between logits of 16 to 32; both orders round.
                tolerance = 1e-4 if self.model.dtype == torch.float32 else 0.25
                self._shares = all(
                    abs(one - other) <= tolerance * len(continuation)
                    for (one, _), (other, _), (_, continuation) in zip(
                        ours, whole, pairs[1::2], strict=True
                    )
                )
                why = "its cache gives other values"
            if not self._shares:
                name = type(self.model).__name__
                _log.warning("%s reads a prompt anew for each of its options: %s", name, why)
        return self._shares

    @torch.inference_mode()
    def _shared_likelihoods(self, pairs: Sequence[Pair]) -> list[tuple[float, bool]]:
        """Return what :meth:`_likelihoods` does, for pairs sorted by context, each read once."""
        prompts = [
            Prompt(context, [continuation for _, continuation in same])
            for context, same in groupby(pairs, key=itemgetter(0))
        ]
        return _from_logits(shared_logits(self.model, prompts), pairs)

    @torch.inference_mode()
    def _likelihoods(self, pairs: Sequence[Pair]) -> list[tuple[float, bool]]:
        """Return log-likelihood, and whether it is greedy, of each continuation in its context."""
        rows = [
            (context + continuation)[-(self.max_length + 1) :] for context, continuation in pairs
        ]
        inputs = torch.zeros(len(rows), max(map(len, rows)) - 1, dtype=torch.long)
        asked = torch.zeros_like(inputs, dtype=torch.bool)
        for number, (row, (_, continuation)) in enumerate(zip(rows, pairs, strict=True)):
            inputs[number, : len(row) - 1] = torch.tensor(row[:-1])
            asked[number, len(row) - 1 - len(continuation) : len(row) - 1] = True
        inputs = inputs.to(self.device)
        seen = torch.ones_like(inputs)  # padding too: it is on the right, unseen by any token
        batch = {"input_ids": inputs, "attention_mask": seen}
        return _from_logits(response_logits(self.model, batch, asked.to(self.device)), pairs)

    def _count(self, requests: int) -> None:
        self._done += requests
        self.on_share(min(1.0, self._done / max(1, self._requests)))


def _from_logits(logits: torch.Tensor, pairs: Sequence[Pair]) -> list[tuple[float, bool]]:
    """Return log-likelihood, and whether it is greedy, from the logits of all continuations."""
    wanted = torch.tensor([token for _, continuation in pairs for token in continuation])
    wanted = wanted.to(logits.device)
    chosen = logits.log_softmax(-1, torch.float32).gather(-1, wanted[:, None]).squeeze(-1)
    greedy = logits.argmax(-1) == wanted
    sizes = [len(continuation) for _, continuation in pairs]
    parts = zip(chosen.split_with_sizes(sizes), greedy.split_with_sizes(sizes), strict=True)
    return [(float(part.sum()), bool(same.all())) for part, same in parts]


def together(
    groups: Iterable[Sequence[Job]], suite: Suite, tasks: Path
) -> Iterator[tuple[Sequence[Job], ...]]:
    """Yield groups of jobs with those that are decoded with them: small sets share their batches.

    Sets under one sampling seed go together, in order, until their answers fill four batches: what
    an interruption loses stays small.

    Args:
        groups: jobs that differ in the metric alone.
        suite: has the settings of their tasks.
        tasks: the folder that :func:`~adakd.evaluation.tasks.write_tasks` filled.
    """
    enough, items = 4 * suite.evaluation.batch_size, Counter[int | None]()
    waiting: dict[int | None, list[Sequence[Job]]] = defaultdict(list)
    for jobs in groups:
        seed = jobs[0].sampling_seed
        if jobs[0].task not in suite.evaluation.sets:
            yield (jobs,)
            continue
        waiting[seed].append(jobs)
        items[seed] += count_items(tasks, jobs[0].task)
        if items[seed] >= enough:
            yield tuple(waiting.pop(seed))
            del items[seed]
    yield from map(tuple, waiting.values())


def score(
    harness: Harness,
    groups: Sequence[Sequence[Job]],
    suite: Suite,
    tasks: Path,
    on_share: OnShare = lambda _: None,
) -> tuple[ScoreRecord, ...]:
    """Return the scores of jobs; of those that share their answers, the first one holds the texts.

    Args:
        harness: the model of the jobs' cell.
        groups: jobs that differ in the metric alone; several groups, as :func:`together` yields
            them, are decoded together and share the time by their items.
        suite: has the settings of the tasks.
        tasks: the folder that :func:`~adakd.evaluation.tasks.write_tasks` filled.
        on_share: called with the share of the requests that are done.

    Raises:
        AdakdError: lm-eval does not know the task or its metric, or cannot reach its data.
    """
    harness.on_share = on_share
    first = groups[0][0]
    if first.task in suite.evaluation.sets:
        harness.read("answers", first.sampling_seed)
        return tuple(_answer_scores(harness, groups, suite, tasks))
    return (_task_score(harness, first, suite, tasks),)


def _answer_scores(
    harness: Harness, groups: Sequence[Sequence[Job]], suite: Suite, tasks: Path
) -> Iterator[ScoreRecord]:
    """Yield the scores of the answers to some instruction sets, by each metric."""
    start = time.perf_counter()
    names = [task_name(jobs[0].task) for jobs in groups]
    loaded = TaskManager(include_path=str(tasks), include_defaults=False).load(names)
    result = _evaluate(harness, loaded, suite)
    each = (time.perf_counter() - start) / sum(len(result["samples"][name]) for name in names)
    for jobs, name in zip(groups, names, strict=True):
        samples = [*_samples(result, name, name)]
        references = [sample["doc"]["references"] for sample in samples]
        for number, job in enumerate(jobs):
            items = _items(samples, str(job.metric), texts=not number)
            yield answer_score(job, items, references, 0.0 if number else each * len(items))


def _task_score(harness: Harness, job: Job, suite: Suite, tasks: Path) -> ScoreRecord:
    """Return the score of a multiple-choice task of an instruction set, or of one of lm-eval."""
    start = time.perf_counter()
    name, sort, asked = _asked(job, suite)
    harness.read(sort)
    if sort == "task":
        seed_as_lm_eval()
        loaded = load(all_tasks(suite.evaluation.include_path), name, asked)
    else:
        loaded = TaskManager(include_path=str(tasks), include_defaults=False).load([name])
    result = _evaluate(harness, loaded, suite, asked.limit)
    samples = [sample for task in loaded["tasks"] for sample in _samples(result, task, name)]
    seconds = time.perf_counter() - start
    first = next(iter(loaded["tasks"]))
    chosen = asked.metric or _first_metric(result, first)
    if samples and chosen not in samples[0]:
        known = did_you_mean(chosen, samples[0]["metrics"])
        raise AdakdError(f"evaluation.tasks: {name!r} has no metric {chosen!r}{known}")
    items, value = _items(samples, chosen), _aggregate(result["results"][name], chosen, name)
    higher = result["higher_is_better"][first].get(chosen, True)
    return ScoreRecord(
        key=job.key,
        cell=job.cell,
        task=job.task,
        sort=sort,
        metric=chosen,
        **asdict(_display(sort, chosen, higher, [value, *_values(items)])),
        answers=job.answers,
        sampling_seed=job.sampling_seed,
        value=value,
        n=len(items),
        unscored=len(items) - len(_values(items)),
        seconds=seconds,
        items=items,
    )


def _evaluate(harness: Harness, loaded: Any, suite: Suite, limit: int | None = None) -> Any:
    return lm_eval.evaluate(
        lm=harness,
        task_dict=loaded,
        limit=limit,
        bootstrap_iters=0,  # the report has its own, paired intervals
        log_samples=True,
        confirm_run_unsafe_code=suite.evaluation.confirm_run_unsafe_code,
    )


def _asked(job: Job, suite: Suite) -> tuple[str, Sort, TaskConfig]:
    """Return the lm-eval name, the sort and the settings of a multiple-choice or lm-eval job."""
    for choice in suite.evaluation.choices:
        if choice.name == job.task:
            return task_name(job.task), "choice", TaskConfig(name=job.task, metric=job.metric)
    asked = next(task for task in suite.evaluation.tasks if task.name == job.task)
    return asked.name, "task", asked


@lru_cache(maxsize=1 << 14)
def _prompt_tokens(tokenizer: Any, prompt: str) -> tuple[int, ...]:
    """Return the token ids of a prompt, which lm-eval asks for several times with every model."""
    return tuple(prompt_ids([prompt], tokenizer)[0])


def _samples(result: Any, task: str, name: str) -> Iterator[dict[str, Any]]:
    """Yield the samples of a task under its first filter; in a group, with ids of its own."""
    samples = result["samples"][task]
    for sample in samples:
        if sample["filter"] == samples[0]["filter"]:
            doc = sample["doc"]
            if task != name:
                doc = {**doc, "id": f"{task}:{doc.get('id', sample['doc_hash'])}"}
            yield {**sample, "doc": doc}


def _first_metric(result: Any, name: str) -> str:
    return str(next(iter(result["higher_is_better"][name])))


def _aggregate(scores: dict[str, Any], metric: str, name: str) -> float:
    for key, value in scores.items():
        if key.partition(",")[0] == metric:
            return float(value)
    raise AdakdError(f"evaluation.tasks: {name!r} has no score of the metric {metric!r}")


def _display(sort: Sort, metric: str, higher_is_better: bool, values: list[float]) -> Display:
    if sort == "choice":
        return CHOICE_DISPLAY
    return lm_eval_display(metric, higher_is_better, values)


def _items(
    samples: Sequence[Mapping[str, Any]], metric: str, texts: bool = True
) -> tuple[Item, ...]:
    return tuple(_item(sample, metric, texts) for sample in samples)


def _values(items: Sequence[Item]) -> list[float]:
    return [item.value for item in items if item.value is not None]


def _item(sample: Mapping[str, Any], metric: str, texts: bool) -> Item:
    value = sample.get(metric)
    generated = sample["filtered_resps"][0]
    return Item(
        id=str(sample["doc"].get("id", sample["doc_hash"])),
        value=float(value) if isinstance(value, int | float) else None,
        answer=generated if texts and isinstance(generated, str) else None,
    )
