"""Ctrl-C and SIGTERM end a run at any moment, and say that nothing is lost."""

import gc
import os
import random
import signal
import subprocess
import sys
import time
import weakref
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from adakd import cli, interrupts
from adakd.console import PlainConsole
from adakd.interrupts import Interrupted, heeded, kept
from adakd.progress import Live

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Cycle:
    me: "Cycle"


def drop_a_signal(number: int) -> None:
    """Send a signal to this process inside the garbage collector, where Python drops it."""
    cycle = Cycle()
    cycle.me = cycle
    reference = weakref.ref(cycle, lambda _: os.kill(os.getpid(), number))
    del cycle
    gc.collect()
    assert reference() is None


@pytest.mark.parametrize("number", CODES)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_that_python_drops_is_heeded_at_the_next_step(number: int) -> None:
    live = Live(PlainConsole(file=StringIO()))
    with heeded(), live.stage("train", 2) as show:
        show(1)
        drop_a_signal(number)  # does not raise
        with pytest.raises(Interrupted):
            show(2)
        assert interrupts.exit_code() == CODES[signal.Signals(number)]
        with pytest.raises(Interrupted):
            live.note("still")
        interrupts._asked.clear()


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in CODES]
    with heeded(), pytest.raises(Interrupted):
        signal.raise_signal(signal.SIGTERM)
    assert [signal.getsignal(number) for number in CODES] == before
    interrupts.check()


@pytest.mark.parametrize("number", CODES)
def test_a_library_that_replaces_handlers_takes_no_signal(number: int) -> None:
    with heeded():
        with kept():
            signal.signal(number, lambda *_: sys.exit(15))
        with pytest.raises(Interrupted):
            signal.raise_signal(number)


@pytest.mark.parametrize("number", CODES)
def test_the_command_says_that_finished_work_is_kept(
    command_line: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def report(_: Path) -> None:
        os.kill(os.getpid(), number)
        time.sleep(1)

    monkeypatch.setattr("adakd.reporting.write_report", report)
    done = command_line("report", tmp_path)
    assert done.code == CODES[signal.Signals(number)]
    assert done.err == f"adakd: {cli.STOPPED}\n"


def test_the_end_of_a_file_is_no_interruption(
    command_line: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def report(_: Path) -> None:
        raise EOFError("Ran out of input")

    monkeypatch.setattr("adakd.reporting.write_report", report)
    with pytest.raises(RuntimeError, match="unexpected end of a file: Ran out of input"):
        command_line("report", tmp_path)


@pytest.fixture
def looping() -> list[str]:
    """A program that mostly collects garbage with callbacks, as trainings do at their start."""
    code = """
import gc, weakref, sys
from pathlib import Path
from adakd import cli, progress
import adakd.reporting

class Cycle: pass

def slow(_):
    for _ in range(2000): pass

def report(folder):
    with progress.Live(cli.console).stage("train", 1) as show:
        print("begun", flush=True)
        while True:
            kept = []
            for _ in range(200):
                cycle = Cycle(); cycle.me = cycle
                kept.append(weakref.ref(cycle, slow))
                del cycle
            gc.collect()
            show(0.5)

adakd.reporting.write_report = report
sys.argv = ["adakd", "report", "nowhere"]
cli.main()
"""
    return [sys.executable, "-c", code]


@pytest.mark.parametrize("number", CODES)
def test_ten_signals_at_random_moments(looping: list[str], number: int) -> None:
    chance = random.Random(int(number))
    process = [
        subprocess.Popen(looping, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(10)
    ]
    for one in process:
        assert one.stdout is not None
        assert one.stdout.readline() == "begun\n"
    for one in process:
        time.sleep(chance.random() / 20)
        one.send_signal(number)
    for one in process:
        _, said = one.communicate(timeout=60)
        assert one.returncode == CODES[signal.Signals(number)]
        assert said.endswith(f"adakd: {cli.STOPPED}\n")
