"""Empty and repetitive answers are counted."""

from adakd.reporting.sections.answer_texts import answer_texts, is_repetitive
from adakd.reporting.sections.base import Context


def test_an_answer_is_repetitive_if_it_is_long_and_has_few_words():
    assert is_repetitive(20, 1)
    assert not is_repetitive(19, 1)
    assert not is_repetitive(23, 23)


def test_empty_answers_are_counted(mini, made_store):
    assert {row.empty for row in answer_texts(mini).rows} == {0}
    rows = answer_texts(Context.of(made_store(text=" \n"))).rows
    assert {(row.empty, row.median_words) for row in rows} == {(1, 0)}
