"""Odd servers: what the client makes of statuses, encodings and bodies."""

import pytest

from adakd.judging import ItemText, Question

QUESTION = Question(ItemText("Count.", "", ()), "good", "poor")


@pytest.mark.parametrize("status", [300, 400, 404, 422])
def test_what_does_not_pass_is_asked_once(server, ask, status) -> None:
    server.script = lambda prompt: server.reply("no", status)
    verdict = ask(QUESTION, retries=3)[0]
    assert (verdict.choice, len(server.questions)) == ("failed", 1)
    assert f"HTTP {status}" in verdict.reason


@pytest.mark.parametrize(
    "bad",
    [
        {"body": "no gzip", "headers": {"Content-Encoding": "gzip"}},
        {"body": "", "headers": {"X-Long": "x" * 100_000}},
        {"body": "", "headers": {"Location": "/v1/chat/completions"}, "status": 307},
        {"body": "", "status": 204},
        {"body": "\ufeff{}"},
        {"body": "[" * 100_000},
    ],
)
def test_odd_responses_are_failures_and_no_surprise(server, ask, bad) -> None:
    server.script = lambda prompt: server.reply(**bad)
    verdict = ask(QUESTION, retries=0)[0]
    assert verdict.choice == "failed"
    assert server.url in verdict.reason
