"""Learning from what the teacher writes."""

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
    """SeqKD: the teacher's responses, generated once before the training and kept.

    They are the same for all seeds and arms. The paper of SeqKD decodes by beam search; here
    `temperature` 0 takes the likeliest token, and 1 samples.

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
