"""The adjudication of the paper's own script, restated, beside ours."""

import re
from itertools import product

import pytest

from adakd.judging import OpenAI
from adakd.judging.outcomes import outcome
from adakd.planning import Cell
from adakd.store.records import VerdictRecord

PAIR = OpenAI(base_url="http://localhost/v1", model="m").reader


def official(replies: tuple[str | None, str | None]) -> str:
    """Adjudicate as the official AdaKD script does; None is a call that failed.

    A verdict that ends the text, else the first one anywhere, else a tie; a side that wins in
    both orders wins, and everything else is a tie.
    """

    def preferred(reply: str | None, sides: dict[str, str]) -> str:
        text = (reply or "").strip()
        found = re.search(r"\[\[([ABC])\]\]$", text) or re.search(r"\[\[([ABC])\]\]", text)
        return sides.get(found[1], "Tie") if found else "Tie"

    first = preferred(replies[0], {"A": "Win", "B": "Lose"})
    second = preferred(replies[1], {"A": "Lose", "B": "Win"})
    return first if first == second else "Tie"


def ours(replies: tuple[str | None, str | None]) -> str:
    """Return our outcome of the same replies."""
    cell = Cell(role="distilled", seed=1, divergence="rkl", arm="adakd", key="k")

    def record(reply: str | None, candidate_first: bool) -> VerdictRecord:
        choice = "failed" if reply is None else PAIR.from_text(reply).choice
        sides = ("candidate", "opponent") if candidate_first else ("opponent", "candidate")
        said = {"first": sides[0], "second": sides[1]}.get(choice, choice)
        return VerdictRecord(
            key=f"{candidate_first}",
            words="w",
            judge="j",
            against="plain",
            candidate=cell,
            opponent=cell,
            task="t",
            item="1",
            sampling_seed=None,
            candidate_first=candidate_first,
            verdict=said,
        )

    return outcome([record(replies[0], True), record(replies[1], False)])


ORDINARY = ["A is right.\n[[A]]", "B is right.\n[[B]]", "Both are right.\n[[C]]"]
FAILURES = [None, "", "A is better.", "[[D]]"]
AS_OURS = {"win": "Win", "loss": "Lose", "tie": "Tie", "flip": "Tie"}


@pytest.mark.parametrize("replies", [*product(ORDINARY, repeat=2)])
def test_on_ordinary_verdicts_we_agree_with_the_official_script(replies) -> None:
    assert AS_OURS[ours(replies)] == official(replies)


@pytest.mark.parametrize(
    "replies", [r for r in product(ORDINARY + FAILURES, repeat=2) if set(r) & set(FAILURES)]
)
def test_where_it_makes_a_tie_of_a_failure_ours_stays_a_failure(replies) -> None:
    assert ours(replies) == "failed"
    assert official(replies) == "Tie"


def test_its_parser_may_take_the_verdict_that_was_only_weighed() -> None:
    weighed = "[[A]] at first, but in the end [[B]], I think."
    assert (official((weighed, "[[B]]")), ours((weighed, "[[B]]"))) == ("Win", "flip")
    assert (official((weighed, "[[A]]")), ours((weighed, "[[A]]"))) == ("Tie", "loss")
