"""Progress of other processes, as it is shown here."""

from contextlib import contextmanager
from typing import Any

import pytest

from adakd.execution import relay
from adakd.execution.relay import Relay, Screen


class Shown:
    """A progress that remembers, with the stages that are open."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.open: set[str] = set()

    @contextmanager
    def stage(self, title: str, total: int):
        self.open.add(title)
        try:
            yield lambda done, total=total: self.log.append((title, done, total))
            self.log.append((title, "done"))
        finally:
            self.open.remove(title)

    def note(self, text: str, style: str = "") -> None:
        self.log.append((text, style))

    def ahead(self, text: str) -> None:
        raise AssertionError("workers know nothing of it")


def test_what_is_sent_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages of several units at once, which end in any order."""
    monkeypatch.setattr(relay, "EVERY", -1.0)
    shown, sent = Shown(), list[Any]()
    screen = Screen(shown)

    def update() -> None:
        screen.update(sent)
        sent.clear()

    first, other = (Relay(key, sent.append) for key in ("1", "2"))
    stages = first.stage("train a", 4), other.stage("train b", 8)
    shows = [stage.__enter__() for stage in stages]
    shows[0](2)
    shows[1](3, 9)
    other.note("a line", "red")
    update()
    assert shown.open == {"train a", "train b"}
    assert shown.log == [("train a", 2, 4), ("train b", 3, 9), ("a line", "red")]
    stages[0].__exit__(None, None, None)
    update()
    assert shown.open == {"train b"}
    assert shown.log[3:] == [("train a", "done")]
    screen.drop("2")  # its process is gone
    assert shown.open == set()
    screen.drop("2")
    screen.drop()
    sent.append(("2", "show", 4, 9))  # it was on the way
    update()
    assert len(shown.log) == 4


def test_a_stage_reports_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = list[Any]()
    monkeypatch.setattr(relay, "EVERY", 1e9)
    monkeypatch.setattr(relay.time, "monotonic", lambda: 1.0)
    with Relay("1", sent.append).stage("train a", 4) as show:
        for step in range(4):
            show(step + 1)
    assert [what for _, what, *_ in sent] == ["begin", "end"]
