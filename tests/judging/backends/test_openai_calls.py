import socket
import threading

import pytest

from adakd.judging import ItemText, JudgeError, Question

SOON = {"retry-after-ms": "1"}
ITEM = ItemText("Count.", "", ("one, two",))
GOOD_FIRST, POOR_FIRST = Question(ITEM, "good", "poor"), Question(ITEM, "poor", "good")


@pytest.fixture
def first_then(server):
    """Return a script: `replies` first, then a sound verdict."""

    def script(*replies):
        waiting = list(replies)
        server.prefer("good")
        sound = server.script
        server.script = lambda prompt: waiting.pop(0) if waiting else sound(prompt)

    return script


BROKEN = [
    {"body": "{}", "status": 429, "headers": SOON},
    {"body": '{"error": {"message": "busy"}}', "status": 500, "headers": SOON},
    {"body": "", "status": 503, "headers": SOON},
    {"body": "", "hang": True},
    {"body": "", "drop": True},
    {"body": '{"choices": [', "cut": True},
    {"body": '{"choices": [', "drip": True},
    {"body": "{not json"},
    {"body": "[]"},
    {"body": '{"error": "overloaded"}'},
    {"body": '{"choices": []}'},
    {"body": '{"choices": [{"message": {"content": 1}}]}'},
    {"body": "<html><script>alert(1)</script></html>", "content_type": "text/html"},
]


@pytest.mark.parametrize("bad", BROKEN)
def test_a_failed_call_is_tried_again(server, ask, first_then, bad) -> None:
    first_then(server.reply(**bad))
    assert [v.choice for v in ask(GOOD_FIRST, timeout=0.4)] == ["first"]
    assert len(server.questions) == 2


@pytest.mark.parametrize("bad", BROKEN)
def test_a_call_that_keeps_failing_is_a_failed_verdict_and_the_next_is_asked(
    server, ask, first_then, bad
) -> None:
    first_then(server.reply(**bad))
    verdicts = ask(GOOD_FIRST, POOR_FIRST, retries=0, timeout=0.4, concurrency=1)
    assert [v.choice for v in verdicts] == ["failed", "second"]
    assert verdicts[0].reason
    assert "\n" not in verdicts[0].reason


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"body": '{"error": "busy"}', "status": 500}, "answers HTTP 500: "),
        ({"body": "{}", "status": 429}, "answers HTTP 429"),
        ({"body": '{"error": "too long"}', "status": 400}, 'HTTP 400: {"error": "too long"}'),
        ({"body": "", "hang": True}, "did not answer within 0.3 s"),
        ({"body": "{", "drip": True}, "did not answer within 0.3 s"),
        ({"body": "{", "cut": True}, "the connection to http://127.0.0.1"),
        ({"body": "", "drop": True}, "the connection to http://127.0.0.1"),
        ({"body": "{not json"}, "does not send a verdict but: {not json"),
        ({"body": "<html>Sign in</html>", "content_type": "text/html"}, "but: <html>Sign in"),
    ],
)
def test_a_failure_says_what_went_wrong(server, ask, first_then, bad, why) -> None:
    first_then(server.reply(**bad))
    assert why in ask(GOOD_FIRST, retries=0, timeout=0.3)[0].reason


