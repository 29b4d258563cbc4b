import logging
import socket

import pytest

from adakd.errors import AdakdError
from adakd.judging import check, judge_answers, load_judge
from adakd.results import VerdictRecord

KEY = "planted-key-0123456789"
SOON = {"retry-after-ms": "1"}


@pytest.fixture
def judged(server, store, items, judge_file):
    """Judge the run by the stub server, and one item of it unless a test needs more."""

    def judge(limit=1, **settings):
        return judge_answers(store, load_judge(judge_file(**settings)), items, limit=limit)

    return judge


@pytest.fixture
def first_then(server):
    """Return a script: `replies` first, then a sound verdict."""

    def script(*replies):
        waiting = list(replies)
        server.prefer("good")
        sound = server.script
        server.script = lambda prompt: waiting.pop(0) if waiting else sound(prompt)

    return script


@pytest.mark.parametrize(
    "bad",
    [
        {"body": "{}", "status": 429, "headers": SOON},
        {"body": '{"error": {"message": "busy"}}', "status": 500, "headers": SOON},
        {"body": "", "status": 503, "headers": SOON},
        {"body": "{not json"},
        {"body": "[]"},
        {"body": '{"error": "overloaded"}'},
        {"body": '{"choices": []}'},
        {"body": "<html>Sign in</html>", "content_type": "text/html"},
    ],
)
def test_a_failed_call_is_tried_again(server, judged, first_then, bad) -> None:
    first_then(server.reply(**bad))
    assert judged().outcomes == {"win": 1}
    assert len(server.questions) == 3


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"body": '{"error": "busy"}', "status": 500, "headers": SOON}, "HTTP 500: "),
        ({"body": "{}", "status": 429, "headers": SOON}, "HTTP 429"),
        ({"body": '{"error": "too long"}', "status": 400}, 'HTTP 400: {"error": "too long"}'),
        ({"body": "{not json"}, "sends no chat completion but: {not json"),
        ({"body": "<html>Sign in</html>", "content_type": "text/html"}, "but: <html>Sign in"),
    ],
)
def test_a_call_that_keeps_failing_is_counted_as_failed(
    server, store, judged, first_then, bad, why
) -> None:
    first_then(*[server.reply(**bad)] * (1 if bad.get("status") == 400 else 2))
    summary = judged(concurrency=1)
    assert summary.outcomes == {"failed": 1}
    assert why in summary.failure
    assert [record.verdict for record in store.of(VerdictRecord)] == ["failed", "candidate"]


@pytest.mark.parametrize(
    ("text", "finish", "why"),
    [
        ("", "stop", "empty"),
        (None, "stop", "empty"),
        ("[[D]]", "stop", "'D' is none of"),
        ("Both are good.", "stop", "no verdict"),
        ("Answer A is", "length", "max_tokens"),
    ],
)
def test_a_reply_without_a_verdict_is_a_failure_and_never_a_tie(
    server, store, judged, text, finish, why
) -> None:
    server.script = lambda prompt: server.says(text, finish)
    summary = judged()
    assert summary.outcomes == {"failed": 1}
    assert why in summary.failure
    assert len(server.questions) == 2
    assert {record.completion_tokens for record in store.of(VerdictRecord)} == {3}


def test_a_slow_answer_is_a_failure_that_does_not_end_the_judging(server, judged) -> None:
    server.prefer("good")
    sound = server.script

    def script(prompt):
        slow = server.shown(prompt, "A").startswith("poor")
        return server.reply("", hang=True) if slow else sound(prompt)

    server.script = script
    summary = judged(limit=2, timeout=0.3, retries=0)
    assert summary.outcomes["failed"] >= 1
    assert "did not answer within 0.3 s" in summary.failure


def test_the_request_says_what_the_file_says(server, judged) -> None:
    judged(temperature=0.2, max_tokens=77, extra={"chat_template_kwargs": {"thinking": False}})
    for body in server.bodies:
        assert body["model"] == "m"
        assert body["temperature"] == 0.2
        assert body["max_tokens"] == 77
        assert body["chat_template_kwargs"] == {"thinking": False}
    server.bodies.clear()
    judged(temperature=None, limit_field="max_completion_tokens", max_tokens=5)
    assert server.bodies[0]["max_completion_tokens"] == 5
    assert not {"temperature", "max_tokens"} & server.bodies[0].keys()


