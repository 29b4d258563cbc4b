import re
import socket
import threading

import pytest

from adakd.judging import ItemText, JudgeError, Outage, Question

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
    ("bad", "lasts"),
    [
        ({"body": '{"error": "busy"}', "status": 500}, False),
        ({"body": "{}", "status": 429}, False),
        ({"body": "", "hang": True}, False),
        ({"body": "", "drop": True}, False),
        ({"body": "too long", "status": 400}, True),
        ({"body": "filtered", "status": 422}, True),
    ],
)
def test_a_failure_that_may_pass_is_told_apart(server, ask, first_then, bad, lasts) -> None:
    first_then(server.reply(**bad))
    assert ask(GOOD_FIRST, retries=0, timeout=0.3)[0].lasts is lasts


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
    assert (verdict.prompt_tokens, verdict.completion_tokens) == (1011, 3)
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


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize(
    ("finish", "why"),
    [
        ("stop", r"an empty reply beside the reasoning \(raise max_tokens, .*: Surely \[\[A"),
        ("length", r"max_tokens reached while thinking .*reasoning_content: Surely"),
    ],
)
@pytest.mark.parametrize("mode", ["text", "json_schema"])
def test_a_reply_of_reasoning_alone_is_told_as_such(server, ask, field, finish, why, mode) -> None:
    thoughts = {field: "Surely [[A]]."}
    server.script = lambda prompt: server.says(None, finish, **thoughts)
    (verdict,) = ask(GOOD_FIRST, mode=mode)
    assert verdict.choice == "failed"
    assert re.search(why, verdict.reason)


def test_reasoning_beside_a_reply_changes_nothing(server, ask) -> None:
    server.script = lambda prompt: server.says("[[B]]", reasoning_content="[[A]]?")
    assert ask(GOOD_FIRST)[0].choice == "second"


@pytest.mark.parametrize(
    ("tokens", "cut"), [(None, False), (0, False), (2, True), (80, True), (300, False)]
)
def test_a_prompt_that_the_server_cut_is_told(server, ask, tokens, cut) -> None:
    server.script = lambda prompt: server.says("[[A]]", tokens=tokens)
    (verdict,) = ask(GOOD_FIRST)
    assert (verdict.choice, verdict.prompt_cut) == ("first", cut)


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
    own.write_text(
        "begin instruction {{ first }} {{ second }} {{ 1 / (first | length - 4) }}",
        encoding="utf-8",
    )
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


@pytest.mark.parametrize("status", [404, 501])
def test_typed_decisions_that_are_not_offered_are_told(server, ask, status) -> None:
    """By a server that does not know them, or for a model without them, as vLLM does."""
    server.decide = lambda _: server.reply('{"error": "no"}', status)
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


QUOTA = '{"error": {"code": "insufficient_quota", "message": "exceeded your current quota"}}'


@pytest.mark.parametrize(
    ("status", "text", "field"),
    [
        (429, QUOTA, "api_key_env (no credit left"),
        (402, "Insufficient credits", "api_key_env (no credit left"),
        (429, "quota of requests per minute exceeded", "concurrency ("),
        (400, "'max_tokens' is not supported: use 'max_completion_tokens'", "limit_field (set it"),
        (400, "Unknown parameter: max_tokens", "limit_field (set it to max_completion_tokens)"),
        (400, "max_tokens is too large: 1024", "max_tokens ("),
        (400, "the context length is 512 tokens", "max_tokens ("),
        (400, "temperature: only 1 is supported with this model", "temperature (set it to null"),
        (422, "extra_body: top_k not permitted", "extra (take 'top_k' out)"),
        (400, "max_tokens is too large: at most 512 completion tokens", "max_tokens ("),
        (413, "Request too large: tokens per minute (TPM)", "max_tokens ("),
        (400, "parameter.enable_thinking must be false", "extra (set 'enable_thinking' there"),
        (400, "This model only support stream mode", "model ('m' only streams"),
        (405, "Method Not Allowed", "base_url (give the address of chat completions"),
        (407, "Proxy", "base_url (a proxy in between"),
        (503, "Loading model", "base_url (the server is in trouble"),
        (308, "", "base_url (give the new address): "),
    ],
)
def test_a_refusal_of_a_setting_names_the_field_that_helps(
    server, ask, status, text, field
) -> None:
    headers = {"Location": "https://new.example/v1"} if status == 308 else {}
    server.hello = lambda: server.reply(text, status, headers=headers)
    with pytest.raises(JudgeError) as caught:
        ask(GOOD_FIRST, retries=0, extra={"top_k": 1})
    assert str(caught.value).startswith(field)
    assert text[:20] in str(caught.value)
    assert status != 308 or "https://new.example/v1" in str(caught.value)


def test_the_other_limit_field_is_named_too(server, ask) -> None:
    server.hello = lambda: server.reply("max_completion_tokens: unknown field", 400)
    with pytest.raises(JudgeError, match=r"^limit_field \(set it to max_tokens\)"):
        ask(GOOD_FIRST, retries=0, limit_field="max_completion_tokens")


@pytest.mark.parametrize("start", ["", ": PROCESSING\n\n", "event: message\n"])
def test_a_server_that_streams_unasked_is_told(server, ask, start) -> None:
    server.hello = lambda: server.reply(start + 'data: {"choices": []}\n\n')
    with pytest.raises(JudgeError, match=r"^base_url \(it streams"):
        ask(GOOD_FIRST, retries=0)


@pytest.mark.parametrize(
    ("status", "text", "passes"),
    [(503, "", True), (429, "slow down", True), (429, QUOTA, False), (401, "", False)],
)
def test_only_what_may_pass_is_an_outage(server, ask, status, text, passes) -> None:
    def script(prompt):
        server.hello = lambda: server.reply(text, status)
        return server.reply(text, status)

    server.script = script
    with pytest.raises(JudgeError) as caught:
        ask(GOOD_FIRST, retries=0)
    assert isinstance(caught.value, Outage) is passes
