"""The page as a whole: complete, self-contained, and safe against what models write."""

import os
import shutil
from pathlib import Path

import pytest

from adakd.errors import AdakdError
from adakd.reporting import write_report
from adakd.reporting.report import Report
from adakd.reporting.sections import SECTIONS
from adakd.reporting.sections.base import Context
from adakd.store import Store
from adakd.store.records import RunRecord

PUBLISHED = sorted(Path(__file__).parents[2].glob("reports/*/results.jsonl.gz"))
GOLDEN = Path(__file__).parents[1] / "golden" / "report.txt"
HOSTILE = "<script>alert(1)</script><img src=http://evil.example/x>{{ 7*7 }}{% raw %}\u2028'\"&"


@pytest.fixture(params=["mini_page", "stored_page"])
def page(request):
    """Return the page of a made-up run, and that of a real one."""
    return request.getfixturevalue(request.param)


def test_one_file_that_loads_nothing(page):
    assert set(page.names).isdisjoint({"link", "img", "iframe", "object", "embed", "base"})
    assert "script" not in page.names
    inner = {address[1:] for address in page.addresses if address[0] == "#"}
    assert inner <= set(page.ids)
    beside = {address for address in page.addresses if address[0] != "#"}
    assert beside <= {"report.json", "results.jsonl", "results.jsonl.gz"}
    assert "url(" not in page.style
    assert "@import" not in page.style


def test_the_figures_are_those_shown(mini_page):
    numbers = mini_page.numbers
    best = numbers["answer"]["overall"][1]
    assert best["divergence"] == "reverse_kl"
    assert f"{best['difference']['estimate']:+.2f}" in mini_page.lines
    assert numbers["scores"]["sets"]["rows"][0][0] == "teacher"
    assert numbers["provenance"]["run"]["suite_digest"] == "0123456789abcdef"


def test_the_answer_comes_first(mini_page):
    headline = mini_page.line("AdaKD is better than plain distillation under reverse_kl (+")
    assert headline < mini_page.line("Instruction sets, mean ±")
    assert {"better", "worse", "not separable"} <= set(mini_page.lines)


def test_hostile_text_stays_text(made_store, page_of):
    page = page_of(made_store(text=HOSTILE))
    assert {"script", "img"}.isdisjoint(page.names)
    assert "http://evil.example/x" not in page.addresses
    assert any("{{ 7*7 }}{% raw %}" in line for line in page.lines)
    assert "49" not in [line.strip() for line in page.lines if "alert" in line]
    answers = page.numbers["samples"]["samples"]
    assert answers[0]["question"]["shown"] == HOSTILE


def test_texts_of_models_have_a_direction_of_their_own(made_store, page_of):
    page = page_of(made_store(text="MARKED", timing=False))
    at = [place for place in range(len(page.written)) if page.written.startswith("MARKED", place)]
    assert len(at) > 20
    before = [page.written[:place].rpartition("<")[2] for place in at]
    assert [tag for tag in before if "dir=" not in tag and not tag.startswith("bdi")] == []


def test_failed_and_missing_cells_are_named(made_store, page_of):
    text = page_of(made_store(missing=("reverse_kl", "plain", 20))).text
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
def test_a_run_without_a_part_still_has_a_report(made_store, page_of, left_out):
    lines = page_of(made_store(failed=None, **left_out)).lines
    sections = ("Scores", "Win rates", "Timing", "Sample answers", "Provenance")
    assert [name for name in sections if name not in lines] == []


def test_one_training_seed_is_said_next_to_the_answer(made_store, page_of):
    page = page_of(made_store(seeds=(10,), failed=None))
    assert page.line("One training seed.") < page.line("Instruction sets, mean ±")
    assert any("over 2 sampling seeds" in line for line in page.lines)


def test_a_run_that_has_only_begun_has_a_report(mini, page_of, tmp_path):
    store = Store(tmp_path / "begun")
    store.add(mini.store.of(RunRecord)[0])
    text = page_of(store).text
    assert "23 models failed or incomplete." in text
    assert "and 17 more" in text


def test_the_report_is_written_beside_the_records(stored, stored_page, tmp_path):
    """Compressed ones too: a published run has no others."""
    name = "results.jsonl.gz"
    shutil.copy(stored.store.folder / name, tmp_path / name)
    path = write_report(tmp_path)
    assert path == tmp_path / "report.html"
    assert path.read_text(encoding="utf-8") == stored_page.written
    assert sorted(file.name for file in tmp_path.iterdir()) == ["report.html", "report.json", name]


def test_a_folder_without_records_is_an_error(tmp_path):
    with pytest.raises(AdakdError, match=r"results\.jsonl: no such file"):
        write_report(tmp_path)


def test_a_stored_run_has_all_but_the_sections_that_nothing_is_for(stored, stored_page):
    there = {section.id for section in SECTIONS} - {
        "paper",
        "paper_win_rates",
        "controls",
    }  # none is asked for
    assert set(stored_page.numbers) == {"title", *there}
    assert stored.index.gaps() == ()
    for method in stored.index.methods:
        assert str(method) in stored_page.lines
    assert "AdaKD is not separable from plain distillation under reverse_kl (" in stored_page.text


def test_the_page_reads_as_it_did(mini_page):
    """The text of the whole page; ``ADAKD_GOLDEN=write`` accepts a change."""
    if os.environ.get("ADAKD_GOLDEN") == "write":
        GOLDEN.write_text("\n".join(mini_page.lines) + "\n", encoding="utf-8")
    assert mini_page.lines == GOLDEN.read_text(encoding="utf-8").splitlines()


def test_a_page_of_several_metrics_says_which_one_the_averages_are_of(
    made_store, page_of, mini_page
):
    page = page_of(made_store(metrics=("rouge_l", "token_f1")))
    assert "token F1 × 100" in page.text
    assert "use ROUGE-L, the first metric of the suite" in page.text
    assert "the first metric of the suite" not in mini_page.text


def test_a_page_knows_no_metric_by_name(made_store, page_of):
    page = page_of(made_store(metrics=("token_f1",), judge=True, text="x"))
    assert "ROUGE-L" not in page.written


@pytest.mark.parametrize("file", PUBLISHED, ids=lambda file: file.parent.name)
def test_published_runs_can_be_read(file):
    order = Context.of(Store(file.parent)).index
    assert order.suite is not None
    assert order.suite.name == file.parent.name
    assert order.gaps() == ()


def test_a_page_has_room_for_the_first_rows_of_long_tables(made_store, monkeypatch):
    effects = tuple((f"skew_reverse_kl(lam=0.{n})", 0.0) for n in range(1, 9))
    made = Report.of(made_store(effects=effects, failed=None, judge=False))
    full, figures = made.page, made.json
    monkeypatch.setattr("adakd.reporting.formatting.ROWS", 3)
    assert "more row" not in full
    assert "more rows: see report.json" in made.page
    assert len(made.page) < len(full)
    assert made.json == figures
