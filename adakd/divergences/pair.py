"""Both models' distributions over a block of tokens, the input of derivatives."""

from functools import cached_property
from math import e as euler
from math import log2
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

FLOOR = -1e9
"""Smallest log-probability passed to a divergence: it is finite, and its exponential is 0."""
LOG2_E = log2(euler)
"""Factor from a natural exponent to a binary one."""


class Pair:
    """Both models' distributions over a block of tokens, computed on first use.

    Args:
        student: logits, or log-probabilities, of shape ``(B, V)`` in float32 or float64.
        teacher: the same for the teacher.
    """

    def __init__(self, student: "Tensor", teacher: "Tensor") -> None:
        self._student, self._teacher = Distribution(student), Distribution(teacher)

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
        r""":math:`\log (q_v / p_v)`, a new tensor."""
        if self._student.ruled_out or self._teacher.ruled_out:
            return self.log_q - self.log_p
        return self._student.log_ratio(self._teacher)

    @property
    def ruled_out(self) -> bool:
        """Whether the student has vocabulary entries with a logit of (almost) -inf."""
        return self._student.ruled_out

    def by_logits(self, slope: "Tensor") -> "Tensor":
        r"""Turn a derivative by log q into one by logits, in place: :math:`g - q \sum_u g_u`."""
        return slope.addcmul_(self.q, slope.sum(-1, keepdim=True), value=-1)


class Distribution:
    """One model's distributions, given its logits ``(B, V)``."""

    def __init__(self, logits: "Tensor") -> None:
        self.logits = logits

    @cached_property
    def probabilities(self) -> "Tensor":
        """The probabilities, a new tensor."""
        return self.logits.softmax(-1)

    @cached_property
    def logarithms(self) -> "Tensor":
        """The log-probabilities, at least FLOOR; a new tensor."""
        if "probabilities" in vars(self):
            logarithms = (self.logits - self._largest).add_(self.likeliest)
        else:
            logarithms = self.logits.log_softmax(-1)
            self.ruled_out = bool(logarithms.amin() < FLOOR)
        return logarithms.clamp_min_(FLOOR) if self.ruled_out else logarithms

    def log_ratio(self, other: "Distribution") -> "Tensor":
        """Return the logarithm of its probabilities over those of `other`, a new tensor."""
        apart = (self._largest - other._largest).sub_(self.likeliest - other.likeliest)
        return (self.logits - other.logits).sub_(apart)

    @cached_property
    def likeliest(self) -> "Tensor":
        """Log-probability of the most likely entry, ``(B, 1)``: it determines the normaliser."""
        if "probabilities" in vars(self):
            return self.probabilities.amax(-1, keepdim=True).log_()
        return self.logarithms.amax(-1, keepdim=True)

    @cached_property
    def ruled_out(self) -> bool:
        """Whether there are logits of (almost) -inf: rare, so check cheaply first."""
        if bool(self.probabilities.amin() > 0):
            return False
        return bool((self._largest + FLOOR > self.logits.amin()).any())

    @cached_property
    def _largest(self) -> "Tensor":
        return self.logits.amax(-1, keepdim=True)


def exp(logarithm: "Tensor", power: float = 1.0) -> "Tensor":
    """Return ``e ** (power * logarithm)``, a new tensor.

    As a power of two, which PyTorch computes twice as fast as ``exp`` on a CPU: exact up to the
    rounding of the logarithm.
    """
    return (logarithm * (power * LOG2_E)).exp2_()
