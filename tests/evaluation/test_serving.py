"""A server that decodes: the same greedy answers as here, and what happens where it is lost."""

import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from adakd.config.scoring import Server
from adakd.errors import AdakdError
from adakd.evaluation.harness import Harness, score
from adakd.evaluation.serving import ServedAnswers, answers_of, check_server
from adakd.models.decoding import Ends, Request
from adakd.planning import plan
from adakd.policies import Decoding

STUB = Path(__file__).with_name("stub_server.py")
ENDS = Ends(0, 1)
START = f"{sys.executable} {STUB} {{folder}} {{port}} {{dtype}}"


def engine(start: str = START, **rest: Any) -> dict[str, Any]:
    return {"kind": "server", "start": start, **rest}


class Saved:
    """Stands for a model or a tokenizer of which nothing is read; counts how often it is saved."""

    device, dtype = "here", torch.float16

    def __init__(self) -> None:
        self.times, self.places = 0, list[str]()

    def save_pretrained(self, folder: Path) -> None:
        self.times += 1
        folder.mkdir(parents=True, exist_ok=True)

    def to(self, place: str) -> None:
        self.places.append(place)


def requests(count: int = 6, limit: int = 9) -> list[Request]:
    return [Request([2 + n, 3 + n], limit, f"item {n}") for n in range(count)]


def echoed(folder: Path, asked: list[Request], decoding: Decoding, **rest: Any) -> list[list[int]]:
    server = Server(**engine(**{"retries": 0, **rest}))
    model: Any = Saved()
    with answers_of(server, Saved(), folder) as decode:
        assert isinstance(decode, ServedAnswers)
        try:
            found = decode(model, asked, decoding, ENDS, 2)
            assert decode(model, asked[:1], decoding, ENDS, 2) == found[:1]
            assert (model.times, model.places) == (1, ["cpu"])
            process = decode._process
            assert process is not None
            decode.hand_back(model)
            decode.hand_back(model)
            assert not process.alive
            assert model.places == ["cpu", "here"]
            return found
        finally:
            seen = folder / "seen.jsonl"
            if seen.exists():
                seen.rename(folder.with_suffix(".seen"))


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("STUB_ECHO", "1")
    return monkeypatch


def test_greedy_answers_are_those_of_this_process(
    bench: Callable[..., Any], tmp_path: Path
) -> None:
    """By token ids and, without them, by texts; of an untrained model, in the harness."""
    greedy = {"evaluation.sampling": {"do_sample": False, "max_new_tokens": 8}}
    made = bench(greedy)
    expected = made.score("puzzles")
    tokenizer = made.context.tokenizer
    with answers_of(Server(**engine()), tokenizer, tmp_path / "served") as answers:
        harness = Harness(made.model, tokenizer, made.suite, answers)
        (found, *_) = score(harness, [made.jobs("puzzles")], made.suite, made.tasks)
    assert found.items == expected.items
    assert {item.answer for item in expected.items} != {""}
    assert not (tmp_path / "served").exists()


def test_a_server_without_token_ids_gives_texts(bench: Any, tmp_path: Path) -> None:
    tokenizer = bench().context.tokenizer
    ends = Ends(tokenizer.eos_token_id, tokenizer.pad_token_id)
    served = ServedAnswers(Server(**engine()), tokenizer, tmp_path, ExitStack())
    for reason, ended in (("stop", [ends.end]), ("length", [])):
        choice = SimpleNamespace(model_extra={}, text="a word", finish_reason=reason)
        tokens = served._tokens(choice, ends)
        assert tokenizer.decode(tokens, skip_special_tokens=True) == "a word"
        assert tokens[-1:] == ended or not ended
        assert (ends.end in tokens) == bool(ended)


