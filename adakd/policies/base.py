"""Interface and registry of data policies."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated, Any

from pydantic import Field

from adakd.config.numbers import Fraction, NotNegative
from adakd.data.example import Example
from adakd.registry import Registry

SamplingTemperature = NotNegative
"""Sampling temperature; 0 decodes greedily."""
TopP = Fraction
TopK = Annotated[int, Field(ge=0)]
"""0 disables the limit."""
MaxNewTokens = Annotated[int, Field(gt=0)]


@dataclass(frozen=True)
class Decoding:
    """Decoding settings; by default plain sampling from the model's distribution."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_new_tokens: int | None = None
    """At most what ``data.max_tokens`` leaves after the prompt, which is also the default."""


Examples = Sequence[Example]
Generate = Callable[[Examples, Decoding], Examples]
"""Generates responses of the current student to the prompts of the given examples.

They are generated when the returned examples are first looked at, at the latest at the end of the
step, together with all others that are waited for then."""


@dataclass(frozen=True)
class PolicyContext:
    """State of the training at one micro-batch, as a policy sees it."""

    step: int
    """Completed optimizer steps."""
    steps: int
    """Optimizer steps of the whole training."""
    micro_batch: int
    """Index of the micro-batch within its step."""
    rng: Random
    """Random numbers that depend only on seed, step and micro-batch: both arms of a pair draw the
    same ones, and so does a resumed training."""
    generate: Generate
    """Generates with the student; uses its own random numbers, one stream per example."""
    validate: Callable[[], float]
    """Returns the student's mean cross-entropy on the policy's held-out rows."""


class Policy:
    """Chooses the examples of each micro-batch; this base class leaves them unchanged.

    Registered with ``@policy("name")``; the keyword-only parameters of a subclass are its
    settings. Each training has its own instance.
    """

    fresh: bool = False
    """Whether it may return examples generated during the training. The teacher then runs on every
    batch, since its hidden states cannot be cached in advance."""
    writes: float = 0.0
    """About what share of the batches the student generates itself; for estimates."""
    held_out: int = 0
    """Number of rows held out of the training, for :attr:`PolicyContext.validate`."""
    rewriting: Decoding | None = None
    """Decoding with which the teacher regenerates all responses before the training; None to keep
    those of the data set."""

    def __call__(self, examples: Examples, context: PolicyContext, /) -> Examples:
        """Return the examples to train on in place of the data set's next ones."""
        return examples

    def state_dict(self) -> dict[str, Any]:
        """Return the state of a training, serialisable as JSON."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state."""


policy: Registry[Callable[..., Policy]] = Registry("data policy")
