"""A block of both models' distributions, as derivatives see it."""

from functools import cached_property
from math import e as euler
from math import log2
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

FLOOR = -1e9
"""Least log-probability that a divergence sees: e to its power is 0, and 0 times it is not NaN."""
LOG2_E = log2(euler)
"""What turns a natural exponent into one of 2."""


class Pair:
    """Both models' distributions over a block of tokens; each part is made when asked for.

    Args:
        student: logits, or log-probabilities, of shape ``(B, V)`` in float32 or float64.
        teacher: the same of the teacher.
    """

    def __init__(self, student: "Tensor", teacher: "Tensor") -> None:
        self._student, self._teacher = Side(student), Side(teacher)

    @property
    def q(self) -> "Tensor":
        """The student's probabilities."""
        return self._student.probabilities

    @property
    def p(self) -> "Tensor":
        """The teacher's probabilities."""
        return self._teacher.probabilities

    @property
    def log_q(self) -> "Tensor":
        """The student's log-probabilities."""
        return self._student.logarithms

    @property
    def log_p(self) -> "Tensor":
        """The teacher's log-probabilities."""
        return self._teacher.logarithms

    @cached_property
    def gap(self) -> "Tensor":
        r""":math:`\log q_v / p_v`, a new tensor."""
        if self._student.ruled_out or self._teacher.ruled_out:
            return self.log_q - self.log_p
        return self._student.over(self._teacher)

    @property
    def ruled_out(self) -> bool:
        """Whether the student has words of logit -inf, or nearly so."""
        return self._student.ruled_out

    def by_logits(self, slope: "Tensor") -> "Tensor":
        r"""Make a derivative by log q one by logits, in place: :math:`g_v - q_v \sum_u g_u`."""
        return slope.addcmul_(self.q, slope.sum(-1, keepdim=True), value=-1)


class Side:
    """One model's distributions, of its logits ``(B, V)``."""

    def __init__(self, logits: "Tensor") -> None:
        self.logits = logits

    @cached_property
    def probabilities(self) -> "Tensor":
        """The probabilities, a new tensor."""
        return self.logits.softmax(-1)

    @cached_property
    def logarithms(self) -> "Tensor":
        """Their logarithms, at least FLOOR; a new tensor."""
        if "probabilities" in vars(self):
            logarithms = (self.logits - self._largest).add_(self.likeliest)
        else:
            logarithms = self.logits.log_softmax(-1)
            self.ruled_out = bool(logarithms.amin() < FLOOR)
        return logarithms.clamp_min_(FLOOR) if self.ruled_out else logarithms

    def over(self, other: "Side") -> "Tensor":
        """Return the logarithm of its probabilities over another's, a new tensor."""
        apart = (self._largest - other._largest).sub_(self.likeliest - other.likeliest)
        return (self.logits - other.logits).sub_(apart)

    @cached_property
    def likeliest(self) -> "Tensor":
        """The log-probability of the likeliest word, ``(B, 1)``: it gives away the normaliser."""
        if "probabilities" in vars(self):
            return self.probabilities.amax(-1, keepdim=True).log_()
        return self.logarithms.amax(-1, keepdim=True)

    @cached_property
    def ruled_out(self) -> bool:
        """Whether there are logits of -inf, or nearly so: rare, so look before touching all."""
        if bool(self.probabilities.amin() > 0):
            return False
        return bool((self._largest + FLOOR > self.logits.amin()).any())

    @cached_property
    def _largest(self) -> "Tensor":
        return self.logits.amax(-1, keepdim=True)


def exp(logarithm: "Tensor", power: float = 1.0) -> "Tensor":
    """Return ``e ** (power * logarithm)``, a new tensor.

    As a power of two, which PyTorch computes at twice the speed of ``exp`` on a CPU: good to
    the rounding of the logarithm.
    """
    return (logarithm * (power * LOG2_E)).exp2_()
