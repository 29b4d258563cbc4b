"""What a machine can do and what suites take: right values, and what is missing is named."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from rich.console import Console

from adakd.commands import doctor
from adakd.commands.doctor import Machine, faster, findings_table, hub_state, measured, need
from adakd.config.loading import load_suite
from adakd.models.sizes import parameters
from adakd.planning import plan
from adakd.planning.precision import Fastest, fastest

SPEEDS = {"float32": 1e9, "bf16": 2e9, "fp16": 1e9}
MACHINE = Machine(
    hardware={},
    threads=1,
    memory=2**35,
    has_gpu=False,
    speeds=SPEEDS,
    auto="bf16",
    reason="a processor",
    hub="off",
    extras={},
)


@pytest.fixture
def server() -> Iterator[str]:
    class Refusing(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_error(503)

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Refusing) as found:
        Thread(target=found.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{found.server_port}"
        found.shutdown()


def test_the_needs_of_a_suite_by_hand(make_suite: Callable[..., Any]) -> None:
    suite = make_suite({"controls": {"sft": False}, "seeds": [1], "teacher.sft.steps": 3})
    planned = plan(suite)
    teacher = parameters(suite.teacher.base, suite.teacher.base)
    student = parameters(suite.student, suite.teacher.base)
    assert teacher is not None
    assert student is not None
    found = need(planned, MACHINE)
    assert found.memory == 16 * teacher
    assert (found.hub, found.lacks) == ((), ())

    def tokens(training: Any) -> int:
        return int(training.steps * training.sequences * suite.data.max_tokens)

    trained = 6 * teacher * tokens(suite.teacher.sft)
    distilled = len(suite.divergences) * 2 * 6 * student * tokens(suite.training)
    read = 2 * teacher * tokens(suite.training)
    assert found.seconds == pytest.approx((trained + distilled + read) / 1e9)
    faster = replace(MACHINE, speeds={name: 2 * speed for name, speed in SPEEDS.items()})
    assert need(planned, faster).seconds == pytest.approx(found.seconds / 2)


@pytest.mark.parametrize("precision", ["bf16", "float32"])
def test_auto_is_what_a_plan_takes(
    make_suite: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    for module in ("adakd.commands.doctor", "adakd.planning.precision"):
        monkeypatch.setattr(f"{module}.fastest", lambda: Fastest(precision, "a device"))
    monkeypatch.setattr(doctor, "SECONDS", 0.0)
    planned = plan(make_suite({"training.precision": "auto"}))
    assert measured().auto == planned.suite.training.precision == precision


@pytest.mark.parametrize(
    ("auto", "float32", "bf16", "told"),
    [
        ("bf16", 2.6, 2.0, ["float32 is 1.3 times as fast here"]),
        ("float32", 2.0, 5.0, ["bf16 is 2.5 times as fast here"]),
        ("bf16", 2.2, 2.0, []),
        ("float32", 9.0, 2.0, []),
    ],
)
def test_a_measurement_that_disagrees_is_told(
    auto: str, float32: float, bf16: float, told: list[str]
) -> None:
    speeds = {"float32": float32 * 1e9, "bf16": bf16 * 1e9, "fp16": 1e12}
    machine = replace(MACHINE, auto=auto, speeds=speeds)
    console = Console(width=200)
    with console.capture() as shown:
        console.print(findings_table(doctor.Findings(machine, ())))
    text = shown.get()
    assert f"auto is {auto}, on a processor (GFLOP/s of a product: fp16 1,000" in text
    assert re.findall(r"\w+ is \S+ times as fast here", text) == told
    assert (faster(machine) is not None) == bool(told)


def test_what_a_machine_lacks() -> None:
    planned = plan(load_suite("smollm2-dolly"))
    found = need(planned, MACHINE)
    assert found.memory == 16 * 135_000_000
    assert "HuggingFaceTB/SmolLM2-135M-Instruct" in found.hub
    assert found.lacks == ("GPU", "hub")  # 1 GFLOP/s: weeks
    able = replace(MACHINE, has_gpu=True, hub="reachable")
    assert need(planned, able).lacks == ()
    assert need(planned, replace(able, memory=2**30)).lacks == ("memory",)


def test_a_size_that_is_not_known_is_not_guessed() -> None:
    found = need(plan(load_suite("paper/table1-gpt2")), MACHINE)
    assert (found.memory, found.seconds, found.lacks) == (None, None, ("GPU?", "hub"))


def test_adapters_need_less_memory_than_all_weights(make_suite: Callable[..., Any]) -> None:
    suite = make_suite({"training.lora": {"r": 2}, "teacher.sft.lora": {"r": 2}})
    size = parameters(suite.teacher.base, suite.teacher.base)
    assert size is not None
    assert need(plan(suite), MACHINE).memory == 4 * size


def test_a_hub_that_answers_is_reachable(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "HF_HUB_OFFLINE" in hub_state(server)
    monkeypatch.setattr(doctor, "is_offline_mode", lambda: False)
    assert hub_state(server) == "reachable"
    nobody = "http://127.0.0.1:9"
    assert hub_state(nobody).startswith(f"not reachable: {nobody}: ")


def test_the_command(command_line: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SECONDS", 0.01)
    shipped = doctor.resources.shipped("suites")
    two = {name: shipped[name] for name in ("smoke", "smollm2-dolly")}
    monkeypatch.setattr(doctor.resources, "shipped", lambda _: two)
    done = command_line("doctor")
    assert (done.code, done.err) == (0, "")
    assert "HF_HUB_OFFLINE" in done.out
    assert "smollm2-dolly" in done.out
    found = json.loads(command_line("doctor", "--json").out)
    speeds = found["machine"]["speeds"]
    assert found["machine"]["auto"] == fastest().precision
    assert set(speeds) == {"float32", "bf16", "fp16"}
    assert [one["suite"] for one in found["suites"]] == ["smoke", "smollm2-dolly"]
    assert found["suites"][0]["hub"] == []
