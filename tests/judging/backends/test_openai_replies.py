"""Whatever a server sends beside the verdict, the verdict is read; and errors are told as such."""

import json

import pytest

from adakd.judging import ItemText, JudgeError, Question
from adakd.judging.backends.openai_replies import Completion, Decisions, error_status, read_reply

QUESTION = Question(ItemText("Count.", "", ("one, two",)), "good", "poor")


def completion(content="[[A]]", message=None, choice=None, **fields):
    """Return a chat completion with fields of the message, the choice and the reply replaced."""
    said = {"role": "assistant", "content": content, **(message or {})}
    return {"choices": [{"message": said, "finish_reason": "stop", **(choice or {})}], **fields}


def read(reply, kind=Completion):
    body = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
    return read_reply(body, body.decode(errors="replace"), kind)


@pytest.mark.parametrize(
    "reply",
    [
        completion(message={"refusal": False}),
        completion(message={"refusal": {"why": 1}}),
        completion(message={"reasoning": 7, "tool_calls": "none"}),
        completion(choice={"finish_reason": 1}),
        completion(choice={"finish_reason": {"type": "stop"}}),
        completion(usage="none"),
        completion(usage=[]),
        completion(usage={"prompt_tokens": "many", "completion_tokens": -1}),
        completion([{"type": "text", "text": "[["}, {"type": "output_text", "text": "A]]"}]),
        completion([{"type": "thinking", "thinking": "B?"}, {"type": "text", "text": "[[A]]"}]),
        completion([None, 7, {"type": "text"}, {"type": "text", "text": "[[A]]"}]),
        b"\xef\xbb\xbf" + json.dumps(completion()).encode(),
        b"\n\n " + json.dumps(completion()).encode() + b"\n",
    ],
)
def test_a_field_beside_the_verdict_costs_no_verdict(reply) -> None:
    assert read(reply).choices[0].message.content == "[[A]]"


@pytest.mark.parametrize(
    ("inside", "content"),
    [
        (b"\n", "a\n[[A]]"),
        (b"\x00", "a\x00[[A]]"),
        (b"\xff", "a\ufffd[[A]]"),
        (b"\\ud83d", "a\ud83d[[A]]"),
    ],
    ids=("line", "nul", "latin", "surrogate"),
)
def test_a_text_that_is_no_strict_json_is_read(inside, content) -> None:
    body = json.dumps(completion("a@[[A]]")).encode().replace(b"@", inside)
    assert read(body).choices[0].message.content == content


def test_other_encodings_are_those_of_the_response(server, ask) -> None:
    text = json.dumps(completion("schön [[A]]"), ensure_ascii=False)
    body = text.encode("utf-16")
    assert read_reply(body, text, Completion).choices[0].message.content == "schön [[A]]"


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"null",
        b"[]",
        b"{not json",
        pytest.param(b"[" * 10**5, id="deep"),
        {"choices": []},
        {"choices": [{"text": "A"}]},
        completion(1),
        {"message": {"content": "[[A]]"}},
        {"data": completion()},
    ],
)
def test_what_is_no_reply_is_none(reply) -> None:
    assert read(reply) is None


@pytest.mark.parametrize(
    ("counts", "prompt"),
    [(412, 412), (412.0, 412), (412.5, 412), (-1, None), (True, None), ("9", None), (10**40, None)],
)
def test_only_a_count_is_a_number_of_tokens(counts, prompt) -> None:
    assert read(completion(usage={"prompt_tokens": counts})).usage.prompt == prompt
    decided = read({"answers": {}, "usage": {"input_tokens": counts}}, Decisions)
    assert decided.usage.prompt == prompt


@pytest.mark.parametrize(
    "message",
    [
        {"reasoning_content": "Hm.", "reasoning": None},
        {"reasoning_content": "", "reasoning": "Hm."},
        {"thinking": "Hm."},
        {"reasoning_details": [{"type": "reasoning.text", "text": "Hm."}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]},
    ],
    ids=("content", "reasoning", "thinking", "details", "parts"),
)
def test_reasoning_has_many_names_and_is_told(server, ask, message) -> None:
    fields = {"content": None, **message}
    server.script = lambda prompt: server.says(fields.pop("content", None), "length", **fields)
    (verdict,) = ask(QUESTION)
    assert verdict.choice == "failed"
    assert verdict.reason.startswith("max_tokens reached while thinking (raise max_tokens")
    assert verdict.reason.endswith(": Hm.")


def test_a_call_of_a_tool_is_told(server, ask) -> None:
    server.script = lambda prompt: server.says(None, "tool_calls", tool_calls=[{"id": "1"}])
    assert "a call of a tool" in ask(QUESTION)[0].reason


@pytest.mark.parametrize(
    ("finish", "why", "lasts"),
    [
        ("MAX_TOKENS", "max_tokens reached before the verdict: Well", True),
        ("SAFETY", "cut off by the server's filter before the verdict: Well", True),
        ("error", "broken off by the server before the verdict: Well", False),
        ("end_turn", "no verdict: Well", True),
    ],
)
def test_other_servers_words_for_a_cut_are_known(server, ask, finish, why, lasts) -> None:
    server.script = lambda prompt: server.says("Well", finish)
    (verdict,) = ask(QUESTION)
    assert (verdict.reason, verdict.lasts) == (why, lasts)


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        ({"error": {"code": 429, "message": "slow down"}}, 429),
        ({"choices": [{"message": {"content": ""}, "error": {"code": 502}}]}, 502),
        ({"error": {"code": "busy"}}, None),
        ({"error": {"code": 200}}, None),
        ({"error": "busy"}, None),
        (completion('{"error": {"code": 500}} [[A]]'), None),
        (completion(choice={"error": None}), None),
        (["error"], None),
    ],
)
def test_the_status_of_an_error_under_200(reply, status) -> None:
    assert error_status(json.dumps(reply)) == status


@pytest.mark.parametrize(
    ("code", "field"), [(429, "concurrency"), (402, "api_key_env"), (502, "base_url")]
)
def test_an_error_under_200_is_what_it_says(server, ask, code, field) -> None:
    body = json.dumps({"error": {"code": code, "message": "a word of the server"}})
    server.hello = lambda: server.reply(body)
    with pytest.raises(JudgeError, match=rf"^{field} \(.*HTTP {code}: .*a word of the server"):
        ask(QUESTION, retries=0)
