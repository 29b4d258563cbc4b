"""What enters a key, by itself."""

import pytest

from adakd.config import Training
from adakd.config.loading import load_suite
from adakd.errors import AdakdError
from adakd.planning import plan
from adakd.planning.keys import deciding


def test_the_default_kernels_enter_no_key() -> None:
    """Or runs stored before the setting existed would be done again."""
    assert "kernels" not in deciding(Training(steps=1))
    assert deciding(Training(steps=1)) == deciding(Training(steps=1, kernels="torch"))
    assert deciding(Training(steps=1, kernels="triton"))["kernels"] == "triton"


def test_triton_kernels_give_their_trainings_keys_of_their_own() -> None:
    default, torch, triton = (
        {(cell.role, cell.divergence, cell.arm, cell.seed): cell.key for cell in plan(suite).cells}
        for suite in (
            load_suite("smoke"),
            load_suite("smoke", ["training.kernels=torch"]),
            load_suite("smoke", ["training.kernels=triton"]),
        )
    )
    assert default == torch
    changed = {cell[0] for cell, key in torch.items() if triton[cell] != key}
    same = {cell[0] for cell, key in torch.items() if triton[cell] == key}
    assert changed >= {"distilled"}
    assert same == {"teacher", "untrained"}


@pytest.mark.parametrize(
    ("override", "message"),
    [("training.kernels=cuda", "'torch' or 'triton'"), ("teacher.sft.kernels=triton", "remove it")],
)
def test_kernels_that_nothing_has_are_an_error(override: str, message: str) -> None:
    with pytest.raises(AdakdError, match=message):
        load_suite("smoke", [override])
