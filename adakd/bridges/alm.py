"""The likelihood of each text under both models."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from adakd.bridges.base import Array, Bridge, Side, bridge, complement, unit_sums
from adakd.bridges.bias import Bias
from adakd.data.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import Tensor


CERTAIN = -1e-7
"""The largest log-likelihood: beside a text that is certain the other entry would be impossible,
and a divergence from it infinite."""


@bridge("alm")
class ALM(Bridge):
    r"""Compare how likely both models find the text of each unit (ALM).

    With the likelihoods :math:`q(c)` and :math:`p(c)` of a unit's text there are two shared
    entries: the text, with probability :math:`q(c)^{1/\tau}`, and any other. Under ``forward_kl``
    the gradient is that of the published binary cross-entropy.

    A unit that ends where one tokenizer alone could have gone on within a token is joined with the
    next ones: :class:`~adakd.bridges.bias.Bias`. Ours: the shares of tokens are those of the
    training rows' responses, and the last unit of a response is kept as it is. The published factor
    for a space after each unit is left out: it is a probability of the next unit's first token,
    which a row may not depend on.

    Args:
        tau: :math:`\tau`, which keeps small likelihoods from vanishing.
        bias: the largest bias of a unit's end; 1 keeps all common boundaries.

    References:
        `ALM <https://arxiv.org/abs/2503.20083>`_, 2025.
    """

    def __init__(
        self,
        *,
        tau: Annotated[float, Field(gt=0)] = 100.0,
        bias: Annotated[float, Field(ge=0, le=1)] = 1e-4,
    ) -> None:
        self.tau, self.bias = tau, bias

    def connect(self, student: Vocabulary, teacher: Vocabulary) -> None:
        """Also prepare the texts by which tokens could be longer."""
        super().connect(student, teacher)
        self._bias = Bias(student, teacher, self.bias)

    def align(self, student: Array, teacher: Array) -> Array:
        """Return common units that end without bias."""
        return self.align_all([(student, teacher)])[0]

    def align_all(self, responses: Sequence[tuple[Array, Array]]) -> list[Array]:
        """Return those of some responses: the tokenizers are asked about all of them together."""
        units = [super(ALM, self).align(*tokens) for tokens in responses]
        if self.bias == 1:
            return units
        return self._bias.unbiased_units(units, responses)

    def rows(self, student: Side, teacher: Side) -> "tuple[Tensor, Tensor]":
        """Return the text and any other, ``(M, 2)``."""
        import torch

        found = []
        for side in (student, teacher):
            logs = side.logits.log_softmax(-1)
            own = logs.gather(-1, side.ids.unsqueeze(-1)).squeeze(-1)
            text = (unit_sums(own, side) / self.tau).clamp_max(CERTAIN)
            found.append(torch.stack([text, complement(text)], -1))
        return found[0], found[1]

    def labels(self, student: Array) -> Array:
        """Return 0: the text itself."""
        return np.zeros(len(student), np.int64)
