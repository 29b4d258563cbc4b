"""The first sentences: every conclusion with its figures, and never a list of forty names."""

from dataclasses import replace

import pytest

from adakd.reporting.families import arm_differences
from adakd.reporting.headline import headlines, verdict
from adakd.reporting.sections.base import Context
from adakd.reporting.sections.overhead import overheads


@pytest.fixture(scope="module")
def rows(mini):
    """Return the rows of three divergences: not separable, better and worse."""
    return arm_differences(mini).overall


def told(row, conclusion, **figures):
    return replace(row, conclusion=conclusion, difference=replace(row.difference, **figures))


def test_every_conclusion_has_its_figures_and_the_cost(mini, rows):
    (line,) = headlines(rows, overheads(mini))
    fkl, rkl, skew = (
        f"{row.divergence} ({row.difference.estimate:+.2f}, 95 % {row.difference.low:+.2f} to "
        f"{row.difference.high:+.2f})".replace("-", "−")
        for row in rows
    )
    assert line.startswith(
        f"AdaKD is better than plain distillation under {rkl}, worse than it under {skew} and not "
        f"separable from it under {fkl}, in ROUGE-L × 100; a true difference below "
    )
    assert "may go unnoticed; its steps take 1.2" in line


@pytest.mark.parametrize(
    ("conclusion", "said"),
    [
        ("better", "AdaKD is better than plain distillation under reverse_kl (+1.00, 95 % "),
        ("worse", "AdaKD is worse than plain distillation under reverse_kl (+1.00, 95 % "),
        ("not separable", "AdaKD is not separable from plain distillation under reverse_kl (+1.00"),
    ],
)
def test_one_divergence(rows, conclusion, said):
    row = told(rows[1], conclusion, estimate=1.0)
    assert verdict([row]).startswith(said)
    assert ("may go unnoticed" in verdict([row])) == (conclusion == "not separable")


def test_an_arm_without_a_result_has_no_figures(rows):
    row = replace(rows[1], conclusion="failed", difference=None)
    assert verdict([row]) == "AdaKD is without a result (failed) under reverse_kl"


def test_no_divergence_at_all_of_several_is_said_as_any(rows):
    lost = [told(row, "not separable") for row in rows]
    assert "is not separable from plain distillation under any of 3 divergences: " in verdict(lost)
    won = [told(row, "better") for row in rows]
    assert "is better than plain distillation under all 3 divergences: " in verdict(won)


def test_of_many_divergences_the_extremes_have_figures(rows):
    many = [
        replace(told(rows[1], "better", estimate=float(n)), divergence=f"d{n}") for n in range(12)
    ]
    line = verdict(many)
    assert "under all 12 divergences, from d0 (0.00, 95 % " in line
    assert "to d11 (+11.00, 95 % " in line
    assert "d5" not in line


def test_an_endless_detectable_difference_is_not_a_number(rows):
    assert "unnoticed" not in verdict([told(rows[0], "not separable", minimum_effect=float("inf"))])


def test_further_arms_share_one_sentence_however_many_they_are(rows):
    others = [
        replace(told(rows[1], "worse" if n in (3, 4) else "not separable"), arm=f"arm-{n}")
        for n in range(40)
    ]
    first, second = headlines([told(rows[1], "better"), *others], ())
    assert first.startswith("AdaKD is better")
    assert second == "Of 40 other arms: 2 worse (arm-3, arm-4) and 38 not separable."
    _, second = headlines([rows[1], *(replace(row, conclusion="better") for row in others)], ())
    assert second == "Of 40 other arms: 40 better."


def test_further_arms_under_several_divergences_count_comparisons(made_store):
    store = made_store(arms=("adakd", "latf"), failed=None)
    _, second = headlines(arm_differences(Context.of(store)).overall, ())
    assert second == (
        "Of 1 other arm in 3 comparisons: 1 better (reverse_kl + latf), "
        "1 worse (skew_reverse_kl(lam=0.1) + latf) and 1 not separable."
    )


def test_without_an_adaptive_arm_nothing_is_said():
    assert headlines((), ()) == []