def test_a_server_that_asks_for_patience_gets_it(server, ask, first_then) -> None:
    first_then(server.reply("{}", 429, headers={"Retry-After": "1"}))
    verdict = ask(GOOD_FIRST)[0]
    assert verdict.choice == "first"
    assert 1 <= verdict.seconds < 3


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("Well. [[A]]", "first"),
        ("At first [[A]], but then [[B]]", "second"),
        ("", "failed"),
        (None, "failed"),
        ("[[D]]", "failed"),
        ("[[A]] and yet [[D]]", "failed"),
        ("Both are good.", "failed"),
        ("I end with [[A]] if answer A is better, or [[C]] if it is a tie.", "failed"),
        ("x" * 1_000_000 + "[[A]]", "first"),
        ("[[A]]" * 200_000 + "[[B]]", "second"),
        ("[[" * 500_000, "failed"),
        ("<script>alert('[[A]]')</script><b onload=x>", "first"),
        ("\ud83d\ude00 \x00 \u202e [[B]]", "second"),
    ],
)
def test_whatever_a_judge_writes_is_a_verdict_or_a_failure(server, ask, text, choice) -> None:
    server.script = lambda prompt: server.says(text)
    verdict = ask(GOOD_FIRST)[0]
    assert verdict.choice == choice
    assert (verdict.prompt_tokens, verdict.completion_tokens) == (11, 3)
    assert len(verdict.reason) < 25_000
    assert len(server.questions) == 1


@pytest.mark.parametrize(
    ("finish", "text", "why"),
    [
        ("length", "Answer A is", "max_tokens reached before the verdict: Answer A is"),
        ("content_filter", "Answer", "the server's filter before the verdict"),
    ],
)
def test_a_reply_that_was_cut_off_says_by_what(server, ask, finish, text, why) -> None:
    server.script = lambda prompt: server.says(text, finish)
    verdict = ask(GOOD_FIRST)[0]
    assert verdict.choice == "failed"
    assert why in verdict.reason


def test_a_slow_item_does_not_end_the_judging(server, ask) -> None:
    server.prefer("good")
    sound = server.script

    def script(prompt):
        slow = server.shown(prompt, "A") == "poor"
        return server.reply("", hang=True) if slow else sound(prompt)

    server.script = script
    verdicts = ask(*[POOR_FIRST, GOOD_FIRST] * 5, timeout=0.1, retries=0, concurrency=1)
    assert [v.choice for v in verdicts] == ["failed", "first"] * 5


def test_a_server_that_answers_nothing_any_more_ends_the_judging(server, ask) -> None:
    hanging = server.reply("", hang=True)
    server.script = lambda prompt: hanging if len(server.questions) > 3 else server.says("[[A]]")

    def hello():
        return hanging if server.questions else server.says("yes")

    server.hello = hello
    with pytest.raises(JudgeError, match=r"^timeout \(.*did not answer within 0.1 s"):
        ask(*[GOOD_FIRST] * 50, timeout=0.1, retries=0, concurrency=2)
    assert len(server.questions) < 12


def test_a_server_that_is_only_slow_with_questions_keeps_its_say(server, ask) -> None:
    server.script = lambda prompt: server.reply("", hang=True)
    verdicts = ask(*[GOOD_FIRST] * 9, timeout=0.1, retries=0, concurrency=3)
    assert {v.choice for v in verdicts} == {"failed"}
    assert len(server.questions) == 9


def test_an_item_that_the_prompt_cannot_handle_fails_alone(server, ask, tmp_path) -> None:
    own = tmp_path / "own.j2"
    own.write_text("begin instruction {{ first }} {{ 1 / (first | length - 4) }}", encoding="utf-8")
    verdicts = ask(Question(ITEM, "four", "x"), Question(ITEM, "three", "x"), prompt=own)
    assert [v.choice for v in verdicts] == ["failed", "tie"]
    assert "prompt: the template fails on this item (ZeroDivisionError" in verdicts[0].reason


def test_half_a_character_can_be_asked_about(server, ask) -> None:
    assert ask(Question(ITEM, "\ud800", "x"))[0].choice == "tie"


def test_the_request_says_what_the_file_says(server, ask) -> None:
    extra = {"chat_template_kwargs": {"thinking": False}}
    ask(GOOD_FIRST, temperature=0.2, max_tokens=77, extra=extra)
    for body in server.bodies:
        assert body["model"] == "m"
        assert body["temperature"] == 0.2
        assert body["max_tokens"] == 77
        assert body["chat_template_kwargs"] == {"thinking": False}
        assert "response_format" not in body
    server.bodies.clear()
    ask(GOOD_FIRST, temperature=None, limit_field="max_completion_tokens", max_tokens=5)
    assert server.bodies[0]["max_completion_tokens"] == 5
    assert not {"temperature", "max_tokens"} & server.bodies[0].keys()


