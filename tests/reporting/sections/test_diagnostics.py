"""Looks inside trainings on the page: whose they are, what is drawn, and hostile tokens."""

from xml.etree import ElementTree

import pytest

from adakd.reporting import charts, render
from adakd.reporting.index import index
from adakd.reporting.sections import diagnostics
from adakd.reporting.sections.diagnostics import diagnosed, pictures
from adakd.store import Store
from adakd.store.records import (
    DiagnosticRecord,
    Entropies,
    GroupGradient,
    Histogram,
    MarkedToken,
    TrainingRecord,
)

ONE = Histogram(low=1, high=1, counts=(8,))
SPREAD = Histogram(low=0.5, high=1.5, counts=(2, 0, 6))
HOSTILE = "</span><script>alert(1)</script><img src=x>{{ 7*7 }}\"'"


def look(cell, step, temperature=SPREAD, after=SPREAD, share=0.5, text="a word"):
    tokens = (MarkedToken(text=text, difficulty=0.25), MarkedToken(text="</p>", difficulty=1))
    half = Entropies(before=Histogram(low=0.5, high=1.5, counts=(0, 8, 0)), after=after)
    group = GroupGradient(tokens=3, share=share, sft=-0.2, whole=0.4)
    left_out = GroupGradient(tokens=2, share=0, sft=None, whole=None)
    return DiagnosticRecord(
        key=f"look-{cell.key}-{step}",
        cell=cell,
        step=step,
        tokens=8,
        kept=8,
        temperature=temperature,
        entropy={"hard": half, "easy": half},
        gradient={"hard": group, "mid": group, "easy": left_out},
        text=tokens,
        hardest=tokens,
        easiest=tokens,
    )


def cells(store: Store, arm: str):
    records = [record.cell for record in store.of(TrainingRecord)]
    return [c for c in records if (c.role, c.divergence, c.arm) == ("distilled", "reverse_kl", arm)]


@pytest.fixture
def looked(made_store):
    """Three looks at two seeds of AdaKD, one look at a plain student."""
    store = made_store()
    (plain, *_), adaptive = cells(store, "plain"), cells(store, "adakd")
    same = Histogram(low=0.5, high=1.5, counts=(0, 8, 0))
    store.add(*(look(cell, step) for cell in adaptive[1::-1] for step in (60, 1, 30)))
    store.add(look(plain, 1, temperature=ONE, after=same, text=HOSTILE))
    return store


def test_a_report_without_looks_has_no_such_section(made_store):
    assert "diagnostics" not in render(made_store()).replace('"diagnosed"', "")


def test_looks_are_of_the_first_seed_in_order_of_steps(looked):
    plain, adaptive = diagnosed(looked, index(looked))
    assert (str(plain.method), plain.steps) == ("reverse_kl", (1,))
    assert (str(adaptive.method), adaptive.seed) == ("reverse_kl + adakd", 10)
    assert adaptive.steps == (1, 30, 60)
    assert [name for name, _ in adaptive.ends] == ["start, step 1", "end, step 60"]


def test_looks_at_cells_of_other_settings_are_left_out(looked):
    cell = cells(looked, "plain")[0].model_copy(update={"key": "older", "divergence": "forward_kl"})
    looked.add(look(cell, 1))
    assert len(diagnosed(looked, index(looked))) == 2


def test_a_temperature_for_all_is_said_and_not_drawn(looked):
    plain, adaptive = diagnosed(looked, index(looked))
    titles = [picture.title for picture in pictures(plain)]
    assert [title for title in titles if title.startswith("Temperature")] == []
    said = "All kept tokens have one temperature: 1.00 at the start, step 1."
    assert diagnostics.constant_temperature(plain) == said
    assert said in render(looked)
    assert diagnostics.constant_temperature(adaptive) == ""
    assert len([p for p in pictures(adaptive) if p.title.startswith("Temperature")]) == 2


def test_bars_are_shares_of_the_tokens(looked):
    _, adaptive = diagnosed(looked, index(looked))
    drawn = {picture.title: picture for picture in pictures(adaptive)}
    columns = drawn["Temperature of kept tokens (start, step 1)"].columns
    assert [column.height for column in columns] == [0.25, 0, 0.75]
    assert [column.left for column in columns] == pytest.approx([0.5, 0.8333, 1.1667], abs=1e-3)
    entropy = drawn["Student entropy, hard half (end, step 60)"].columns
    assert [column.css for column in entropy] == ["s0"] * 3 + ["front s2"] * 3
    heights = [column.height for column in drawn["Gradient by the logits (end, step 60)"].columns]
    assert heights == [0.5, 0.5, 0, 0.4, 0.4, 0, -0.2, -0.2, 0]


def test_an_entropy_that_no_temperature_moves_is_drawn_once(looked):
    plain, _ = diagnosed(looked, index(looked))
    entropies = [p for p in pictures(plain) if "entropy" in p.title]
    assert {column.css for picture in entropies for column in picture.columns} == {"s0"}


def test_bars_stand_on_zero_and_hang_from_it():
    up = charts.Column("s1", "up", 0, 1, 0.5)
    down = charts.Column("s2", "down", 1, 2, -0.5)
    root = ElementTree.fromstring(charts.column_chart([up, down], "", "bars", {0.5: "a", 1.5: "b"}))
    one, other = (dict(box.attrib) for box in root.iter("rect"))
    ground = float(one["y"]) + float(one["height"])
    assert float(other["y"]) == pytest.approx(ground)
    assert one["height"] == other["height"] != "0.0"
    assert {"a", "b"} < {text.text for text in root.iter("text")}


def test_hostile_tokens_stay_text(looked):
    page = render(looked)
    section = page[page.index('<section id="diagnostics">') : page.index('<section id="samples">')]
    assert "<script" not in section
    assert "<img" not in section
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in section
    assert "{{ 7*7 }}" in section
    assert '--hard: 25%"' in section
    assert page.count("<script") == 1


def test_a_share_that_no_group_has_is_not_drawn(made_store):
    store = made_store()
    cell = cells(store, "plain")[0]
    store.add(*(look(cell, step, share=None) for step in (1, 2, 3)))
    (one,) = diagnosed(store, index(store))
    assert one.shares is not None
    assert [line.arm for line in one.shares.lines] == ["easy"]
    assert "Inside the trainings" in render(store)
