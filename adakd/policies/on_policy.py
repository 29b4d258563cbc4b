"""Train on responses that the student generates itself."""

from adakd.config.numbers import Share
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


@policy("on_policy")
class OnPolicy(Policy):
    """GKD: with probability `lmbda` train on the student's own responses to a batch's prompts.

    The probability is per micro-batch. At 0 this is the data set, bit for bit.

    References:
        `On-Policy Distillation of Language Models <https://arxiv.org/abs/2306.13649>`_, 2023.
    """

    def __init__(
        self,
        *,
        lmbda: Share = 0.5,
        temperature: SamplingTemperature = 1.0,
        top_p: TopP = 1.0,
        top_k: TopK = 0,
        max_new_tokens: MaxNewTokens | None = None,
    ) -> None:
        self.lmbda, self.fresh, self.writes = lmbda, lmbda > 0, lmbda
        self.decoding = Decoding(temperature, top_p, top_k, max_new_tokens)

    def __call__(self, examples: Examples, context: PolicyContext, /) -> Examples:
        """Return the examples, or their prompts with responses of the student."""
        return (
            context.generate(examples, self.decoding)
            if context.rng.random() < self.lmbda
            else examples
        )
