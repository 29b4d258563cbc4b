"""What a suite file and a judge file may say: frozen models that reject what they do not know.

Nothing here needs torch, so a mistake in a suite is reported at once.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    model_validator,
)

from adakd.bounds import Share
from adakd.errors import did_you_mean
from adakd.registry import PartSpec, Spec, named


def _resolve(path: Path, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get("folder", Path())
    return Path(_portable(os.path.abspath(folder / path)))


def _portable(path: str) -> str:
    """Return a path as seen from the working directory where that is above it."""
    here = Path.cwd()
    return os.path.relpath(path) if Path(path).is_relative_to(here) else path


SuitePath = Annotated[Path, AfterValidator(_resolve)]
"""A path relative to the file that names it; then to the working directory, if it is below."""
ModelName = Annotated[str, AfterValidator(_portable)]
"""A hub id, or a folder relative to the working directory."""
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""Letters, digits, ``.``, ``_`` and ``-``."""


class Config(BaseModel):
    """Base of all settings and records: frozen, unknown keys rejected, infinity written as text."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, ser_json_inf_nan="strings"
    )


# --- data -----------------------------------------------------------------------------------


class Columns(Config):
    """Which columns of a hub data set hold the four fields of a row."""

    id: str | None = None
    instruction: str = "instruction"
    input: str | None = "input"
    output: str = "output"
    outputs: str | None = None


class Selection(Config):
    """Which rows of a source count."""

    limit: PositiveInt | None = None
    """Keep a seeded sample of this many rows, in source order."""
    min_response_words: int = 0
    """Leave out rows whose reference is shorter (11 for S-NI and UnNI in the paper)."""


class Jsonl(Selection):
    """A JSON Lines file with the fields id, instruction, input, output and optionally outputs."""

    kind: Literal["jsonl"]
    path: SuitePath
    """Relative to the suite file."""


class Hub(Selection):
    """A data set of the Hugging Face hub, or its local copy where ``data.folder`` is set."""

    kind: Literal["hub"]
    id: str
    split: str = "train"
    revision: str | None = None
    columns: Columns = Columns()
    local: Path | None = None
    """Read instead, as ``data.folder`` / this path, when ``data.folder`` is set."""


class Generated(Selection):
    """Rows made by the built-in generator of word puzzles; nothing is downloaded."""

    kind: Literal["generated"]
    rows: PositiveInt
    split: Literal["train", "test"] = "train"
    """The two splits share no item."""


Source = Annotated[Jsonl | Hub | Generated, Field(discriminator="kind")]


class Data(Config):
    """What students train on."""

    train: Source
    folder: SuitePath | None = None
    """A folder of local copies: every hub source with a ``local`` path is read from here."""
    template: Literal["alpaca", "plain", "chat"] = "alpaca"
    """``alpaca`` as in the paper, ``plain`` (instruction and input alone), or the tokenizer's."""
    max_prompt_tokens: PositiveInt = 256
    """Longer prompts are left out of training; in evaluation they lose their beginning."""
    max_tokens: PositiveInt = 512
    """Prompt and response together; the rest of a response is cut."""


# --- models ---------------------------------------------------------------------------------


class Pretrained(Config):
    """A model folder, a hub id, or a GGUF file in a folder."""

    kind: Literal["pretrained"]
    model: ModelName
    revision: str | None = None
    gguf_file: str | None = None


class Scratch(Config):
    """A model with random weights; its tokenizer is trained on the training data."""

    kind: Literal["scratch"]
    config: dict[str, Any]
    """A transformers configuration, with its ``model_type``."""
    vocabulary: PositiveInt = 1024
    """Size of the tokenizer that is trained; only a teacher trains one."""


class Pruned(Config):
    """A copy of the teacher's base model without some of its layers."""

    kind: Literal["pruned"]
    drop_layers: tuple[int, ...] = Field(min_length=1)


class Lora(Config):
    """Low-rank adapters (peft) instead of full fine-tuning."""

    r: PositiveInt = 16
    alpha: PositiveInt = 64
    dropout: Share = 0.1
    target_modules: tuple[str, ...] | Literal["all-linear"] = "all-linear"


