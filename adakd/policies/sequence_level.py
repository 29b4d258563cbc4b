"""Train on responses that the teacher generates."""

from adakd.policies.base import (
    Decoding,
    MaxNewTokens,
    Policy,
    SamplingTemperature,
    TopK,
    TopP,
    policy,
)


@policy("sequence_level")
class SequenceLevel(Policy):
    """SeqKD: train on teacher responses, generated once before the training and stored.

    They are the same for all seeds and arms. The SeqKD paper decodes by beam search; here
    `temperature` 0 decodes greedily and 1 samples.

    References:
        `Sequence-Level Knowledge Distillation <https://arxiv.org/abs/1606.07947>`_, 2016.
    """

    def __init__(
        self,
        *,
        temperature: SamplingTemperature = 1.0,
        top_p: TopP = 1.0,
        top_k: TopK = 0,
        max_new_tokens: MaxNewTokens | None = None,
    ) -> None:
        self.rewriting = Decoding(temperature, top_p, top_k, max_new_tokens)
