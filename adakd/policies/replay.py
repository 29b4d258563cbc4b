"""Learning more and more from what the student wrote, some of it a while ago."""

from collections import deque
from collections.abc import Mapping
from dataclasses import astuple
from typing import Annotated, Any, Literal

from pydantic import Field

from adakd.config.numbers import Fraction, NotNegative, Share
from adakd.data.example import Example
from adakd.policies.base import (
    Decoding,
    Examples,
    MaxNewTokens,
    Policy,
    PolicyContext,
    SamplingTemperature,
    TopK,
    TopP,
    policy,
)

RISE = 0.1
"""By so much the threshold grows."""


@policy("replay")
class Replay(Policy):
    r"""DistiLLM: adaptive off-policy learning, with a buffer of the student's responses.

    A batch draws :math:`u \in [0, 1)`. With the threshold :math:`\varphi`, which starts at 0, it is

    - written anew by the student and stored, if :math:`u < \varphi (1 - t/T)`, or if
      :math:`u < \varphi` while the buffer is not full;
    - else taken from the buffer at random, if :math:`u < \varphi`;
    - else the data set's.

    After a validation whose loss rose by more than `eps`, :math:`\varphi` grows by 0.1, up to 1.
    The loss is the mean cross-entropy on `held_out` rows of the training set, a sample that is the
    same for all seeds and arms, and that this policy's students do not train on. The first
    validation is before the first step, the others follow at each share `validate_every` of the
    steps. With no held-out row there is no validation, and :math:`\varphi` stays as it is.

    Args:
        eps: what a rise must exceed.
        rise_since: the loss of the ``previous`` validation, or that at the last ``rise`` (at
            first, of the first validation), which the official code compares with.
        threshold: where :math:`\varphi` starts.
        capacity: sequences that the buffer holds; the oldest leave first.
        validate_every: share of the steps between two validations.
        held_out: rows to validate on.
        temperature: of sampling.
        top_p: of sampling.
        top_k: of sampling.
        max_new_tokens: of a response.

    References:
        `DistiLLM <https://arxiv.org/abs/2402.03898>`_, 2024.
    """

    def __init__(
        self,
        *,
        eps: NotNegative = 0.1,
        rise_since: Literal["previous", "rise"] = "previous",
        threshold: Share = 0.0,
        capacity: Annotated[int, Field(gt=0)] = 1000,
        validate_every: Fraction = 0.05,
        held_out: Annotated[int, Field(ge=0)] = 64,
        temperature: SamplingTemperature = 1.0,
        top_p: TopP = 1.0,
        top_k: TopK = 0,
        max_new_tokens: MaxNewTokens | None = None,
    ) -> None:
        self.eps, self.rise_since = eps, rise_since
        self.validate_every, self.held_out = validate_every, held_out
        self.threshold, self.fresh = threshold, threshold > 0 or held_out > 0
        self.reference: float | None = None
        self.buffer: deque[Example] = deque(maxlen=capacity)
        self.decoding = Decoding(temperature, top_p, top_k, max_new_tokens)

    def __call__(self, rows: Examples, context: PolicyContext, /) -> Examples:
        """Return new answers of the student, older ones, or the rows as they are."""
        every = max(1, round(self.validate_every * context.steps))
        if self.held_out and context.micro_batch == 0 and context.step % every == 0:
            self.observe(context.validate())
        u, full = context.rng.random(), len(self.buffer) == self.buffer.maxlen
        if u >= self.threshold:
            return rows
        if u < self.threshold * (1 - context.step / context.steps) or not full:
            written = context.generate(rows, self.decoding)
            self.buffer.extend(written)
            return written
        return context.rng.sample(self.buffer, min(len(rows), len(self.buffer)))

    def observe(self, loss: float) -> None:
        """Take in the loss of a validation."""
        rose = self.reference is not None and loss > self.reference + self.eps
        if rose:
            self.threshold = min(1.0, round(self.threshold + RISE, 10))
        if rose or self.reference is None or self.rise_since == "previous":
            self.reference = loss

    def state_dict(self) -> dict[str, Any]:
        """Return the threshold, the loss to compare with, and the buffer, oldest first."""
        buffer = [astuple(example) for example in self.buffer]
        return {"threshold": self.threshold, "reference": self.reference, "buffer": buffer}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self.threshold, self.reference = state["threshold"], state["reference"]
        self.buffer.clear()
        self.buffer.extend(Example(*fields) for fields in state["buffer"])