class Training(Config):
    """How a student (or, in SFT, a teacher) is trained; the names are transformers' own."""

    steps: PositiveInt | None = None
    """Optimizer steps; give this or ``epochs``."""
    epochs: PositiveFloat | None = None
    batch_size: PositiveInt = 8
    """Sequences a device and forward pass."""
    gradient_accumulation: PositiveInt = 1
    length_pool: PositiveInt = 1
    """So many optimizer steps share their rows out by length: less padding, but the rows of a
    step are then of about one length. 1 leaves each step the rows that chance gave it."""
    learning_rate: PositiveFloat = 5e-5
    schedule: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    warmup: Share = 0.0
    """Share of the steps in which the learning rate rises."""
    weight_decay: float = Field(default=0.01, ge=0)
    max_grad_norm: PositiveFloat = 1.0
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    gradient_checkpointing: bool = False
    lora: Lora | None = None
    save_every: PositiveInt = 100
    """Steps between checkpoints: what a crash can cost at most."""
    report_to: tuple[str, ...] = ()
    """Loggers that transformers knows: tensorboard, wandb, mlflow, ..."""

    @property
    def sequences(self) -> int:
        """Sequences of an optimizer step on one device."""
        return self.batch_size * self.gradient_accumulation

    @model_validator(mode="after")
    def _one_length(self) -> "Training":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs, and null for the other")
        return self


class Teacher(Config):
    """The teacher: a base model, fine-tuned on the training data first where ``sft`` is given."""

    base: Annotated[Pretrained | Scratch, Field(discriminator="kind")]
    sft: Training | None = None
    cache: Literal["fp16", "float32", "bf16", "off"] = "fp16"
    """How its final hidden states are kept, to be computed once for all students: computed in
    float32 and kept in 16 bits; kept as they are, which rebuilds its logits bit for bit; computed
    and kept in bfloat16, for a teacher whose float32 weights do not fit; or not kept."""

    @model_validator(mode="after")
    def _trained(self) -> "Teacher":
        if self.base.kind == "scratch" and self.sft is None:
            raise ValueError("a teacher from scratch knows nothing: give it an `sft` section")
        return self


Student = Annotated[Pretrained | Scratch | Pruned, Field(discriminator="kind")]


# --- evaluation -----------------------------------------------------------------------------


class Sampling(Config):
    """How answers are generated; one evaluation for each seed."""

    seeds: tuple[int, ...] = Field(default=(10,), min_length=1)
    do_sample: bool = True
    temperature: PositiveFloat = 1.0
    top_p: Share = 1.0
    top_k: int = Field(default=0, ge=0)
    max_new_tokens: PositiveInt = 256


class Task(Config):
    """An lm-eval task by its name, scored beside the instruction sets."""

    name: str
    limit: PositiveInt | None = None
    num_fewshot: int | None = Field(default=None, ge=0)
    metric: str | None = None
    """Which of the task's metrics to report; the task's first one if not given."""


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


class Evaluation(Config):
    """What every model of the run is scored by."""

    sets: dict[FileName, Source] = Field(min_length=1)
    """Instruction sets by name: answers are generated and scored by ROUGE-L."""
    choices: tuple[ChoiceTask, ...] = ()
    tasks: tuple[Annotated[Task, BeforeValidator(named)], ...] = ()
    """Any lm-eval task by name."""
    include_path: SuitePath | None = None
    """A folder of lm-eval task files of your own, relative to the suite file."""
    sampling: Sampling = Sampling()
    batch_size: PositiveInt = 16
    precision: Literal["float32", "bf16", "fp16"] = "float32"

    @model_validator(mode="after")
    def _distinct_names(self) -> "Evaluation":
        names = [*self.sets, *(choice.name for choice in self.choices)]
        names += [task.name for task in self.tasks]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name} is given twice: a score is stored under its task's name")
        return self

    @model_validator(mode="after")
    def _choices_of_known_sets(self) -> "Evaluation":
        for choice in self.choices:
            if choice.set not in self.sets:
                raise ValueError(
                    f"choices: unknown set {choice.set!r}{did_you_mean(choice.set, self.sets)}"
                )
        return self


class Timing(Config):
    """The overhead measurement: steps of both arms taken in turn on the same batches."""

    pairs: int = Field(default=10, ge=0)
    """Counted pairs of steps; 0 turns the measurement off."""
    warmup: int = Field(default=2, ge=0)


class Diagnostics(Config):
    """A look inside the distilled students' trainings, for the report; it changes nothing there."""

    every: int = Field(default=0, ge=0)
    """Steps from one look to the next; the first and the last step are always looked at. 0 looks
    at none."""
    layer: int | None = None
    """Number of a decoder layer of the student, from 0 or, backwards, from -1: the gradient by its
    trained parameters is taken apart too. That takes six backward passes down to it a look."""


class Controls(Config):
    """What stands beside the distilled students in every table."""

    sft: bool = True
    """A student trained on the labels alone, with the students' own training settings."""
    longer: Share = 0.0
    """Under every divergence a plain student trained for this share of steps more, such as 0.1:
    what the time that an adaptive arm takes would have brought without it. 0 trains none."""


# --- the suite ------------------------------------------------------------------------------

