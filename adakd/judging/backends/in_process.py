"""Judges in this process: a model gives the probability of each verdict and writes no text."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from pathlib import Path
from time import perf_counter
from typing import Any

from adakd.config import Pretrained
from adakd.config.base import FileName, ModelName
from adakd.config.judge import Asks
from adakd.errors import AdakdError
from adakd.judging.backends.label_probabilities import (
    Labels,
    RatingScale,
    read_verdict,
    typed_questions,
)
from adakd.judging.backends.prompt_templates import DEFAULTS, PromptTemplate
from adakd.judging.base import (
    ItemText,
    JudgeError,
    Question,
    Session,
    Tokens,
    Traits,
    Verdict,
    judge_backend,
)

_DECIDING = {".json", ".jinja", ".txt", ".model", ".safetensors", ".bin", ".gguf"}
_SAMPLES, _SAMPLE = 64, 1 << 16
_HELLO = Question(ItemText("Say yes.", "", ()), "yes", "no")


@judge_backend("in_process")
@dataclass(frozen=True, kw_only=True)
class InProcess:
    """Asks any chat model that transformers loads, in float32, on the accelerator or the CPU.

    The probabilities are those of the letters that label the options, at the first token of the
    reply. Lower precisions round them to a few values.
    """

    model: ModelName
    """A folder, or a hub id if there is a network."""
    revision: str | None = None
    """The revision of the hub id."""
    gguf_file: FileName | None = None
    """The GGUF file in the folder, for a model in that format."""
    asks: Asks = "pair"
    scale: RatingScale = (1, 10)
    """The lowest and the highest level of a rating judge."""
    references: bool = True
    """Whether the judge sees the reference answers."""
    prompt: Path | None = None
    """A Jinja2 template of the text before the question; the shipped one if not given."""
    verdicts: Labels = ("A", "B", "C")

    def __post_init__(self) -> None:
        self._prompt.check()
        if "decision" not in self._prompt.forms:
            raise AdakdError(
                f"prompt: {self._prompt.file} supports only replies in text: let its end depend on "
                "`form`, as in the shipped prompts"
            )

    def traits(self) -> Traits:
        """Return that it answers one question at a time."""
        model = self.model
        if (folder := Path(model)).is_dir():  # its name, without its location on this machine
            model = Path(self.gguf_file).stem if self.gguf_file else folder.resolve().name
        return Traits(asks=self.asks, model=model)

    def fingerprint(self) -> Mapping[str, Any]:
        """Return the settings, with the content of model and prompt instead of their paths."""
        return {
            "model": self._content,
            "revision": self.revision,
            "gguf_file": self.gguf_file,
            "asks": self.asks,
            "scale": self.scale,
            "references": self.references,
            "prompt": self._prompt.source,
            "verdicts": self.verdicts,
        }

    def tokens(self, question: Question) -> Tokens | None:
        """Estimate one token for every four bytes; nothing is generated."""
        return Tokens(prompt=ceil(len(self.render(question).encode()) / 4), completion=0)

    @asynccontextmanager
    async def open(self, mode: str | None = None) -> AsyncIterator[Session]:
        """Load the model and check that it answers; the event loop is not blocked.

        Raises:
            JudgeError: it cannot be loaded, or does not answer typed questions.
        """
        loop = asyncio.get_running_loop()
        # a single thread: a tokenizer must not be shared, not even after a cancelled question
        with ThreadPoolExecutor(1, "judge") as thread:
            model = await loop.run_in_executor(thread, _Model, self)

            async def ask(question: Question) -> Verdict:
                return await loop.run_in_executor(thread, model.ask, question)

            yield Session(ask, mode="decision")

    def render(self, question: Question) -> str:
        """Return the text shown to the model before the typed question."""
        if not self.references:
            question = replace(question, item=replace(question.item, references=()))
        return self._prompt.render(question, "decision")

    @cached_property
    def _prompt(self) -> PromptTemplate:
        return PromptTemplate(self.prompt or DEFAULTS[self.asks], self.asks, self._labels)

    @property
    def _labels(self) -> tuple[str, ...]:
        return self.verdicts if self.asks == "pair" else tuple(map(str, self.scale))

    @cached_property
    def _content(self) -> Any:
        """Return the identity of the model: for a folder its files, so that it may be moved."""
        folder = Path(self.model)
        if not folder.is_dir():
            return self.model
        files = sorted(file for file in folder.iterdir() if file.suffix in _DECIDING)
        return [(file.name, _sampled(file)) for file in files if file.is_file()]


class _Model:
    """A loaded model, for use in one thread."""

    def __init__(self, settings: InProcess) -> None:
        self._settings = settings
        self._questions = typed_questions(settings.asks, settings.verdicts, settings.scale)
        self._pipeline = _load(settings)
        config = self._pipeline.model.config.get_text_config()
        self._context: int | None = getattr(config, "max_position_embeddings", None)
        self._check()

    def ask(self, question: Question) -> Verdict:
        """Return the verdict; an error fails only its own question if others can be answered.

        Raises:
            JudgeError: no other question can be answered.
        """
        start = perf_counter()
        verdict = self._attempt(question)
        if isinstance(verdict, str):
            verdict = Verdict("failed", verdict)
            self._check()
        return replace(verdict, seconds=perf_counter() - start)

    def _check(self) -> None:
        verdict = self._attempt(_HELLO)
        why = verdict if isinstance(verdict, str) else verdict.reason
        if isinstance(verdict, str) or verdict.choice == "failed":
            raise JudgeError(
                f"model: {self._settings.model!r} does not answer typed questions: {why} (choose "
                "an instruct model with a chat template and tokens of single letters)"
            )

    def _attempt(self, question: Question) -> Verdict | str:
        """Return the verdict, or the message of an error."""
        import torch  # loaded already

        try:
            return self._decide(question)
        except Exception as error:  # custom model code or lack of memory: anything can be raised
            why = _short(error)
        torch.cuda.empty_cache()  # only now are the tensors that the error refers to released
        return why

    def _decide(self, question: Question) -> Verdict:
        settings, pipeline = self._settings, self._pipeline
        request = {"state": settings.render(question), "questions": self._questions}
        inputs = pipeline.preprocess(request)
        tokens = sum(prompt["input_ids"].shape[-1] for prompt, _ in inputs["prompts"])
        if self._context is not None and tokens > self._context:
            why = f"the prompt has {tokens} tokens, but the context has {self._context}"
            return Verdict("failed", why)
        answers = pipeline.postprocess(pipeline.forward(inputs))
        verdict = read_verdict(answers, settings.asks, settings.verdicts, settings.scale)
        return replace(verdict, prompt_tokens=tokens, completion_tokens=0)


def _load(settings: InProcess) -> Any:
    """Load the model into a pipeline.

    Raises:
        JudgeError: it cannot be loaded.
    """
    # torch and transformers take seconds to import, and loading a judge file needs neither
    from transformers.pipelines.decision import DecisionPipeline

    from adakd.models.loading import load_model, load_tokenizer, place

    base = Pretrained(
        kind="pretrained",
        model=settings.model,
        revision=settings.revision,
        gguf_file=settings.gguf_file,
    )
    try:
        model = place(load_model(base)).eval()
        return DecisionPipeline(model=model, tokenizer=load_tokenizer(base), device=model.device)
    except AdakdError as error:
        raise JudgeError(f"model: {str(error).removeprefix('model ')}") from None
    except Exception as error:  # damaged files and exotic models raise anything
        raise JudgeError(
            f"model: {settings.model!r} cannot be loaded: {_short(error)} (choose a smaller "
            "or another one, or use a server: judges/local.yaml)"
        ) from None


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"


def _sampled(file: Path) -> tuple[int, str]:
    """Return a file's size and a hash of evenly spaced samples; small files are hashed whole.

    Weights are many gigabytes, and two trainings of a model differ in nearly every layer; only
    their first bytes may be equal.
    """
    size = file.stat().st_size
    step = max(_SAMPLE, ceil((size - _SAMPLE) / (_SAMPLES - 1)))
    content = hashlib.sha256()
    with file.open("rb") as stream:
        for start in range(0, size, step):
            stream.seek(start)
            content.update(stream.read(_SAMPLE))
    return size, content.hexdigest()[:16]
