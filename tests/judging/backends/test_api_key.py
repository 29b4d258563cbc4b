import logging

import pytest

from adakd.judging import ItemText, JudgeError, Question

KEY = "planted-key-0123456789"
ODD_KEY = 'k/1+2"3\\4&5'
GOOD_FIRST = Question(ItemText("Count.", "", ("one, two",)), "good", "poor")


def test_a_missing_key_is_told_before_any_call(server, ask, monkeypatch) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    with pytest.raises(JudgeError, match=r"^api_key_env: .* JUDGE_KEY is not set"):
        ask(GOOD_FIRST, api_key_env="JUDGE_KEY")
    monkeypatch.setenv("JUDGE_KEY", "clé")
    with pytest.raises(JudgeError, match=r"^api_key_env: .* JUDGE_KEY is not a valid key"):
        ask(GOOD_FIRST, api_key_env="JUDGE_KEY")
    assert not server.bodies


def test_a_key_goes_only_where_the_file_sends_it(server, ask, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    ask(GOOD_FIRST)
    assert not any(KEY in (sent or "") for sent in server.keys)
    monkeypatch.setenv("JUDGE_KEY", f" {KEY}\n")
    ask(GOOD_FIRST, api_key_env="JUDGE_KEY")
    assert server.keys[-1] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("key", "spelled"),
    [
        (KEY, KEY),
        (KEY, KEY.replace("-", "%2d")),
        (ODD_KEY, ODD_KEY),
        (ODD_KEY, "k%2F1%2B2%223%5c4%265"),
        (ODD_KEY, r"k\/1+2\"3\\4&5"),
        (ODD_KEY, r"k/1\u002b2\"3\\4\u0026" + "5"),
        (ODD_KEY, "k/1+2&quot;3\\4&amp;5"),
    ],
)
def test_a_key_never_reaches_a_verdict_a_log_or_a_message(
    server, ask, monkeypatch, caplog, capfd, key, spelled
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("JUDGE_KEY", key)
    replies = [
        server.says(f"your key is {spelled} [[A]]"),
        server.says(f"your key is {spelled}"),
        server.says(f"[[{spelled}]]"),
        server.reply(f"bad request with {spelled}", 400),
        server.reply(f"broken {spelled}", 500),
        server.reply(f"<html>{spelled}</html>"),
    ]
    waiting = list(replies)
    server.script = lambda prompt: waiting.pop()
    settings = {"api_key_env": "JUDGE_KEY", "retries": 0, "concurrency": 1}
    verdicts = ask(*[GOOD_FIRST] * len(replies), **settings)
    assert all("***" in verdict.reason for verdict in verdicts)
    server.hello = lambda: server.reply(f"who is {spelled}?", 401)
    with pytest.raises(JudgeError) as caught:
        ask(GOOD_FIRST, **settings)
    said = [str(verdicts), str(caught.value), repr(caught.value.__cause__), caplog.text]
    said += [*capfd.readouterr()]
    assert not any(form in text for text in said for form in (key, spelled))
