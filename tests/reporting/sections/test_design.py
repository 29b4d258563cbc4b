"""What the design can find: figures from the run's own spread, and what seeds cost."""

from math import inf

import pytest

from adakd.reporting.families import arm_differences
from adakd.reporting.sections.base import Context
from adakd.reporting.sections.design import Cost, design, design_of, items_of, run_cost
from adakd.stats import Spread, spread_of
from adakd.store import Store


def test_the_figures_follow_from_the_spread_of_the_run(made_store):
    context = Context.of(made_store(failed=None))
    found = design(context)
    assert found is not None
    assert [row.seeds for row in found.rows] == [1, 2, 3, 5, 10]
    laws = [row.difference.law for row in arm_differences(context).overall]
    assert found.items == items_of(context.index) == (38, 38)  # two of forty are unscored
    assert found.spread == spread_of([(law, 76.0, 3) for law in laws])
    assert found.comparisons == 3
    for row in found.rows:
        assert row.alone == found.spread.detectable(76, row.seeds)
        assert row.in_family == found.spread.detectable(76, row.seeds, 3)


def test_the_run_among_them_is_near_to_what_its_rows_say(made_store):
    """Rows are correlated and have spreads of their own: the mean of theirs is not far."""
    context = Context.of(made_store(failed=None))
    found, rows = design(context), arm_differences(context).overall
    assert found is not None
    mean = sum(row.difference.minimum_effect for row in rows) / len(rows)
    (this,) = [row for row in found.rows if row.seeds == 3]
    assert this.in_family == pytest.approx(mean, rel=0.4)


def test_a_seed_costs_its_trainings_and_their_scores(made_store):
    context = Context.of(made_store(failed=None))
    cost = run_cost(context.index)
    assert cost.trainings == 7  # SFT and both arms under three divergences
    scores = 2 * 2 + 2  # two sets at two sampling seeds, one choice and one task
    assert cost.seconds == pytest.approx(7 * (12.5 + scores * 3.0))


def test_what_the_metric_does_not_allow_cannot_be_found():
    def found(unit):
        spread = Spread(items=0, seeds=30.0, noise=10.0)
        return design_of(spread, (100,), comparisons=8, cost=Cost(2), unit=unit).rows

    assert [row.in_family for row in found("ROUGE-L × 100")][1] == inf
    assert 100 < [row.in_family for row in found("perplexity")][1] < inf


def test_one_seed_tells_nothing_of_more(made_store):
    found = design(Context.of(made_store(failed=None, seeds=(10,))))
    assert found is not None
    assert found.rows[0].alone is not None
    assert {row.alone for row in found.rows[1:]} == {None}
    assert "of the mean between trainings not known from one" in found.sentence


def test_nothing_compared_has_no_design(made_store, tmp_path):
    assert design(Context.of(made_store(arms=()))) is None
    assert design(Context.of(Store(tmp_path))) is None
