"""The likelihood of each text under both models."""

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from adakd.bridges.base import Array, Bridge, Side, bridge, complement, unit_sums

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
    the gradient is that of the published binary cross-entropy. Units are all texts between common
    boundaries: the published removal of biased chunks is left out.

    Args:
        tau: :math:`\tau`, which keeps small likelihoods from vanishing.

    References:
        `ALM <https://arxiv.org/abs/2503.20083>`_, 2025.
    """

    def __init__(self, *, tau: Annotated[float, Field(gt=0)] = 100.0) -> None:
        self.tau = tau

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
