"""Settings of teacher and student models and of their training."""

from math import ceil
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from adakd.config.base import Config, Line, ModelName
from adakd.config.numbers import Share

Kernels = Literal["auto", "torch", "triton"]
Precision = Literal["auto", "float32", "bf16", "fp16"]


class Pretrained(Config):
    """A model folder, a hub id, or a GGUF file in a folder."""

    kind: Literal["pretrained"]
    model: ModelName
    """``./name`` is a folder beside the suite file, where there is one; other folders are relative
    to the working directory."""
    revision: str | None = None
    gguf_file: str | None = None


class Elsewhere(Config):
    """A student that another program trained: scored, judged and shown beside those of the run.

    It is not paired with them: data, order and steps of its training are its own.
    """

    name: Line
    """Its method in tables; trainings of one method share it."""
    model: ModelName
    """A model folder or hub id, adapters included."""
    revision: str | None = None
    gguf_file: str | None = None
    seed: int = 1
    """Tells trainings of one name apart."""
    note: str = ""
    """How it was trained, for the report."""

    @property
    def base(self) -> Pretrained:
        """The model as one to load."""
        return Pretrained(
            kind="pretrained",
            model=self.model,
            revision=self.revision,
            gguf_file=self.gguf_file,
        )


class Scratch(Config):
    """A randomly initialised model; its tokenizer is trained on the training data."""

    kind: Literal["scratch"]
    config: dict[str, Any]
    """A transformers configuration, including its ``model_type``."""
    vocabulary: PositiveInt = 1024
    """Vocabulary size of the trained tokenizer; only a teacher trains one."""


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
    """Training of a student or, in SFT, of a teacher; names follow transformers."""

    steps: PositiveInt | None = None
    """Optimizer steps; give this or ``epochs``."""
    epochs: Annotated[float, Field(gt=0, le=1_000_000)] | None = None
    batch_size: PositiveInt = 8
    """Sequences of a micro-batch, which is one forward pass."""
    gradient_accumulation: PositiveInt = 1
    """Micro-batches of an optimizer step, over all devices."""
    devices: PositiveInt = 1
    """GPUs that share the micro-batches of each step, a process each; on a machine without a GPU,
    processes on its cores. Step, loss and key are those of one device."""
    shard: bool = False
    """Spread the model's weights, gradients and Adam's moments over the ``devices``, for one that a
    GPU cannot hold with them; else each has all. A live teacher is spread too."""
    length_pool: PositiveInt = 1
    """Number of optimizer steps whose rows are regrouped by length: less padding, but the rows of a
    step then have similar lengths. 1 keeps the random order."""
    learning_rate: PositiveFloat = 5e-5
    schedule: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    warmup: Share = 0.0
    """Share of the steps in which the learning rate increases."""
    weight_decay: float = Field(default=0.01, ge=0)
    max_grad_norm: PositiveFloat = 1.0
    precision: Precision = "float32"
    """``auto`` takes what this device computes fastest in: ``bf16`` on a GPU or a processor that
    multiplies in it, else ``float32``. Keys and records have what it took."""
    gradient_checkpointing: bool = False
    kernels: Kernels = "auto"
    """Backend of the distillation loss: ``auto`` takes Triton kernels on a GPU that can run them,
    and PyTorch elsewhere; ``torch`` is PyTorch on any device; ``triton`` is an error without such a
    GPU."""
    lora: Lora | None = None
    save_every: PositiveInt = 100
    """Steps between checkpoints, so also the most that a crash can lose."""
    report_to: tuple[str, ...] = ()
    """Loggers supported by transformers: tensorboard, wandb, mlflow, ..."""

    @property
    def sequences(self) -> int:
        """Sequences per optimizer step."""
        return self.batch_size * self.gradient_accumulation

    @model_validator(mode="after")
    def _one_length(self) -> "Training":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs, and null for the other")
        return self

    @model_validator(mode="after")
    def _shared(self) -> "Training":
        """Check that every device gets as many micro-batches: what is split is the same loss."""
        if self.gradient_accumulation % self.devices:
            parts = self.devices * ceil(self.gradient_accumulation / self.devices)
            size = max(1, round(self.sequences / parts))
            raise ValueError(
                f"devices: {self.devices} cannot share the micro-batches of a step, of which there "
                f"are gradient_accumulation: {self.gradient_accumulation}: make that a multiple, "
                f"such as batch_size: {size} with gradient_accumulation: {parts}"
            )
        return self

    @model_validator(mode="after")
    def _sharded(self) -> "Training":
        if self.shard and self.devices == 1:
            raise ValueError(
                "shard: true spreads a model over devices, and devices is 1: set devices to 2 or "
                "more, or leave shard out"
            )
        if self.shard and self.precision == "fp16":
            raise ValueError(
                "shard: true is not made for the scaled gradients of precision: fp16: use bf16 or "
                "float32"
            )
        return self


class Teacher(Config):
    """The teacher: a base model, first fine-tuned on the training data if ``sft`` is given."""

    base: Annotated[Pretrained | Scratch, Field(discriminator="kind")]
    sft: Training | None = None
    seed: int = 1
    """Seed of its training, and of random weights before it; those of the untrained student too.
    It is no matter of ``seeds``, so that all of them have the same teacher."""
    cache: Literal["fp16", "float32", "bf16", "off"] = "fp16"
    """How its final hidden states, computed once for all students, are stored. ``fp16``: computed
    in float32 and stored in 16 bits. ``float32``: stored unchanged, which reproduces its logits bit
    for bit. ``bf16``: computed and stored in bfloat16, for a teacher whose float32 weights do not
    fit. ``off``: not stored."""

    @model_validator(mode="after")
    def _trained(self) -> "Teacher":
        if self.base.kind == "scratch" and self.sft is None:
            raise ValueError("a teacher from scratch is untrained: add an `sft` section")
        return self

    @model_validator(mode="after")
    def _no_kernels(self) -> "Teacher":
        if self.sft is not None and self.sft.kernels == "triton":
            raise ValueError("sft.kernels: only a distillation loss has Triton kernels: remove it")
        return self


Student = Annotated[Pretrained | Scratch | Pruned, Field(discriminator="kind")]
