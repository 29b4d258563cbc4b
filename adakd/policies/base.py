"""What a data policy is, and the registry that names policies."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated, Any

from pydantic import Field

from adakd.config.numbers import Fraction, NotNegative
from adakd.data.example import Example
from adakd.registry import Registry

SamplingTemperature = NotNegative
"""Of sampling; at 0 the likeliest token is taken."""
TopP = Fraction
TopK = Annotated[int, Field(ge=0)]
"""0 takes all tokens."""
MaxNewTokens = Annotated[int, Field(gt=0)]


@dataclass(frozen=True)
class Decoding:
    """How a model writes responses: sampled from its own distribution, as it is, by default."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_new_tokens: int | None = None
    """None is what ``data.max_tokens`` leaves beside the prompt, which is never exceeded."""


Examples = Sequence[Example]
Generate = Callable[[Examples, Decoding], list[Example]]
"""Of rows: the same prompts, each with a response of the student as it is at this moment."""


@dataclass(frozen=True)
class PolicyContext:
    """One micro-batch of a training, as a policy meets it."""

    step: int
    """Optimizer steps that are done."""
    steps: int
    """Optimizer steps of the whole training."""
    micro_batch: int
    """Place of the micro-batch in its step."""
    rng: Random
    """Random numbers of this turn: seed, step and place decide them, and nothing else does. So
    both arms of a pair draw the same ones, and so does a training that was killed."""
    generate: Generate
    """Lets the student write; has random numbers of its own, one stream for each row."""
    validate: Callable[[], float]
    """Return the student's mean cross-entropy on the rows that the policy holds out."""


class Policy:
    """Decides what a student learns from in the place of the data set's next rows.

    Registered with ``@policy("name")``; the keyword-only parameters of a subclass are its
    settings. An object serves one training. This one changes nothing.
    """

    fresh: bool = False
    """Whether it may hand out sequences that are made during the training. The teacher then reads
    every batch itself, since nothing can be kept of sequences that are not there yet."""
    held_out: int = 0
    """Rows to leave out of the training, for :attr:`PolicyContext.validate`."""
    rewriting: Decoding | None = None
    """How the teacher writes all responses of the data set anew before the training, if it does."""

    def __call__(self, rows: Examples, context: PolicyContext, /) -> Examples:
        """Return the rows to learn from, given those whose turn it is in the data set."""
        return rows

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes during a training, as JSON takes it."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""


policy: Registry[Callable[..., Policy]] = Registry("data policy")
