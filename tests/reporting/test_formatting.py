"""Numbers as the page writes them."""

import math

import pytest

from adakd.reporting import formatting
from adakd.stats import Ratio


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (formatting.number(-0.001), "0.00"),
        (formatting.number(-1234.5, 1), "−1,234.5"),
        (formatting.number(math.nan), "–"),
        (formatting.number(None), "–"),
        (formatting.signed(0.0), "0.00"),
        (formatting.signed(1.5), "+1.50"),
        (formatting.signed(-1.5), "−1.50"),
        (formatting.interval(-0.12, 0.34), "−0.12 to +0.34"),
        (formatting.percent(0.5), "50 %"),
        (formatting.percent(None), "–"),
        (formatting.p_value(0.00001), "< 0.001"),
        (formatting.p_value(0.0312), "0.031"),
        (formatting.p_value(None), "–"),
        (formatting.size(3 * 2**20), "3 MiB"),
        (formatting.size(3 * 2**30), "3.00 GiB"),
        (formatting.size(None), "–"),
        (formatting.shares(Ratio(0.62, 0.514, 0.7191, 9)), "51–72 %"),
        (formatting.shares(Ratio(0.62, 0.514, 0.7191, 9), 1), "51.4–71.9 %"),
        (formatting.money(1.239, "USD"), "1.24 USD"),
        (formatting.money(0.00421, "USD"), "0.0042 USD"),
        (formatting.money(0, "USD"), "0.00 USD"),
        (formatting.money(None, "USD"), "–"),
        (formatting.seconds(12.34), "12.3"),
        (formatting.seconds(0.5), "0.50"),
        (formatting.seconds(0.0042), "0.0042"),
        (formatting.duration(119.96), "120.0 s"),
        (formatting.duration(600), "10.0 min"),
        (formatting.duration(9000), "2.5 h"),
        (formatting.counted(1, "seed"), "1 seed"),
        (formatting.counted(1200, "seed"), "1,200 seeds"),
    ],
)
def test_numbers_are_written_in_one_way(written, expected):
    assert written == expected
