import pytest

from adakd.errors import AdakdError, UnknownName
from adakd.judging.comparisons import chance_comparisons, comparisons, matches

ANSWERS = {"0": "a", "1": "b"}


@pytest.fixture
def scores(make_cell, make_score):
    """Return two divergences x two arms x two seeds x two sampling seeds, and the controls."""
    cells = [make_cell(role="teacher"), make_cell(role="untrained")]
    cells += [make_cell(role="sft", seed=seed) for seed in (1, 2)]
    cells += [
        make_cell(arm, seed, label=label)
        for label in ("rkl", "fkl")
        for seed in (1, 2)
        for arm in ("plain", "adakd")
    ]
    return [make_score(cell, ANSWERS, sampling_seed=s) for cell in cells for s in (10, 20)]


def test_each_adaptive_cell_meets_the_twin_that_differs_in_the_arm_alone(scores) -> None:
    found = comparisons(scores)
    assert len(found) == 8
    for pair in found:
        candidate, opponent = pair.candidate.cell, pair.opponent.cell
        assert (candidate.arm, opponent.arm) == ("adakd", "plain")
        assert (candidate.divergence, candidate.seed) == (opponent.divergence, opponent.seed)
        assert pair.candidate.sampling_seed == pair.opponent.sampling_seed


@pytest.mark.parametrize(
    ("against", "number"),
    [
        ("teacher", 16),
        ("untrained", 16),
        ("sft", 16),
        ("reference", 16),
        ("adakd", 8),
        ("rkl", 12),
        ("rkl + adakd", 12),
    ],
)
def test_every_distilled_cell_meets_the_named_opponent(scores, against, number) -> None:
    found = comparisons(scores, against)
    assert len(found) == number
    for pair in found:
        assert pair.candidate.cell.role == "distilled"
        if pair.opponent is None:
            assert against == "reference"
            continue
        assert pair.opponent is not pair.candidate
        assert against in (pair.opponent.cell.method, pair.opponent.cell.arm)
        assert pair.candidate.sampling_seed == pair.opponent.sampling_seed
        if pair.opponent.cell.role not in ("teacher", "untrained"):
            assert pair.candidate.cell.seed == pair.opponent.cell.seed


def test_an_unknown_opponent_is_met_with_the_nearest(scores) -> None:
    with pytest.raises(UnknownName, match=r"--against 'techer'.*did you mean 'teacher'"):
        comparisons(scores, "techer")


def test_a_run_without_pairs_is_an_error(make_cell, make_score) -> None:
    with pytest.raises(AdakdError, match="nothing to judge against 'plain'"):
        comparisons([make_score(make_cell(), ANSWERS)])


def test_the_newest_scores_of_a_place_count(make_cell, make_score) -> None:
    old = make_score(make_cell("adakd"), {"0": "old"})
    new_cell = make_cell("adakd").model_copy(update={"key": "retrained"})
    new = make_score(new_cell, {"0": "new"})
    (pair,) = comparisons([old, make_score(make_cell(), ANSWERS), new])
    assert pair.candidate is new


def test_only_items_that_both_answered_are_judged(make_cell, make_score, items) -> None:
    plain = make_score(make_cell(), {"0": "a", "1": None, "2": "c"})
    adaptive = make_score(make_cell("adakd"), {"0": "x", "1": "y", "3": "z"})
    ((match,),) = matches(comparisons([plain, adaptive]), items)
    assert (match.item, match.answer, match.other) == ("0", "x", "a")


def test_a_limit_draws_the_same_items_for_all_pairs_and_a_higher_one_adds(
    make_cell, make_score, items
) -> None:
    answers = {str(number): "x" for number in range(6)}
    scores = [make_score(make_cell(arm, s), answers) for s in (1, 2) for arm in ("plain", "adakd")]
    few = [
        [match.item for match in prompt] for prompt in matches(comparisons(scores), items, limit=2)
    ]
    more = [
        [match.item for match in prompt] for prompt in matches(comparisons(scores), items, limit=4)
    ]
    assert all(len(prompt) == 2 and len(set(prompt)) == 1 for prompt in more)
    assert few == more[:2]


def test_the_reference_is_not_shown_where_it_is_the_opponent(make_cell, make_score, items) -> None:
    ((match,),) = matches(comparisons([make_score(make_cell(), {"0": "x"})], "reference"), items)
    assert match.other == items["set"]["0"].references[0]
    assert match.text.references == ()


