"""EGAD: token weights, temperatures and feature matching driven by the teacher's entropy."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from adakd.adaptive.base import Adaptive, Scheduled, TokenSelection, adaptive
from adakd.adaptive.temperatures import relative
from adakd.config.numbers import Finite, NotNegative, Positive, Share
from adakd.errors import AdakdError
from adakd.registry import Ours

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter


@adaptive("egad")
class EGAD(Scheduled, Adaptive):
    r"""Entropy-guided adaptive distillation around any divergence, in three parts.

    Each is driven by the teacher's entropy :math:`H_i = -\sum_v p_v \log p_v` at temperature 1,
    relative to the N valid tokens of the batch,
    :math:`h_i = \tanh \log (H_i / median(H))` between -1 and 1:

    .. math::
        loss = \frac{1}{N} \sum_i w_i \Big( \tau_i^2 D(softmax(z^p_i / \tau_i), softmax(z^q_i /
        \tau_i)) + \lambda\, [H_i > Q]\, \big(1 - \cos(P s_i, t_i)\big) \Big)

    1. A curriculum from low to high entropy: :math:`w_i \propto e^{k (2u - 1) h_i}` with mean 1
       over the batch, where :math:`u` is the share of the run that is done.
    2. A temperature monotone in the entropy: :math:`\tau_i = base \cdot e^{c h_i}`.
    3. Two branches: tokens with an entropy above the quantile :math:`Q` also match the final hidden
       states, the student's :math:`s_i` and the teacher's :math:`t_i`, through a learned linear map
       :math:`P` from the student's width to the teacher's. It starts as the identity, padded
       with zeros or cut, uses no random numbers, and is not part of the student.

    ours: only the paper's abstract was available, so :math:`h_i`, the three formulas and every
    constant are ours. The three switches are the paper's three parts; with all off this is the
    plain arm.

    Args:
        curriculum: whether tokens are weighted.
        temperature: whether tokens have individual temperatures.
        features: whether tokens of high entropy match hidden states. Both models must then be given
            as hidden states with their LM heads.
        strength: ours: :math:`k` of the curriculum.
        c: ours: strength of the temperature; a positive one softens tokens of high entropy, a
            negative one sharpens them.
        base: ours: temperature of a token of median entropy.
        quantile: ours: share of tokens considered low in entropy, which determines :math:`Q`.
        feature_weight: ours: :math:`\lambda`.

    References:
        `EGAD <https://arxiv.org/abs/2605.01732>`_, 2026.
    """

    def __init__(
        self,
        *,
        curriculum: bool = True,
        temperature: bool = True,
        features: bool = True,
        strength: Annotated[NotNegative, Ours] = 1.0,
        c: Annotated[Finite, Ours] = 0.5,
        base: Annotated[Positive, Ours] = 1.0,
        quantile: Annotated[Share, Ours] = 0.5,
        feature_weight: Annotated[NotNegative, Ours] = 1.0,
    ) -> None:
        self.curriculum, self.temperature, self.features = curriculum, temperature, features
        self.strength, self.c, self.base = strength, c, base
        self.quantile, self.feature_weight = quantile, feature_weight
        self.projection: Parameter | None = None

    def score(self, student: "Tensor", teacher: "Tensor", labels: "Tensor") -> "Tensor":
        """Return the teacher's entropy at each token of a block."""
        return -(teacher.exp() * teacher).sum(-1)

    def select(self, scores: "Tensor") -> TokenSelection:
        """Select all tokens; weight and temper them by their entropies ``(N,)``."""
        import torch

        place, weight = relative(scores), None
        if self.curriculum:
            weight = (self.strength * (2 * self.progress - 1) * place).exp()
            weight = weight / weight.mean()
        high = (scores > scores.quantile(self.quantile)).nonzero().squeeze(-1)

        def match(student: "Tensor", teacher: "Tensor") -> "Tensor":
            distance = self.feature_distance(student[high], teacher[high])
            values = self.feature_weight * distance
            return values.new_zeros(len(student)).index_copy(0, high, values)

        return TokenSelection(
            score=scores,
            positions=torch.arange(len(scores), device=scores.device),
            temperature=self.base * (self.c * place).exp() if self.temperature else None,
            weight=weight,
            match=match if self.features else None,
        )

    def feature_distance(self, student: "Tensor", teacher: "Tensor") -> "Tensor":
        r"""Return :math:`1 - \cos(P s_i, t_i)` of hidden states ``(N, d)``, of shape ``(N,)``.

        Raises:
            AdakdError: the widths of the hidden states are unknown.
        """
        from torch.nn import functional as F

        if self.projection is None:
            raise AdakdError(
                "egad, features: the widths of the hidden states are unknown: pass `widths` to the "
                "objective"
            )
        projected = student @ self.projection.to(student.dtype).T
        return 1 - F.cosine_similarity(projected, teacher, dim=-1)

    def connect(self, student_width: int, teacher_width: int) -> None:
        """Create the projection ``(teacher_width, student_width)``."""
        import torch

        if self.features:
            self.projection = torch.nn.Parameter(torch.eye(teacher_width, student_width))

    def parameters(self) -> "list[Parameter]":
        """Return the projection, if any."""
        return [] if self.projection is None else [self.projection]

    def state_dict(self) -> dict[str, Any]:
        """Return the step count and the projection."""
        learned = None if self.projection is None else self.projection.detach()
        return {**super().state_dict(), "projection": learned}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state."""
        super().load_state_dict(state)
        if self.projection is not None:
            self.projection.data.copy_(state["projection"])
