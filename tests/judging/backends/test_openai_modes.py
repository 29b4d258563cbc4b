import asyncio
import json

import pytest

from adakd.errors import AdakdError
from adakd.judging import ItemText, JudgeError, OpenAI, Question

QUESTION = Question(ItemText("Count.", "", ()), "good", "poor")
JSON = '{"reason": "none", "verdict": "A"}'
RATED = '{"reason": "none", "score": 7}'


def logprobs(*tokens: str, **likely: float):
    """Return log-probabilities of tokens, each with the same likeliest ones."""
    top = [{"token": token, "logprob": value} for token, value in likely.items()]
    return {"content": [{"token": t, "logprob": -0.1, "top_logprobs": top} for t in tokens]}


SHOWN = logprobs('{"reason": "none", "verdict": "', "A", '"}', A=-0.1, B=-2.4, C=-9.0)


@pytest.fixture
def serves(server):
    """Make the stub a server that honours some of what a request asks for."""

    def serve(
        *kinds: str, logprobs=None, otherwise: int | None = None, decides=None, body: str = JSON
    ) -> None:
        """Honour `kinds` of response_format; refuse the others, or ignore them."""

        def answer(text: str):
            request = server.bodies[-1]
            kind = request.get("response_format", {}).get("type")
            if kind in kinds:
                return server.says(body, logprobs=logprobs if "logprobs" in request else None)
            return server.reply("no", otherwise) if kind and otherwise else server.says(text)

        server.hello = lambda: answer("yes")
        server.script = lambda prompt: answer("[[A]]")
        if decides:
            server.decide = lambda state: server.decides(**decides)

    return serve


@pytest.fixture
def mode_of(server):
    """Return the mode of an opened judge."""

    def opened(found: str | None = None, **settings) -> str:
        known = {"base_url": server.url, "model": "m", "retries": 0, "timeout": 3.0}

        async def session() -> str:
            async with OpenAI(**{**known, **settings}).open(found) as session:
                return session.mode

        return asyncio.run(session())

    return opened


EVEN = {"A": 0.25, "B": 0.25, "C": 0.5}
SERVERS = [
    # as transformers serve: typed decisions, everything else is ignored
    ({"decides": EVEN}, "decision"),
    # as vLLM and OpenAI
    ({"kinds": ["json_schema"], "logprobs": SHOWN}, "json_schema+logprobs"),
    ({"kinds": ["json_schema"]}, "json_schema"),
    # as llama_cpp.server
    ({"kinds": ["json_object"], "otherwise": 500, "logprobs": SHOWN}, "json_object+logprobs"),
    ({"kinds": ["json_object"], "otherwise": 500}, "json_object"),
    ({"otherwise": 400}, "text"),
    ({"otherwise": 501}, "text"),
    ({}, "text"),
    # those that promise more than they do
    ({"kinds": ["json_schema"], "body": "yes"}, "text"),
    ({"kinds": ["json_schema"], "body": '{"verdict": "A"}'}, "text"),
    ({"kinds": ["json_schema"], "body": '{"reason": "", "verdict": "D"}'}, "text"),
    ({"kinds": ["json_schema"], "logprobs": {"content": []}}, "json_schema"),
    ({"kinds": ["json_schema"], "logprobs": {"tokens": ["A"]}}, "json_schema"),
    ({"decides": {"A": 1.0}}, "text"),
    ({"decides": {"A": 5.0, "B": 1.0, "C": 1.0}}, "text"),
]


@pytest.mark.parametrize(("offer", "mode"), SERVERS)
def test_the_best_mode_that_a_server_shows_is_taken(serves, mode_of, offer, mode) -> None:
    serves(*offer.get("kinds", ()), **{k: v for k, v in offer.items() if k != "kinds"})
    assert mode_of() == mode


