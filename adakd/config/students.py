"""Teacher and student: which models they are, and how they are trained."""

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from adakd.config.base import Config, ModelName
from adakd.config.numbers import Share

Kernels = Literal["torch", "triton"]


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
    kernels: Kernels = "torch"
    """What computes the distillation loss: PyTorch, on any device, or Triton kernels on a GPU."""
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

    @model_validator(mode="after")
    def _no_kernels(self) -> "Teacher":
        if self.sft is not None and self.sft.kernels != "torch":
            raise ValueError("sft.kernels: only a distillation loss has Triton kernels: remove it")
        return self


Student = Annotated[Pretrained | Scratch | Pruned, Field(discriminator="kind")]