def test_each_request_has_its_prompt_its_seed_and_its_limit(echo: Any, tmp_path: Path) -> None:
    asked, decoding = requests(), Decoding(temperature=0.7, top_p=0.9, top_k=5)
    found = echoed(tmp_path / "s", asked, decoding)
    assert found == [[*one.prompt, ENDS.end] for one in asked]
    seen = [json.loads(line) for line in (tmp_path / "s.seen").read_text().splitlines()]
    sent = {tuple(one["prompt"]): one for one in seen}
    assert sent.keys() == {tuple(one.prompt) for one in asked}
    assert len({one["seed"] for one in sent.values()}) == len(asked)
    for one in sent.values():
        chosen = (one["temperature"], one["top_p"], one["top_k"], one["max_tokens"])
        assert chosen == (0.7, 0.9, 5, 9)
        assert one["stop_token_ids"] == [ENDS.end]
        assert one["model"] == str(tmp_path / "s" / "model")
        assert one["dtype"] == "float16"
    again = echoed(tmp_path / "t", asked, decoding)
    assert again == found
    later = [json.loads(line) for line in (tmp_path / "t.seen").read_text().splitlines()]
    assert {tuple(one["prompt"]): one["seed"] for one in later} == {
        prompt: one["seed"] for prompt, one in sent.items()
    }


def test_a_server_that_is_lost_is_started_again(echo: pytest.MonkeyPatch, tmp_path: Path) -> None:
    echo.setenv("STUB_DIES", "3")
    asked = requests()
    found = echoed(tmp_path / "s", asked, Decoding())
    assert found == [[*one.prompt, ENDS.end] for one in asked]


@pytest.mark.parametrize(
    ("start", "why"),
    [
        (f"{sys.executable} -c \"print('no such card'); exit(4)\" {{folder}} {{port}} {{dtype}}",
         r"ended with code 4; its last lines: no such card; fix the command"),
        (f"{sys.executable} -c \"import time; time.sleep(60)\" {{folder}} {{port}} {{dtype}}",
         r"not answered within 1 s \(evaluation\.engine\.wait\)"),
    ],
    ids=["ends", "hangs"],
)  # fmt: skip
def test_a_server_that_does_not_start_is_told(start: str, why: str, tmp_path: Path) -> None:
    wait = 1 if "sleep" in start else 60
    with pytest.raises(AdakdError, match=r"evaluation\.engine: the server .*" + why):
        echoed(tmp_path / "s", requests(), Decoding(), start=start, wait=wait)


def test_a_refused_request_ends_the_run_with_the_servers_words(echo: Any, tmp_path: Path) -> None:
    with pytest.raises(AdakdError, match=r"refuses a request: .*max_tokens is too large"):
        echoed(tmp_path / "s", requests(limit=2000), Decoding())


def test_a_command_that_could_not_serve_the_model_is_refused() -> None:
    for start, why in (
        ("vllm serve {folder}", r"has no \{port\}"),
        ("vllm serve x --port {port}", r"has no \{folder\}"),
        ("vllm serve {folder} --port {port}", r"no \{dtype\}: it may compute in another precision"),
        (
            "vllm serve {folder} --port {port} --name {name}",
            r"'name'\): only \{folder\}, \{port\} and \{dtype\} are known",
        ),
        ("vllm serve {folder.name} --port {port}", r"\{dtype\} are known"),
        ("vllm serve {folder[name]} --port {port}", r"\{dtype\} are known"),
        ("vllm serve '{folder} --port {port}", "No closing quotation"),
    ):
        with pytest.raises(ValidationError, match=why):
            Server(**engine(start))
    with pytest.raises(AdakdError, match=r"there is no program 'no-such-vllm'"):
        check_server(Server(**engine("no-such-vllm {folder} {port} {dtype}")))


def test_the_engine_is_in_the_keys_of_answers_alone(make_suite: Callable[..., Any]) -> None:
    own = {"divergence": "reverse_kl", "policy": "on_policy"}
    changes = {"divergences": [own], "evaluation.engine": "batches"}
    plans = [plan(make_suite({**changes, "evaluation.engine": one})) for one in
             ("batches", engine(), engine(START + " --half"), engine(wait=5))]  # fmt: skip
    trained = [[cell.key for cell in one.cells] for one in plans]
    assert all(keys == trained[0] for keys in trained)  # a server's students write in batches
    sets = [{job.key for job in one.jobs if job.task == "puzzles"} for one in plans]
    assert not sets[0] & sets[1]
    assert not sets[1] & sets[2]
    assert sets[1] == sets[3]
    rest = [{job.key for job in one.jobs if job.task != "puzzles"} for one in plans]
    assert all(keys == rest[0] for keys in rest)
