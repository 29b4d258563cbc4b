"""The page in a browser: no script runs, nothing overflows, and an accessibility checker agrees.

Needs Chromium, and for the checker the file ``axe.min.js`` in ``ADAKD_AXE``: ``tox -e page``.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from adakd.reporting import write_calibration, write_report
from adakd.store import Store
from adakd.store.records import CalibrationRecord, Case, Estimate, JudgeRecord, Length

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
AXE = os.environ.get("ADAKD_AXE")
WIDTHS = (360, 768, 900, 1040, 1280)
PAPER = 718
"""A4 within Chromium's margins, in CSS pixels."""
LIMIT = 2_000_000
"""Most bytes of a page of 40 arms on 5 sets."""
HOSTILE = "<script>document.title='run'</script><img src=x onerror=\"document.title='run'\">\u202e"
LONG = "skew_reverse_kl_with_a_very_long_name(" + "lam=0.123456789, " * 6 + ")"

OVERFLOWING = """(() => {
  document.querySelectorAll('details').forEach(one => one.open = true);
  const width = document.documentElement.clientWidth, found = [];
  if (document.scrollingElement.scrollWidth > width) found.push('the page');
  for (const one of document.querySelectorAll('body *')) {
    if (one.closest('svg') && one.tagName != 'svg' || one.closest('.unseen')) continue;
    const box = one.getBoundingClientRect();
    if (!box.width || one.closest('.scroll') && !one.matches('.scroll')) continue;
    if (box.right > width + 1 || box.left < -1)
      found.push(one.tagName + '.' + one.className + ': ' + one.textContent.slice(0, 40));
  }
  return found;
})()"""
AXE_RUN = """(async () => {
  document.querySelectorAll('details').forEach(one => one.open = true);
  const found = await axe.run(document, {resultTypes: ['violations']});
  return found.violations.map(one =>
    one.id + ' (' + one.nodes.length + '): ' + one.nodes[0].html.slice(0, 200)
    + ' ' + one.nodes[0].failureSummary);
})()"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")


class Browser:
    """One page of a headless Chromium, by its debugging pipe."""

    def __init__(self, profile: Path) -> None:
        reads, self._to = os.pipe()
        self._from, writes = os.pipe()
        command = f'exec "$0" "$@" 3<&{reads} 4>&{writes}'
        options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe")
        self._process = subprocess.Popen(
            ["bash", "-c", command, str(CHROMIUM), *options, f"--user-data-dir={profile}"],
            pass_fds=(reads, writes),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(reads)
        os.close(writes)
        self._rest, self._count, self._session = b"", 0, ""
        self.events: list[dict[str, Any]] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Debugger"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._from, 1 << 20)
            assert part, "Chromium has ended"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(message))

    def open(self, page: Path) -> None:
        self.events.clear()
        self.send("Page.navigate", url=page.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def show(
        self, width: int, height: int = 800, media: str = "screen", dark: bool = False
    ) -> None:
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=800,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def ask(self, expression: str) -> Any:
        answer = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=20)
        os.close(self._to)
        os.close(self._from)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def pages(stored, filled, tmp_path_factory) -> dict[str, Path]:
    """Return the pages of runs (made up, real, hostile, of forty arms) and of a calibration."""
    folder = tmp_path_factory.mktemp("pages")
    runs = {
        "mini": {"metrics": ("rouge_l", "token_f1"), "longer": 0.1},
        "hostile": {"text": HOSTILE * 3, "effects": ((LONG, 0.01), ("b" * 90, 0.02))},
        "forty": {
            "effects": (("reverse_kl", 0.01),),
            "arms": ("adakd", *(f"ours-{number}" for number in range(39))),
            "sets": ("dolly", "self-inst", "vicuna", "sinst", "unni"),
            "steps": 200,
            "failed": None,
        },
    }
    found = {
        name: write_report(filled(folder / name, **{"items": 4, "steps": 40, **changes}).folder)
        for name, changes in runs.items()
    }
    (folder / "stored").mkdir()
    source = stored.store.source
    shutil.copy(source, folder / "stored" / source.name)
    return {
        **found,
        "stored": write_report(folder / "stored"),
        "calibration": write_calibration(calibrated(folder / "calibration").folder),
    }


def calibrated(folder: Path) -> Store:
    """Return a folder with the calibration of a judge whose every text is hostile."""
    share = Estimate(value=0.5, low=0.4, high=0.6, n=100)
    text = HOSTILE + "x" * 200
    store = Store(folder)
    store.add(
        JudgeRecord(
            key="j@1",
            name=text,
            description=text,
            backend="openai",
            mode="text",
            settings={"model": text, "prompt": text},
        ),
        CalibrationRecord(
            key="k",
            judge="j@1",
            name=text,
            model=text,
            mode="text",
            data=f"{'d' * 100}/{text}",
            data_digest="0" * 64,
            pairs=200,
            failed=share,
            accuracy=share,
            by_case=dict.fromkeys(get_args(Case), share),
            by_length=dict.fromkeys(get_args(Length), share),
            flips=share,
            self_ties=share,
            position=share,
            length=share,
        ),
    )
    return store


NAMES = ("mini", "hostile", "forty", "stored", "calibration")


@pytest.mark.parametrize("name", NAMES)
def test_nothing_overflows(browser, pages, name):
    browser.open(pages[name])
    for width in WIDTHS:
        browser.show(width)
        assert browser.ask(OVERFLOWING) == [], width
    browser.show(PAPER, media="print")
    assert browser.ask(OVERFLOWING) == [], "print"


@pytest.mark.parametrize("name", NAMES)
def test_no_script_runs_and_nothing_is_fetched(browser, pages, name):
    browser.show(1280)
    browser.open(pages[name])
    parsed = [e for e in browser.events if e.get("method") == "Debugger.scriptParsed"]
    assert [event["params"]["url"] for event in parsed if event["params"]["url"]] == []
    assert browser.ask("document.scripts.length") == 0
    assert browser.ask("performance.getEntriesByType('resource').length") == 0
    assert browser.ask("document.title") != "run"


def test_forty_arms_on_five_sets_are_one_screen_and_a_small_page(browser, pages):
    assert pages["forty"].stat().st_size < LIMIT
    browser.show(1280)
    browser.open(pages["forty"])
    first = "document.querySelector('.blocks')"
    assert browser.ask(f"{first}.querySelectorAll('tbody tr').length") == 40
    assert browser.ask(f"{first}.getBoundingClientRect().bottom") <= 800
    (lead,) = browser.ask("[...document.querySelectorAll('.lead')].map(e => e.textContent)")[:1]
    assert "ours-" not in lead


def test_dark_colours_are_others_than_light_ones(browser, pages):
    browser.open(pages["mini"])
    colours = []
    for dark in (False, True):
        browser.show(1280, dark=dark)
        colours.append(browser.ask("getComputedStyle(document.documentElement).backgroundColor"))
    assert colours == ["rgb(255, 255, 255)", "rgb(18, 22, 28)"]


@pytest.mark.skipif(not AXE, reason="ADAKD_AXE names no axe.min.js")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_no_fault(browser, pages, name, dark):
    browser.show(1280, dark=dark)
    browser.open(pages[name])
    browser.ask(Path(str(AXE)).read_text(encoding="utf-8"))
    assert browser.ask(AXE_RUN) == []
