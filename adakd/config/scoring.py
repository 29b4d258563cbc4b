"""Settings of the evaluation: sets, tasks, metrics, and how answers are generated."""

import shlex
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    PositiveFloat,
    PositiveInt,
    Tag,
    field_validator,
    model_validator,
)

from adakd.config.base import Config, FileName, Line, SuitePath
from adakd.config.numbers import Share
from adakd.config.sources import Selection, Source
from adakd.config.students import Precision
from adakd.errors import did_you_mean
from adakd.registry import PartSpec, Spec, named

DEFAULT_METRIC = "rouge_l"
"""The metric of generated answers where none is chosen."""
OwnEngine = Literal["continuous", "batches"]
"""An engine in the process of a run."""


def task_name(name: str) -> str:
    """Return the lm-eval name of a set, or of a multiple-choice task made of one."""
    return "adakd_" + name.replace("-", "_")


class Sampling(Config):
    """How answers are generated, once for each seed."""

    seeds: tuple[int, ...] = Field(default=(10,), min_length=1)
    do_sample: bool = True
    temperature: PositiveFloat = 1.0
    top_p: Share = 1.0
    top_k: int = Field(default=0, ge=0)
    max_new_tokens: PositiveInt = 256


class Task(Config):
    """An lm-eval task by its name, scored in addition to the instruction sets."""

    name: str
    limit: PositiveInt | None = None
    num_fewshot: int | None = Field(default=None, ge=0)
    metric: str | None = None
    """The reported metric; the task's first one if not given."""


class ChoiceTask(Selection):
    """A multiple-choice task made of an instruction set.

    Which of four answers is the reference? The other three are references of other items.
    """

    set: str
    choices: int = Field(default=4, ge=2)
    max_words: PositiveInt = 30
    """Every option is cut to this many words."""

    @property
    def name(self) -> str:
        """The name of the task in plans and reports."""
        return f"{self.set}-choice"


_PLACES = {
    "folder": "would serve another model",
    "port": "would be sought elsewhere",
    "dtype": "may compute in another precision than evaluation.precision, as vLLM does for "
    "float32 models without a word",
}
"""What is filled into the command of a server, and what happens where it is not there."""


class Server(Config):
    """A server that decodes answers in an environment of its own, started for each model.

    It speaks OpenAI's completions with token ids as prompts, as vLLM and SGLang do. In each text
    ``{folder}`` stands for the folder of the model, ``{port}`` for a free port and ``{dtype}`` for
    ``evaluation.precision``: ``float32``, ``bfloat16`` or ``float16``.
    """

    kind: Literal["server"]
    start: Line
    """The command, run without a shell: ``vllm serve {folder} --port {port} --dtype {dtype}``."""
    base_url: Line = "http://127.0.0.1:{port}/v1"
    model: Line = "{folder}"
    """The model's name in requests."""
    wait: PositiveFloat = 600
    """Seconds until it has to answer ``GET /models``."""
    timeout: PositiveFloat = 600
    """Seconds that an answer may take."""
    retries: int = Field(default=3, ge=0)
    """Further attempts of a request; a server that is lost is started again, twice for a model."""

    @field_validator("start", "base_url", "model")
    @classmethod
    def _names(cls, text: str) -> str:
        try:
            text.format(**dict.fromkeys(_PLACES, ""))
            words = shlex.split(text)
        except (LookupError, ValueError, AttributeError, TypeError) as error:
            raise ValueError(
                f"{text!r} cannot be filled in ({error}): only {{folder}}, {{port}} and "
                "{dtype} are known, and other braces are doubled"
            ) from None
        if not words:
            raise ValueError("is empty: give a command")
        return text

    @model_validator(mode="after")
    def _reads_the_model(self) -> "Server":
        for name, otherwise in _PLACES.items():
            if f"{{{name}}}" not in self.start:
                raise ValueError(
                    f"start: the command has no {{{name}}}: it {otherwise}; such as "
                    "'vllm serve {folder} --port {port} --dtype {dtype}'"
                )
        return self

    @property
    def deciding(self) -> dict[str, str]:
        """What decides the answers."""
        return {"kind": self.kind, "start": self.start, "model": self.model}


class Evaluation(Config):
    """Sets, tasks and metrics that every model of a run is evaluated on."""

    sets: dict[FileName, Source] = Field(min_length=1)
    """Instruction sets by name: answers are generated and scored by each of the metrics."""
    metrics: tuple[PartSpec, ...] = Field(default=(Spec(name=DEFAULT_METRIC),), min_length=1)
    """Metrics of generated answers; averages, comparisons and judges go by the first one."""
    choices: tuple[ChoiceTask, ...] = ()
    tasks: tuple[Annotated[Task, BeforeValidator(named)], ...] = ()
    """lm-eval tasks by name."""
    include_path: SuitePath | None = None
    """A folder of lm-eval task files of your own, relative to the suite file."""
    confirm_run_unsafe_code: bool = False
    """Run lm-eval tasks that execute the code that a model writes, on this machine."""
    sampling: Sampling = Sampling()
    engine: Annotated[
        Annotated[OwnEngine, Tag("name")] | Annotated[Server, Tag("server")],
        Discriminator(lambda value: "name" if isinstance(value, str) else "server"),
    ] = "continuous"
    """How answers to instruction sets, and the responses that models write for trainings, are
    decoded; the first two give the same ones, but for rounding.

    ``continuous``: the next request is let in as soon as one is answered (transformers' continuous
    batching). ``batches``: padded batches, which last as long as their longest answer; for models
    whose attention cannot read a paged cache. ``{kind: server, start: ...}``: a server decodes the
    answers, and padded batches what models write for trainings."""
    batch_size: PositiveInt = 16
    """The most requests that are answered at a time."""
    precision: Precision = "float32"
    """As that of a training, ``auto`` included."""

    @property
    def own_engine(self) -> OwnEngine:
        """The engine of what models write for trainings, whose weights no server has."""
        return self.engine if isinstance(self.engine, str) else "batches"

    @model_validator(mode="after")
    def _distinct_names(self) -> "Evaluation":
        names = [*self.sets, *(choice.name for choice in self.choices)]
        names += [task.name for task in self.tasks]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name} is given twice: a score is stored under its task's name")
        ours: dict[str, str] = {}
        for name in names[: len(self.sets) + len(self.choices)]:
            # folded: task files of names that differ in case alone meet on some file systems
            twin = ours.setdefault(task_name(name).casefold(), name)
            if twin != name:
                raise ValueError(
                    f"{twin} and {name} would be one task, {task_name(twin)}: rename one"
                )
        metrics = [spec.name for spec in self.metrics]
        for name in metrics:
            if metrics.count(name) > 1:
                raise ValueError(f"metrics: {name} is given twice: leave one out")
        return self

    def metric(self, name: str) -> Spec:
        """Return the metric with this name, with its settings."""
        return next(spec for spec in self.metrics if spec.name == name)

    @model_validator(mode="after")
    def _true_references(self) -> "Evaluation":
        for name, source in self.sets.items():
            if source.kind == "generated" and source.noise:
                raise ValueError(
                    f"sets.{name}: noise damages answers to learn from, and these are references "
                    "to score against: remove it"
                )
        return self

    @model_validator(mode="after")
    def _choices_of_known_sets(self) -> "Evaluation":
        for choice in self.choices:
            if choice.set not in self.sets:
                raise ValueError(
                    f"choices: unknown set {choice.set!r}{did_you_mean(choice.set, self.sets)}"
                )
        return self
