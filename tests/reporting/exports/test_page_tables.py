"""The tables of a page: all of them, cell by cell, without charts."""

import pytest

from adakd.reporting.exports import tables_of
from adakd.reporting.sections.scores import instruction_sets


@pytest.fixture(scope="module")
def tables(mini_page):
    return {table.id: table for table in tables_of(mini_page.written)}


def test_every_table_is_there_once_with_a_caption(mini_page, tables):
    assert len(tables) == mini_page.names.count("table")
    assert all(table.caption for table in tables.values())
    assert list(tables)[:3] == ["answer-1", "answer-2", "answer-3"]


def test_scores_are_those_of_the_section(mini, tables):
    table, expected = tables["scores-1"], instruction_sets(mini)
    assert [cell.text for cell in table.header] == ["Method", *expected.columns]
    assert [cell.below for cell in table.header[1:]] == list(expected.units)
    for row, (method, scores) in zip(table.rows, expected.rows, strict=True):
        assert row.cells[0].text == str(method)
        for cell, score, best in zip(row.cells[1:], scores, expected.best, strict=True):
            assert cell.text.startswith(f"{score.mean:.2f}")
            assert cell.is_best == (score.mean == best and bool(method.divergence))
    assert "mean ± std over 3 training seeds" in table.caption


def test_charts_and_their_axes_are_left_out(tables):
    header = [cell.text for cell in tables["answer-1"].header]
    assert header[:4] == ["Divergence", "Verdict", "Difference", "p"]
    assert [cell.text for cell in tables["answer-1"].rows[1].cells][:2] == ["reverse_kl", "better"]
    assert len(tables["answer-1"].rows) == 3


def test_every_row_fills_its_table(tables):
    for table in tables.values():
        widths = {sum(cell.span for cell in row.cells) for row in table.rows}
        assert widths == {len(table.header)}, table.id


def test_names_of_groups_are_rows_of_one_cell(tables):
    groups = [row.cells[0].text for row in tables["answer-2"].rows if row.heads_group]
    assert groups == ["dolly", "self-inst"]


def test_a_table_in_brief_is_left_out(made_store, page_of):
    page = page_of(made_store(arms=("a", "b", "c"), failed=None, examples=False, judge=False))
    assert page.written.count('class="dense brief"') == 2
    (first, *_) = tables_of(page.written)
    assert len(first.rows) == 9
    assert "Adaptive arm minus plain arm" in first.caption