def test_missing_words_are_an_error(make_cell, make_score) -> None:
    scores = [make_score(make_cell(arm), ANSWERS) for arm in ("plain", "adakd")]
    with pytest.raises(AdakdError, match=r"no longer has the item '[01]'"):
        list(matches(comparisons(scores), {"set": {}}))


def test_every_method_meets_every_other_once_at_the_same_seed(scores) -> None:
    found = comparisons(scores, "all")
    sides = [
        frozenset({(p.candidate.key), (p.opponent.key)}) for p in found if p.opponent is not None
    ]
    assert len(set(sides)) == len(sides) == len(found)
    for pair in found:
        candidate, opponent = pair.candidate.cell, pair.opponent.cell
        assert candidate.method != opponent.method
        assert pair.candidate.sampling_seed == pair.opponent.sampling_seed
        if not {candidate.role, opponent.role} & {"teacher", "untrained"}:
            assert candidate.seed == opponent.seed
    # 5 seeded methods x 2 seeds, each beside 2 controls; all at 2 sampling seeds
    assert len(found) == 2 * (2 * 10 + 2 * 5 * 2 + 1)


def test_chance_is_the_same_plain_method_at_every_two_of_its_seeds(scores) -> None:
    for pair in comparisons(scores, "again"):
        candidate, opponent = pair.candidate.cell, pair.opponent.cell
        assert (candidate.method, candidate.arm) == (opponent.method, "plain")
        assert (candidate.seed, opponent.seed) == (1, 2)
        assert pair.candidate.sampling_seed == pair.opponent.sampling_seed
    assert len(comparisons(scores, "again")) == 4
    one_seed = [score for score in scores if score.cell.seed == 1]
    assert chance_comparisons(one_seed) == []


@pytest.fixture
def with_elsewhere(scores, make_cell, make_score):
    """The same with three trainings of one method made elsewhere, and one of another."""
    cells = [make_cell(role="elsewhere", seed=seed, label="TRL") for seed in (7, 8, 9)]
    cells.append(make_cell(role="elsewhere", seed=1, label="single"))
    return [
        *scores,
        *(make_score(cell, ANSWERS, sampling_seed=s) for cell in cells for s in (10, 20)),
    ]


@pytest.mark.parametrize(
    ("against", "met"),
    [
        ("plain", {}),
        ("adakd", {}),
        ("rkl", {("TRL", 7, 1), ("TRL", 8, 2), ("single", 1, 1), ("single", 1, 2)}),
        ("teacher", {("TRL", 7, 1), ("TRL", 8, 1), ("TRL", 9, 1), ("single", 1, 1)}),
        ("reference", {("TRL", 7, None), ("TRL", 8, None), ("TRL", 9, None), ("single", 1, None)}),
        ("single", {("TRL", 7, 1), ("TRL", 8, 1), ("TRL", 9, 1)}),
    ],
)
def test_students_made_elsewhere_meet_ours_in_their_order(with_elsewhere, against, met) -> None:
    found = {
        (
            one.candidate.cell.method,
            one.candidate.cell.seed,
            one.opponent and one.opponent.cell.seed,
        )
        for one in comparisons(with_elsewhere, against)
        if one.candidate.cell.role == "elsewhere"
    }
    assert found == set(met)


@pytest.mark.parametrize(("against", "number"), [("TRL", 8), ("single", 8)])
def test_ours_meet_a_student_made_elsewhere(with_elsewhere, against, number) -> None:
    ours = [c for c in comparisons(with_elsewhere, against) if c.candidate.cell.role == "distilled"]
    assert len(ours) == 2 * number  # two sampling seeds
    if against == "TRL":
        assert {(c.candidate.cell.seed, c.opponent.cell.seed) for c in ours} == {(1, 7), (2, 8)}


def test_they_change_no_comparison_of_ours(scores, with_elsewhere) -> None:
    assert comparisons(with_elsewhere) == comparisons(scores)
    ours = {(c.candidate.key, c.opponent.key) for c in comparisons(scores, "all")}
    both = {(c.candidate.key, c.opponent.key) for c in comparisons(with_elsewhere, "all")}
    assert ours < both
