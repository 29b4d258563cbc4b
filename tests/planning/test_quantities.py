"""Numbers as text."""

import pytest

from adakd.planning.quantities import roughly


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (4.4, "4 s"),
        (47.0, "50 s"),
        (89.0, "90 s"),
        (91.0, "2 min"),
        (260.0, "4 min"),
        (5_399.0, "90 min"),
        (5_401.0, "2 h"),
        (40_000.0, "10 h"),
        (1e6, "10 days"),
        (1e8, "1,000 days"),
    ],
)
def test_a_rough_time_has_one_digit(seconds: float, text: str) -> None:
    assert roughly(seconds) == text


@pytest.mark.parametrize("number", range(60))
def test_a_rough_time_is_within_a_third(number: int) -> None:
    seconds = 2.0 * 1.3**number
    value, unit = roughly(seconds).replace(",", "").split()
    size = {"s": 1, "min": 60, "h": 3600, "days": 86_400}[unit]
    assert 0.66 < float(value) * size / seconds < 1.34
