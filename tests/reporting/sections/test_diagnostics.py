"""Diagnostics on the page: their trainings, their charts, and hostile tokens."""

from importlib import import_module

import pytest

from adakd.reporting import render
from adakd.reporting.sections.base import Context
from adakd.reporting.sections.diagnostics import bar_charts, diagnostics
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


def record(cell, step, temperature=SPREAD, after=SPREAD, share=0.5, text="a word"):
    tokens = (MarkedToken(text=text, difficulty=0.25), MarkedToken(text="</p>", difficulty=1))
    half = Entropies(before=Histogram(low=0.5, high=1.5, counts=(0, 8, 0)), after=after)
    group = GroupGradient(tokens=3, share=share, sft=-0.2, whole=0.4)
    left_out = GroupGradient(tokens=2, share=0, sft=None, whole=None)
    return DiagnosticRecord(
        key=f"diagnostic-{cell.key}-{step}",
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
    trained = [training.cell for training in store.of(TrainingRecord)]
    return [c for c in trained if (c.role, c.divergence, c.arm) == ("distilled", "reverse_kl", arm)]


@pytest.fixture
def recorded(made_store):
    """Three records of two seeds of AdaKD, one record of a plain student."""
    store = made_store()
    (plain, *_), adaptive = cells(store, "plain"), cells(store, "adakd")
    same = Histogram(low=0.5, high=1.5, counts=(0, 8, 0))
    store.add(*(record(cell, step) for cell in adaptive[1::-1] for step in (60, 1, 30)))
    store.add(record(plain, 1, temperature=ONE, after=same, text=HOSTILE))
    return store


def test_a_report_without_diagnostics_has_no_such_section(mini, mini_page):
    assert diagnostics(mini) is None
    assert "diagnostics" not in mini_page.ids
    assert "#diagnostics" not in mini_page.addresses
    assert "diagnostics" not in mini_page.numbers


def test_records_are_of_the_first_seed_in_order_of_steps(recorded):
    plain, adaptive = diagnostics(Context.of(recorded)).methods
    assert (str(plain.method), plain.steps) == ("reverse_kl", (1,))
    assert (str(adaptive.method), adaptive.seed) == ("reverse_kl + adakd", 10)
    assert adaptive.steps == (1, 30, 60)
    assert [name for name, _ in adaptive.ends] == ["start, step 1", "end, step 60"]


def test_records_of_cells_of_other_settings_are_left_out(recorded):
    cell = cells(recorded, "plain")[0].model_copy(
        update={"key": "older", "divergence": "forward_kl"}
    )
    recorded.add(record(cell, 1))
    assert len(diagnostics(Context.of(recorded)).methods) == 2


def test_a_temperature_for_all_is_said_and_not_drawn(recorded):
    plain, adaptive = diagnostics(Context.of(recorded)).methods
    titles = [chart.title for chart in bar_charts(plain)]
    assert [title for title in titles if title.startswith("Temperature")] == []
    said = "All selected tokens have one temperature: 1.00 at the start, step 1."
    assert plain.constant_temperature == said
    assert said in render(recorded)
    assert adaptive.constant_temperature == ""
    assert len([p for p in bar_charts(adaptive) if p.title.startswith("Temperature")]) == 2


def test_bars_are_shares_of_the_tokens(recorded):
    _, adaptive = diagnostics(Context.of(recorded)).methods
    drawn = {chart.title: chart for chart in bar_charts(adaptive)}
    columns = drawn["Temperature of selected tokens (start, step 1)"].bars
    assert [column.height for column in columns] == [0.25, 0, 0.75]
    assert [column.left for column in columns] == pytest.approx([0.5, 0.8333, 1.1667], abs=1e-3)
    entropy = drawn["Student entropy, hard half (end, step 60)"].bars
    assert [column.css for column in entropy] == ["s0"] * 3 + ["front s2"] * 3
    heights = [column.height for column in drawn["Gradient by the logits (end, step 60)"].bars]
    assert heights == [0.5, 0.5, 0, 0.4, 0.4, 0, -0.2, -0.2, 0]


def test_an_entropy_that_no_temperature_moves_is_drawn_once(recorded):
    plain, _ = diagnostics(Context.of(recorded)).methods
    entropies = [p for p in bar_charts(plain) if "entropy" in p.title]
    assert {column.css for chart in entropies for column in chart.bars} == {"s0"}


def test_hostile_tokens_stay_text(recorded):
    page = render(recorded)
    section = page[page.index('<section id="diagnostics">') : page.index('<section id="samples">')]
    assert "<script" not in section
    assert "<img" not in section
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in section
    assert "{{ 7*7 }}" in section
    assert '--hard: 25%"' in section
    assert "<script" not in page


def test_a_share_that_no_group_has_is_not_drawn(made_store):
    store = made_store()
    cell = cells(store, "plain")[0]
    store.add(*(record(cell, step, share=None) for step in (1, 2, 3)))
    (one,) = diagnostics(Context.of(store)).methods
    assert one.shares is not None
    assert [line.series for line in one.shares.lines] == ["easy"]
    assert '<section id="diagnostics">' in render(store)


def test_a_page_draws_as_many_methods_as_it_has_room_for(recorded, monkeypatch, page_of):
    view = diagnostics(Context.of(recorded))
    assert view.drawn == view.methods
    monkeypatch.setattr(import_module("adakd.reporting.sections.diagnostics"), "DRAWN", 1)
    assert view.drawn == view.methods[:1]
    page = page_of(recorded)
    assert "The first 1 of 2 methods, in the order of the suite" in page.text
    assert len(page.numbers["diagnostics"]["methods"]) == 2