def test_a_judge_without_references_is_shown_none(server, ask) -> None:
    ask(GOOD_FIRST, references=False)
    assert "reference" not in server.questions[0]
    ask(GOOD_FIRST)
    assert "one, two" in server.questions[1]


def test_nothing_of_the_users_account_is_sent_along(server, ask, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-planted")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-planted")
    ask(GOOD_FIRST)
    assert not any("planted" in str(sent) for sent in server.headers)
    assert {sent["User-Agent"] for sent in server.headers} == {"adakd"}


def test_no_more_calls_than_allowed_are_under_way(server, ask) -> None:
    ask(*[GOOD_FIRST] * 10, concurrency=3)
    assert 1 <= server.most_under_way <= 3
    assert len(server.questions) == 10


def test_as_many_calls_as_allowed_are_under_way(server, ask) -> None:
    all_there = threading.Barrier(150)

    def script(prompt):
        all_there.wait(10)
        return server.says("[[A]]")

    server.script = script
    verdicts = ask(*[GOOD_FIRST] * 150, concurrency=150, timeout=20.0)
    assert {v.choice for v in verdicts} == {"first"}


def test_a_proxy_for_the_outside_world_is_passed_by(server, ask, monkeypatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert ask(GOOD_FIRST, retries=0)[0].choice == "tie"


def test_a_server_elsewhere_is_reached_through_the_proxy(server, ask, monkeypatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url.removesuffix("/v1"))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert ask(GOOD_FIRST, base_url="http://judge.invalid/v1", retries=0)[0].choice == "tie"


# --- what ends a judging at once --------------------------------------------------------------


def test_an_unreachable_server_is_told_before_the_first_question(ask) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for mode in ("text", "auto"):
        with pytest.raises(JudgeError, match=r"^base_url \(start .* no server answers") as caught:
            ask(GOOD_FIRST, base_url=f"http://127.0.0.1:{port}/v1", retries=0, mode=mode)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "field"),
    [
        (401, "api_key_env"),
        (403, "api_key_env"),
        (404, "model"),
        (400, "model"),
        (429, "concurrency"),
        (500, "base_url"),
    ],
)
@pytest.mark.parametrize("mode", ["text", "auto"])
def test_a_refusal_names_the_field_to_fix(server, ask, status, field, mode) -> None:
    server.hello = lambda: server.reply('{"error": "no"}', status)
    with pytest.raises(JudgeError, match=rf"^{field} \("):
        ask(GOOD_FIRST, retries=0, mode=mode)
    assert not server.questions


def test_typed_decisions_that_are_not_offered_are_told(ask) -> None:
    with pytest.raises(JudgeError, match=r"^mode \(no typed decisions there"):
        ask(GOOD_FIRST, retries=0, mode="decision")


def test_an_address_of_something_else_is_told(server, ask) -> None:
    server.hello = lambda: server.reply("<html>Hello</html>", content_type="text/html")
    with pytest.raises(JudgeError, match=r"^base_url \(.*does not send a verdict but: <html>"):
        ask(GOOD_FIRST, retries=0)


def test_a_server_that_goes_away_ends_the_judging(server, ask) -> None:
    def script(prompt):
        if len(server.questions) < 4:
            return server.says("[[A]]")
        server.hello = lambda: server.reply("gone", 502)
        return server.reply("gone", 502)

    server.script = script
    with pytest.raises(JudgeError, match=r"^base_url \(.*HTTP 502: gone"):
        ask(*[GOOD_FIRST] * 10, concurrency=1, retries=0)
    assert len(server.questions) == 4
