"""LaTeX: it compiles, whatever the labels are, and says what the page says."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from adakd.reporting.exports import Cell, Row, Table, latex_lines, tables_of
from adakd.reporting.exports.latex import LONG, escaped

PREAMBLE = r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs,longtable}"
HOSTILE = r"a_b & 50% $x$ #1 {y} ~ ^ \input{/etc/passwd} [z] <|eot|> “q” é 温度 λ=0.1"
needs_latex = pytest.mark.skipif(not shutil.which("pdflatex"), reason="there is no pdflatex")


def compiled(text: str, folder: Path) -> str:
    """Compile a document with the tables and return its log."""
    file = folder / "tables.tex"
    file.write_text(rf"{PREAMBLE}\begin{{document}}{text}\end{{document}}", encoding="utf-8")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", file.name]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    log = done.stdout.decode(errors="replace")
    assert done.returncode == 0, log[-2000:]
    return log


def table(rows: int = 2, label: str = "x") -> Table:
    cells = (Cell(label, below=label, is_text=True), Cell("−0.14", "−1.36 to +0.95", is_best=True))
    group = Row((Cell(label, is_text=True, span=2),))
    head = (Cell(label, is_text=True), Cell("Difference", "95 % interval"))
    return Table("answer-1", label, head, (group, *[Row(cells)] * (rows - 1)))


@needs_latex
@pytest.mark.parametrize("tables", [[table(2, HOSTILE)], [table(LONG + 1, HOSTILE)]])
def test_any_label_compiles(tables, tmp_path):
    log = compiled("".join(latex_lines(tables)), tmp_path)
    assert "Missing" not in log
    assert "passwd" not in re.sub(r"\s", "", log)


@needs_latex
def test_the_tables_of_a_run_compile(mini_page, tmp_path):
    tables = tables_of(mini_page.written)
    log = compiled("".join(latex_lines(tables)), tmp_path)
    assert "Output written on tables.pdf" in log


def test_a_table_has_rules_intervals_marks_caption_and_label():
    text = "".join(latex_lines([table(label="reverse_kl")]))
    for part in (r"\toprule", r"\midrule", r"\bottomrule", r"\label{tab:answer-1}"):
        assert text.count(part) == 1
    assert r"\caption{reverse\_kl.}" in text
    assert r"\underline{\ensuremath{-}0.14} {\footnotesize(\ensuremath{-}1.36 to +0.95)}" in text
    assert r"\multicolumn{2}{l}{\textit{reverse\_kl}} \\" in text
    assert r"\begin{tabular}{lr}" in text


def test_the_page_s_words_are_in_the_tables(mini_page):
    text = "".join(latex_lines(tables_of(mini_page.written)))
    for words in ("& better &", "& not separable &", "paired over 3 training seeds"):
        assert words in text


def test_letters_without_a_glyph_are_spelled():
    assert escaped("aé温") == "aéU+6E29"
    assert escaped("−1 %") == r"\ensuremath{-}1 \%"
