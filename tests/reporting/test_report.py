"""The page as a whole: complete, self-contained, and safe against what models write."""

import json
import os
from html.parser import HTMLParser
from pathlib import Path

import pytest

from adakd.errors import AdakdError
from adakd.reporting import render, write_report
from adakd.store import Store
from adakd.store.records import RunRecord, TeachingRecord

GOLDEN = Path(__file__).parents[1] / "golden" / "report.txt"
VOID = {"meta", "br", "input"}
HOSTILE = "<script>alert(1)</script><img src=http://evil.example/x>{{ 7*7 }}{% raw %}\u2028'\"&"


class Page(HTMLParser):
    """The text, tags and addresses of a page; fails on tags that do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.lines: list[str] = []
        self.script = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "href", "action", "data", "srcset")]
        self.ids += [value for key, value in attrs if key == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "script" in self.open:
            self.script += data
        elif not {"style", "svg"} & set(self.open) and data.strip():
            self.lines.append(" ".join(data.split()))


def position(lines, start):
    """Return the number of the first line that begins so."""
    return next(number for number, line in enumerate(lines) if line.startswith(start))


@pytest.fixture
def page(made_store, monkeypatch):
    monkeypatch.setattr("adakd.reporting.judges.items.MOST", 3)
    return Page(render(made_store()))


def test_one_file_that_loads_nothing(page):
    assert set(page.tags).isdisjoint({"link", "img", "iframe", "object", "embed", "base"})
    assert page.tags.count("script") == 1
    assert {address[0] for address in page.addresses} == {"#"}
    assert {address[1:] for address in page.addresses} <= set(page.ids)


def test_style_loads_nothing(made_store):
    page = render(made_store())
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_embedded_numbers_are_the_numbers_shown(page):
    numbers = json.loads(page.script)
    best = numbers["answer"]["overall"][1]
    assert best["divergence"] == "reverse_kl"
    assert f"{best['difference']['estimate']:+.2f}" in page.lines
    assert numbers["sets"]["rows"][0][0] == "teacher"
    assert numbers["run"]["suite_digest"] == "0123456789abcdef"


def test_the_answer_comes_first(page):
    headline = position(page.lines, "AdaKD is better than plain distillation under 1 of 3")
    assert headline < position(page.lines, "Instruction sets, mean ±")
    assert {"better", "worse", "not separable"} <= set(page.lines)


def test_hostile_text_stays_text(made_store):
    written = render(made_store(text=HOSTILE))
    page = Page(written)
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert {address[0] for address in page.addresses} == {"#"}
    assert any("{{ 7*7 }}{% raw %}" in line for line in page.lines)
    assert "49" not in [line.strip() for line in page.lines if "alert" in line]
    answers = json.loads(page.script)["examples"]
    assert answers[0]["question"] == HOSTILE


def test_failed_and_missing_cells_are_named(made_store):
    store = made_store(missing=("reverse_kl", "plain", 20))
    lines = Page(render(store)).lines
    text = " ".join(lines)
    assert "2 models failed or incomplete." in text
    assert "forward_kl + adakd, seed 30: the loss is not finite at step 18" in text
    assert "reverse_kl, seed 20: no record" in text


@pytest.mark.parametrize(
    "left_out",
    [
        {"judge": False},
        {"timing": False},
        {"tasks": False, "choices": False},
        {"examples": False},
        {"run": False},
        {"seeds": (10,), "samplings": (1,)},
        {"items": 1},
        {"judge": False, "timing": False, "tasks": False, "choices": False, "examples": False},
    ],
)
def test_a_run_without_a_part_still_has_a_report(made_store, left_out):
    lines = Page(render(made_store(failed=None, **left_out))).lines
    sections = ("Scores", "Win rates", "Timing", "Sample answers", "Provenance")
    assert [name for name in sections if name not in lines] == []


def test_one_training_seed_is_said_next_to_the_answer(made_store):
    lines = Page(render(made_store(seeds=(10,), failed=None))).lines
    assert lines.index("One training seed.") < position(lines, "Instruction sets, mean ±")
    assert any("over 2 sampling seeds" in line for line in lines)


def test_a_run_that_has_only_begun_has_a_report(made_store, tmp_path):
    from adakd.store.records import RunRecord

    store = Store(tmp_path / "begun")
    store.add(made_store().of(RunRecord)[0])
    text = " ".join(Page(render(store)).lines)
    assert "23 models failed or incomplete." in text
    assert "and 17 more" in text


def test_the_report_is_written_beside_the_records(made_store):
    store = made_store()
    path = write_report(store.folder)
    assert path == store.folder / "report.html"
    assert path.read_text(encoding="utf-8") == render(store)
    assert sorted(file.name for file in store.folder.iterdir()) == ["report.html", "results.jsonl"]


def test_a_folder_without_records_is_an_error(tmp_path):
    with pytest.raises(AdakdError, match=r"results\.jsonl: no such file"):
        write_report(tmp_path)


def test_the_page_reads_as_it_did(page):
    """The text of the whole page; ``ADAKD_GOLDEN=write`` accepts a change."""
    if os.environ.get("ADAKD_GOLDEN") == "write":
        GOLDEN.write_text("\n".join(page.lines) + "\n", encoding="utf-8")
    assert page.lines == GOLDEN.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (
            {"cache": "fp16", "tokens": 2000, "size": 3 << 20},
            "read each of 90 sequences once; all trainings on them together take 1,080 sequences. "
            "Hidden states of 2,000 labels are kept as fp16, 3 MiB",
        ),
        (
            {"cache": "off", "reason": "<b>no</b> room"},
            "reads every batch anew, since <b>no</b> room; "
            "all trainings together take 1,080 sequences",
        ),
    ],
    ids=["kept", "live"],
)
def test_the_page_tells_how_often_the_teacher_read(made_store, how, said) -> None:
    store = made_store()
    (run,) = store.of(RunRecord)
    record = TeachingRecord(key="teaching", sequences=90, readings=1080, **how)
    store.add(run.model_copy(update={"wanted": (*run.wanted, "teaching")}), record)
    assert said in Page(render(store)).lines


def test_a_page_of_several_metrics_says_which_one_the_averages_are_of(made_store):
    page = render(made_store(metrics=("rouge_l", "token_f1")))
    assert "token F1 × 100" in page
    assert "go by ROUGE-L, the first metric of the suite" in page
    assert "the first metric of the suite" not in render(made_store("one"))


def test_a_page_knows_no_metric_by_name(made_store):
    assert "ROUGE-L" not in render(made_store(metrics=("token_f1",), judge=True, text="x"))