def test_no_more_calls_than_allowed_are_under_way(server, judged) -> None:
    judged(limit=None, concurrency=3)
    assert 1 <= server.most_under_way <= 3
    assert len(server.questions) == 10


def test_a_proxy_for_the_outside_world_is_passed_by(server, judged, monkeypatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert judged(retries=0).outcomes == {"tie": 1}


# --- what ends a judging at once --------------------------------------------------------------


def test_an_unreachable_server_is_told_before_the_first_question(judge_file) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    file = judge_file(base_url=f"http://127.0.0.1:{port}/v1", retries=0)
    with pytest.raises(AdakdError) as caught:
        check(load_judge(file))
    assert str(caught.value).startswith(f"{file}: base_url (start the server, or mend the address)")
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
def test_a_refusal_names_the_field_to_mend(server, judged, judge_file, status, field) -> None:
    server.hello = lambda: server.reply('{"error": "no"}', status)
    with pytest.raises(AdakdError) as caught:
        judged(retries=0)
    assert str(caught.value).startswith(f"{judge_file(retries=0)}: {field} (")
    assert not server.questions


def test_an_address_of_something_else_is_told(server, judged) -> None:
    server.hello = lambda: server.reply("<html>Hello</html>", content_type="text/html")
    with pytest.raises(AdakdError, match=r"base_url \(.*sends no chat completion but: <html>"):
        judged(retries=0)


def test_a_server_that_goes_away_ends_the_judging_and_keeps_the_verdicts(
    server, store, judged
) -> None:
    def script(prompt):
        if len(server.questions) < 4:
            return server.says("[[A]]")
        server.hello = lambda: server.reply("gone", 502)
        return server.reply("gone", 502)

    server.script = script
    with pytest.raises(AdakdError, match="HTTP 502: gone"):
        judged(limit=None, concurrency=1, retries=0)
    asked = [record.verdict for record in store.of(VerdictRecord) if record.verdict != "identical"]
    assert len(asked) == 3


# --- keys -------------------------------------------------------------------------------------


def test_a_missing_key_is_told_before_any_call(server, judged, monkeypatch) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    with pytest.raises(AdakdError, match=r"stub.yaml: api_key_env: .* JUDGE_KEY is not set"):
        judged(api_key_env="JUDGE_KEY")
    monkeypatch.setenv("JUDGE_KEY", "clé")
    with pytest.raises(AdakdError, match=r"api_key_env: the value of JUDGE_KEY cannot be a key"):
        judged(api_key_env="JUDGE_KEY")
    assert not server.bodies


def test_a_key_goes_only_where_the_file_sends_it(server, judged, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    judged()
    assert not any(KEY in (sent or "") for sent in server.keys)
    monkeypatch.setenv("JUDGE_KEY", f" {KEY}\n")
    judged(limit=2, api_key_env="JUDGE_KEY")
    assert server.keys[-1] == f"Bearer {KEY}"


def test_a_key_never_reaches_a_record_a_log_or_a_message(
    server, store, judged, monkeypatch, caplog, capfd
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("JUDGE_KEY", KEY)
    replies = [
        server.says(f"your key is {KEY} [[A]]"),
        server.says(f"your key is {KEY}"),
        server.says(f"[[{KEY}]]"),
        server.reply(f"bad request with {KEY}", 400),
        server.reply(f"broken {KEY}", 500),
        server.reply(f"<html>{KEY}</html>"),
    ]
    server.script = lambda prompt: replies.pop() if replies else server.says("[[C]]")
    summary = judged(limit=None, api_key_env="JUDGE_KEY", retries=0)
    assert "***" in store.file.read_text(encoding="utf-8")
    server.hello = lambda: server.reply(f"who is {KEY}?", 401)
    with pytest.raises(AdakdError) as caught:
        judged(limit=None, api_key_env="JUDGE_KEY", max_tokens=1)
    said = [str(summary), str(caught.value), repr(caught.value.__cause__), caplog.text]
    said += [*capfd.readouterr(), store.file.read_text(encoding="utf-8")]
    assert not any(KEY in text for text in said)
