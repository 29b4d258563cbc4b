"""Published and hand-worked numbers of agreement, and cases where it is undefined."""

import subprocess
import sys

import pytest

from adakd.stats import cohen_kappa, krippendorff_alpha


def coder(values: str) -> list[str | None]:
    return [None if value == "*" else value for value in values]


def test_alpha_of_the_standard_example():
    """Three coders and fifteen units, as on Wikipedia's page: 0.691."""
    ratings = [coder("*****34121133*3"), coder("1*213343*******"), coder("**21344*21133*4")]
    assert krippendorff_alpha(ratings) == pytest.approx(0.691, abs=5e-4)


def test_alpha_does_not_depend_on_names_or_order():
    one, other = list("abbacab"), list("abbaccb")
    renamed = [["xyz"["abc".index(said)] for said in judge] for judge in (other, one)]
    assert krippendorff_alpha([one, other]) == pytest.approx(krippendorff_alpha(renamed))
    assert krippendorff_alpha([one, one]) == 1


@pytest.mark.parametrize(
    "ratings",
    [
        [],
        [["a", "b"]],
        [["a", None], [None, "b"]],
        [["a", "a"], ["a", "a"]],
        [["a", "b"], ["a", None]],
    ],
)
def test_alpha_needs_units_rated_twice_and_two_categories(ratings):
    assert krippendorff_alpha(ratings) is None


def test_kappa_by_hand():
    """Of 50 units 20 and 15 agree; 50 % yes by one and 60 % by the other: 0.2 of 0.5."""
    a = ["yes"] * 25 + ["no"] * 25
    b = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohen_kappa(a, b) == pytest.approx(0.4)
    assert cohen_kappa([*a, None, "yes"], [*b, "no", None]) == pytest.approx(0.4)


def test_kappa_of_a_judge_that_says_one_thing_is_chance():
    assert cohen_kappa(["a", "a"], ["a", "b"]) == 0


@pytest.mark.parametrize(("a", "b"), [([], []), (["a", None], [None, "b"]), (["a"], ["a"])])
def test_kappa_needs_overlap_and_two_categories(a, b):
    assert cohen_kappa(a, b) is None


def test_slow_packages_are_not_imported_before_they_are_needed():
    slow = {"sklearn", "krippendorff", "torch"}
    code = f"import sys, adakd.stats; print({slow} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
