"""The terminal shows what users, models and servers write, and obeys none of it."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from adakd import progress
from adakd.config.loading import load_suite
from adakd.console import PlainConsole, printable, shown
from adakd.progress import Live

HOSTILE = ("kl[/b]", "kl [red] x", ":smile:", "[link=https://x]y", "\\[/b]", "a\x1b[2Jb", "\x9b1m")
SAID = {"a\x1b[2Jb": r"a\x1b[2Jb", "\x9b1m": r"\x9b1m"}


def console() -> PlainConsole:
    return PlainConsole(width=200, file=StringIO())


def output(of: PlainConsole) -> str:
    assert isinstance(of.file, StringIO)
    return of.file.getvalue()


@given(st.text())
def test_no_printed_text_controls_the_terminal(text: str) -> None:
    made = printable(text)
    assert all(c >= " " and not "\x7f" <= c <= "\x9f" for c in made if c not in "\n\t")
    made.encode()
    assert printable(made) == made


def test_a_text_of_any_language_stays() -> None:
    text = "Größe, 温度, температура, עברית\n\t– “x” 🙂"
    assert printable(text) == text


@pytest.mark.parametrize("text", ["\x00", "\r", "\b", "\x1b]0;t\x07", "\ud800", "\u202e"])
def test_what_acts_is_spelled(text: str) -> None:
    assert printable(text) == ascii(text)[1:-1]


@pytest.mark.parametrize("text", HOSTILE)
def test_strings_come_out_as_they_are(text: str) -> None:
    expected = SAID.get(text, text)
    to = console()
    to.print(text, highlight=False)
    assert output(to) == f"{expected}\n"
    for cell in (text, shown(text)):
        to, table = console(), Table("x", title=text)
        table.add_row(cell)
        to.print(table)
        assert output(to).count(expected) == 2


@pytest.mark.parametrize("text", HOSTILE)
def test_progress_shows_titles_and_notes_as_they_are(text: str) -> None:
    to, expected = console(), SAID.get(text, text)
    live = Live(to)
    with live.stage(text, 1) as show:
        show(1)
    live.note(text, "yellow")
    first, second = output(to).splitlines()
    assert first == f"{expected}  0 s"
    assert second == expected


@pytest.mark.parametrize("is_terminal", [False, True])
def test_stages_that_are_open_at_once_end_in_any_order(is_terminal: bool) -> None:
    to = console()
    to._force_terminal = is_terminal
    live = Live(to)
    one, other, lost = (live.stage(title, 2) for title in ("one", "other", "lost"))
    show, *_ = (stage.__enter__() for stage in (one, other, lost))
    one.__exit__(None, None, None)
    show(2)  # it was late
    lost.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    other.__exit__(None, None, None)
    for title in ("one", "other"):
        assert f"{title}  0 s" in output(to)
    assert "lost  0 s" not in output(to)
    assert to._live_stack == []  # the cursor is back
    with live.stage("again", 1):
        pass
    assert "again  0 s" in output(to)


def test_what_is_left_is_printed_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    to, now = console(), [0.0]
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])
    live = Live(to)
    for seconds in (0.0, 59.0, 60.0, 61.0, 121.0):
        now[0] = seconds
        live.ahead(f"left: at {seconds:g}")
    live.ahead("")
    assert output(to).splitlines() == ["left: at 60", "left: at 121"]


def test_on_a_terminal_what_is_left_is_below_the_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    to = PlainConsole(width=200, file=StringIO(), force_terminal=True)
    live = Live(to)
    live.ahead("left: 2 scorings of 3")
    assert output(to) == ""
    with live.stage("score", 1) as show:
        show(1)
        live._started().refresh()
        text = output(to)
        assert text.rindex("score ") < text.rindex("left: 2 scorings of 3")
        live.ahead("left: 1 scoring of 3")
        live._started().refresh()
        assert "left: 1 scoring of 3" in output(to)


def test_a_plan_of_hostile_names(command_line: Any, suite_file: Any) -> None:
    changes = {
        "divergences": [{"divergence": "reverse_kl", "label": "kl[/b]"}, "forward_kl"],
        "arms": {"a [red] b": "adakd"},
        "description": "\x1b[2J",
    }
    done = command_line("plan", suite_file(changes), "--set", "name='[/x]'")
    assert (done.code, done.err) == (0, "")
    for text in ("[/x]: \\x1b[2J", "kl[/b] + a [red] b", "forward_kl + a [red] b"):
        assert text in done.out


def test_an_error_cannot_control_the_terminal(command_line: Any, tmp_path: Path) -> None:
    done = command_line("run", tmp_path / "a\x1b[2J[red]b.yaml")
    assert done.code == 2
    assert r"a\x1b[2J[red]b.yaml" in done.err
    assert "\x1b" not in done.err


def test_a_run_of_hostile_names(command_line: Any, suite_file: Any, tmp_path: Path) -> None:
    changes = {
        "teacher.sft.steps": 1,
        "training.steps": 1,
        "divergences": [{"divergence": "reverse_kl", "label": "kl[/b]"}],
        "arms": {"[red]": "adakd"},
        "controls": {"sft": False},
        "evaluation.choices": [],
        "judges": [],
    }
    file = suite_file(changes)
    assert load_suite(str(file))
    done = command_line("run", file, "--out", tmp_path / "x[red]y[/b]")
    assert (done.code, done.err) == (0, "")
    assert "train kl[/b] + [red], seed 1" in done.out
    assert "time kl[/b] + [red]" in done.out
    assert "x[red]y[/b]/report.html" in done.out.replace("\n", "")
