"""What a suite could find: from a stated spread and from a stored run, and unusable input."""

from pathlib import Path

import pytest

from adakd.commands.detectable import detectable, detectable_table, stated_spread
from adakd.console import PlainConsole
from adakd.errors import AdakdError
from adakd.planning import plan
from adakd.stats import Spread

STORED = Path(__file__).parents[1] / "reporting" / "stored"


def text(found):
    console = PlainConsole(width=160, record=True)
    console.print(detectable_table(found))
    return console.export_text()


def test_a_stated_spread_has_two_numbers_or_three():
    assert stated_spread("13,0.6") == Spread(items=0, seeds=0.6, noise=13)
    assert stated_spread("13, .6, 3") == Spread(items=3, seeds=0.6, noise=13)


@pytest.mark.parametrize("spread", ["13", "a,b", "0,1", "-1,1", "1,2,3,4", "nan,1", "inf,1", ""])
def test_what_is_no_spread_is_an_error(spread):
    with pytest.raises(AdakdError, match=r"--spread: .*NOISE,SEEDS"):
        stated_spread(spread)


def test_what_a_suite_can_find_by_a_stated_spread(make_suite):
    suite = make_suite({"seeds": [1, 2, 3, 4], "divergences": ["reverse_kl", "forward_kl"]})
    found = detectable(plan(suite), None, "13,0.6")
    assert [row.seeds for row in found.rows] == [1, 2, 3, 4, 5, 10]
    assert (found.items, found.comparisons) == ((6,), 2)
    for row in found.rows:
        assert row.alone == Spread(0, 0.6, 13).detectable(6, row.seeds)
        assert row.in_family > row.alone
        assert (row.trainings, row.seconds) == (5 * row.seeds, None)  # two arms of each, and SFT
    assert "among 2 of the question" in text(found)


def test_what_a_suite_can_find_like_a_stored_run(make_suite):
    found = detectable(plan(make_suite()), STORED, None)
    assert found.unit == "ROUGE-L × 100"
    assert all(row.seconds > 0 for row in found.rows)
    assert found.rows[1].seconds == pytest.approx(2 * found.rows[0].seconds)


def test_unusable_input_is_an_error_that_says_what_to_do(make_suite, tmp_path):
    planned = plan(make_suite())
    with pytest.raises(AdakdError, match="give one"):
        detectable(planned, STORED, "13,0.6")
    with pytest.raises(AdakdError, match="no such file; give the folder"):
        detectable(planned, tmp_path, None)
    sets = {"far": {"kind": "hub", "id": "gone/far"}}
    far = plan(make_suite({"evaluation.sets": sets, "evaluation.choices": []}))
    with pytest.raises(AdakdError, match=r"evaluation\.sets\.far: .*set a limit"):
        detectable(far, None, "13,0.6")
    alone = plan(make_suite({"arms": {}}))
    with pytest.raises(AdakdError, match="nothing to find"):
        detectable(alone, None, "13,0.6")