TAKEN = ("teacher", "untrained", "sft", "file", "plain", "reference", "all", "again")
"""What a row cannot be labelled: tables and `adakd judge --against` mean something else by it."""


class Baseline(Config):
    """A row of the tables: a divergence, on the sequences that a data policy hands out."""

    divergence: PartSpec
    policy: PartSpec = Spec(name="offline")
    label: Annotated[str, Field(min_length=1)] | None = None
    """What tables call it; made of the two parts if not given."""
    arms: tuple[str, ...] | None = None
    """Which of the suite's arms it has beside the plain one; all of them if not given."""

    @model_validator(mode="after")
    def _no_other_meaning(self) -> "Baseline":
        if self.label in TAKEN:
            raise ValueError(f"label: {self.label!r} has a meaning already: choose another")
        return self

    def __str__(self) -> str:
        """Return the label, ``reverse_kl``, or ``reverse_kl, on_policy(lmbda=0.5)``."""
        policy = "" if self.policy.name == "offline" else f", {self.policy}"
        return self.label or f"{self.divergence}{policy}"


def _baseline(value: Any) -> Any:
    """Return a divergence alone, by name or with settings, as the baseline that it stands for."""
    if isinstance(value, dict) and {"name", "policy"} <= value.keys():
        raise ValueError("write the divergence's name as `divergence:` where there is a `policy:`")
    alone = isinstance(value, str | Spec) or (isinstance(value, dict) and "name" in value)
    return {"divergence": value} if alone else value


BaselineSpec = Annotated[Baseline, BeforeValidator(_baseline)]
"""A :class:`Baseline` in suite files, where a divergence is enough."""


class Published(Config):
    """A table of the AdaKD paper, which the report sets beside the run's own scores."""

    table: str
    """Its key in ``suites/paper/tables.json``."""
    model: str | None = None
    """Which part of it, such as ``qwen2-7b->1.5b``, where it has several."""
    rows: dict[str, str] = Field(min_length=1)
    """The published row of each of our methods, such as ``{"rkd + adakd": "rkd+adakd"}``."""
    over: str | None = None
    """Our method that gains are counted from; the plain arm of each divergence if not given."""


class Suite(Config):
    """What is compared with what: the whole content of a suite file."""

    name: str
    """From the file's name."""
    version: PositiveInt = 1
    """Rises when scores stop being comparable with those of earlier versions."""
    description: str = ""
    plugins: tuple[SuitePath, ...] = ()
    """Python files that register parts, relative to the suite file."""
    seeds: tuple[int, ...] = Field(min_length=1)
    """Training seeds: initial weights, data order and dropout."""
    data: Data
    teacher: Teacher
    student: Student
    divergences: tuple[BaselineSpec, ...] = Field(min_length=1)
    arms: dict[str, PartSpec] = {"adakd": Spec(name="adakd")}
    """Token-adaptive arms by name; the plain arm ``none`` is always there."""
    training: Training
    evaluation: Evaluation
    controls: Controls = Controls()
    timing: Timing = Timing()
    diagnostics: Diagnostics = Diagnostics()
    judges: tuple[str, ...] = ()
    """Judges that every run asks: shipped names or paths."""
    paper: tuple[Published, ...] = ()
    """Published tables that the report sets beside ours."""

    def arms_of(self, baseline: Baseline) -> dict[str, Spec]:
        """Return the arms of a baseline by name, without the plain one."""
        chosen = self.arms if baseline.arms is None else baseline.arms
        return {arm: spec for arm, spec in self.arms.items() if arm in chosen}

    @model_validator(mode="after")
    def _distinct(self) -> "Suite":
        labels = [str(baseline) for baseline in self.divergences]
        named_values = [("divergences", label) for label in labels]
        named_values += [("seeds", str(seed)) for seed in self.seeds]
        for what, value in named_values:
            if named_values.count((what, value)) > 1:
                raise ValueError(f"{what}: {value} is given twice")
        if "none" in self.arms:
            raise ValueError("arms: 'none' is the plain arm, which is always there")
        for number, baseline in enumerate(self.divergences):
            for arm in set(baseline.arms or ()) - set(self.arms):
                raise ValueError(
                    f"divergences.{number}.arms: unknown arm {arm!r}{did_you_mean(arm, self.arms)}"
                )
        return self

    @model_validator(mode="after")
    def _room_for_prompts(self) -> "Suite":
        answer = self.evaluation.sampling.max_new_tokens
        if answer >= self.data.max_tokens:
            raise ValueError(
                f"evaluation.sampling.max_new_tokens ({answer}) leaves no room for a prompt: "
                f"lower it, or raise data.max_tokens ({self.data.max_tokens})"
            )
        return self
