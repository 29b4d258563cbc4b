import math

import pytest

from adakd.judging import OpenAI, Verdict
from adakd.judging.backends.parsing import ReplyParser

PAIR = OpenAI(base_url="http://localhost/v1", model="m").reader


def tokens(words: list[str], at: int, **likely: float):
    """Return log-probabilities as a server sends them, the likely ones at one place."""

    def token(place: int, word: str):
        top = likely if place == at else {"noise": 0.99, "A": 0.01}
        return {
            "token": word,
            "logprob": math.log(top.get(word, 0.5)),
            "bytes": list(word.encode()),
            "top_logprobs": [{"token": t, "logprob": math.log(p)} for t, p in top.items()],
        }

    return {"content": [token(place, word) for place, word in enumerate(words)], "refusal": None}


def said(words: list[str], at: int, labels=("A", "B", "C"), **likely: float) -> Verdict:
    own = ReplyParser("pair", labels, (1, 10), r"\[\[(.*)\]\]", "")
    return own.from_json("".join(words), logprobs=tokens(words, at, **likely))


def near(*shares: float):
    return pytest.approx(shares, abs=1e-6)


def test_probabilities_are_those_where_the_verdict_begins() -> None:
    words = ['{"reason": "A \\"verdict\\": \\"B\\".", "', "verdict", '":', ' "', "A", '"}']
    verdict = said(words, 4, A=0.6, B=0.3, C=0.1)
    assert verdict.choice == "first"
    assert verdict.probabilities == near(0.6, 0.3, 0.1)


def test_a_label_may_be_glued_to_what_is_around_it() -> None:
    words = ['{"reason": "x", "verdict"', ': "B', '"}']
    verdict = said(words, 1, **{': "B': 0.5, ': "A': 0.3, ':"C': 0.1, ' "A"}': 0.1})
    assert verdict.probabilities == near(0.4, 0.5, 0.1)


def test_a_label_of_several_tokens_counts_by_its_first() -> None:
    words = ['{"reason": "x", "verdict": "', "fir", 'st"}']
    verdict = said(words, 1, labels=("first", "second", "tie"), fir=0.5, sec=0.25, t=0.25)
    assert verdict.probabilities == near(0.5, 0.25, 0.25)
    same = said(['{"reason": "x", "verdict": "', "t", 'wo"}'], 1, ("one", "two", "tie"), t=0.9)
    assert (same.choice, same.probabilities) == ("second", None)


def test_the_choice_is_what_was_said_whatever_is_likelier() -> None:
    verdict = said(['{"reason": "x", "verdict": "', "A", '"}'], 1, B=0.7, A=0.3)
    assert verdict.choice == "first"
    assert verdict.probabilities == near(0.3, 0.7, 0)


def test_what_was_said_counts_even_if_it_is_none_of_the_likeliest() -> None:
    logprobs = tokens(['{"reason": "x", "verdict": "', "A", '"}'], 1, B=0.4)
    assert PAIR.from_json(
        '{"reason": "x", "verdict": "A"}', logprobs=logprobs
    ).probabilities == near(0.5 / 0.9, 0.4 / 0.9, 0)


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        {},
        [],
        "none",
        {"content": None},
        {"content": []},
        {"content": [{"token": "x"}]},
        tokens(['{"reason": "x", "verdict": "', "A", '"}'], 1, A=0.3, x=0.7),
        tokens(["something", " else"], 1, A=1.0),
        {"content": [{"token": '{"verdict": "A', "logprob": 0}]},
        {"content": [{"token": '"verdict": "A', "logprob": 0, "top_logprobs": [{"token": 1}]}]},
        {
            "content": [
                {"token": '"verdict": "', "logprob": 0},
                {
                    "token": "A",
                    "logprob": math.nan,
                    "top_logprobs": [{"token": "A", "logprob": math.nan}],
                },
            ]
        },
    ],
)
def test_without_enough_about_the_labels_there_are_no_probabilities(logprobs: object) -> None:
    verdict = PAIR.from_json('{"reason": "x", "verdict": "A"}', logprobs=logprobs)
    assert (verdict.choice, verdict.probabilities) == ("first", None)


@pytest.mark.parametrize(
    "likely",
    [
        {"A": 9000.0, "B": -9999.0},
        {"A": 0.9, "B": 0.1},  # probabilities
        {"A": 0.0, "B": 0.0, "C": 0.0},
        {"A": -0.1, "B": -0.1},
        {"A": math.nan, "B": -1.0},
        {"A": math.inf},
    ],
)
def test_what_cannot_be_log_probabilities_is_refused_and_the_verdict_stays(likely) -> None:
    top = [{"token": token, "logprob": logprob} for token, logprob in likely.items()]
    at = {"token": "A", "logprob": likely["A"], "top_logprobs": top}
    logprobs = {"content": [{"token": '"verdict": "', "logprob": 0}, at]}
    verdict = PAIR.from_json('{"reason": "x", "verdict": "A"}', logprobs=logprobs)
    assert (verdict.choice, verdict.probabilities) == ("first", None)
    assert not PAIR.likely(logprobs)


def test_a_label_that_is_as_good_as_impossible_has_no_probability() -> None:
    likely = [{"token": "A", "logprob": 0.0}, {"token": "B", "logprob": -9999.0}]
    at = {"token": "A", "logprob": 0.0, "top_logprobs": likely}
    logprobs = {"content": [{"token": '"verdict": "', "logprob": 0}, at]}
    verdict = PAIR.from_json('{"reason": "x", "verdict": "A"}', logprobs=logprobs)
    assert verdict.probabilities == near(1, 0, 0)