@pytest.mark.parametrize(("offer", "mode"), SERVERS[:8])
def test_questions_are_asked_in_the_mode_that_was_found(serves, ask, offer, mode) -> None:
    serves(*offer.get("kinds", ()), **{k: v for k, v in offer.items() if k != "kinds"})
    verdict = ask(QUESTION, mode="auto")[0]
    assert verdict.choice == ("tie" if mode == "decision" else "first")
    assert (verdict.probabilities is not None) == (mode == "decision" or "logprobs" in mode)


def test_refused_logprobs_leave_the_schema(server, serves, mode_of) -> None:
    serves("json_schema")
    honest = server.hello

    def hello():
        return server.reply("no logprobs", 400) if "logprobs" in server.bodies[-1] else honest()

    server.hello = hello
    assert mode_of() == "json_schema"


def test_a_known_mode_is_not_looked_for(server, serves, mode_of) -> None:
    serves("json_schema", logprobs=SHOWN, decides=EVEN)
    assert mode_of(found="json_schema") == "json_schema"
    assert mode_of(mode="json_object") == "json_object"
    assert mode_of(mode="text", found="decision") == "text"
    assert len(server.bodies) == 3
    assert mode_of(found="of an older version") == "decision"


def test_a_prompt_that_knows_texts_only_is_asked_for_texts(
    server, serves, mode_of, tmp_path
) -> None:
    serves("json_schema", decides=EVEN)
    own = tmp_path / "own.j2"
    own.write_text("{{ first }} or {{ second }}? Say [[A]] or [[B]].", encoding="utf-8")
    assert mode_of(prompt=own) == "text"
    assert len(server.bodies) == 1
    with pytest.raises(AdakdError, match=r"mode: .*own.j2 ignores `form`"):
        mode_of(prompt=own, mode="json_schema")


def test_a_rating_needs_no_logprobs(server, serves, mode_of, ask) -> None:
    serves("json_schema", body=RATED)
    assert mode_of(asks="rating") == "json_schema"
    assert not any("logprobs" in body for body in server.bodies)
    rated = ask(Question(QUESTION.item, "good", None), asks="rating", mode="json_schema")[0]
    assert (rated.choice, rated.score, rated.reason) == ("rated", 7, "none")
    with pytest.raises(AdakdError, match="mode: a rating does not use logprobs"):
        mode_of(asks="rating", mode="json_schema+logprobs")


def test_the_schema_binds_labels_and_scores(server, mode_of) -> None:
    mode_of(mode="json_schema", verdicts=("1", "2", "0"))
    mode_of(mode="json_object", asks="rating", scale=(0, 3))
    pair, rating = (body["response_format"] for body in server.bodies)
    schema = pair["json_schema"]["schema"]
    assert pair["json_schema"]["strict"] is True
    assert schema["properties"]["verdict"]["enum"] == ["1", "2", "0"]
    assert schema["required"] == ["reason", "verdict"]
    assert schema["additionalProperties"] is False
    assert rating["schema"]["properties"]["score"]["enum"] == [0, 1, 2, 3]


def test_a_server_in_trouble_is_waited_for_and_not_taken_for_a_lesser_one(
    server, serves, mode_of
) -> None:
    serves("json_schema", logprobs=SHOWN)
    honest, replies = server.hello, [server.reply("busy", 503, headers={"retry-after-ms": "1"})]
    server.decide = lambda state: server.reply("busy", 503)
    server.hello = lambda: replies.pop() if replies else honest()
    assert mode_of(retries=1) == "json_schema+logprobs"


def test_a_refusal_is_not_repeated(server, serves, mode_of) -> None:
    serves(otherwise=500)
    mode_of(retries=3)
    assert len(server.bodies) == 6


def test_a_server_without_a_single_answer_is_told(server, mode_of) -> None:
    server.hello = lambda: server.reply(json.dumps({"error": "who?"}), 404)
    with pytest.raises(JudgeError, match=r"^model \('m' is unknown there"):
        mode_of()
