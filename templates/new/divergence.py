"""A divergence of your own. Check it with `adakd check divergence NAME.py`.

Use it in a suite: `plugins: [./NAME.py]`, and `NAME` among the `divergences`.
"""

from typing import Annotated

from pydantic import Field
from torch import Tensor

from adakd import divergence


@divergence("NAME")
def NAME(
    student: Tensor, teacher: Tensor, *, mix: Annotated[float, Field(ge=0, le=1)] = 0.5
) -> Tensor:
    """Mix forward and reverse KL: write your own formula here.

    Args:
        student: log-probabilities of shape (..., V).
        teacher: log-probabilities of shape (..., V).
        mix: the weight of the forward KL. Every keyword-only parameter is a setting that a
            suite may give, checked against its annotation: `{name: NAME, mix: 0.3}`.

    Returns:
        One value a token, of shape (...). No mask, temperature or mean: adakd does those.
    """
    forward = (teacher.exp() * (teacher - student)).sum(-1)
    reverse = (student.exp() * (student - teacher)).sum(-1)
    return mix * forward + (1 - mix) * reverse
