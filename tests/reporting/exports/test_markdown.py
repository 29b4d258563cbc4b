"""Markdown: well-formed tables whose labels stay text."""

import re

from adakd.reporting.exports import Cell, Row, Table, markdown_lines, tables_of


def test_every_line_of_a_table_has_the_columns_of_its_header(mini_page):
    tables = tables_of(mini_page.written)
    for table, text in zip(tables, markdown_lines(tables), strict=True):
        title, _, *lines = text.strip().split("\n")
        assert title.startswith("**")
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {len(table.header) + 1}
        assert len(lines) == 2 + len(table.rows)


def test_labels_stay_text_and_marks_are_kept():
    cells = (Cell("a|b*c_d<i>", is_text=True), Cell("1.00", "0.90 to 1.10", is_best=True))
    (text,) = markdown_lines([Table("t-1", "x_y", (Cell("l"), Cell("n")), (Row(cells),))])
    assert r"| a\|b\*c\_d\<i\> | <u>1.00</u> (0.90 to 1.10) |" in text
    assert r"**x\_y**" in text
