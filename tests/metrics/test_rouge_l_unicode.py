"""ROUGE-L on Unicode words and, in scripts without spaces, on characters."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adakd.metrics import rouge_l, rouge_l_unicode

TEXTS = {
    "Chinese": "今天天气很好，我们去公园。",
    "Japanese": "新しいモデルは速いです。",
    "Thai": "วันนี้อากาศดีมาก",
    "Arabic": "الطقس جميل اليوم",
    "Russian": "Сегодня хорошая погода",
    "Hindi": "आज मौसम अच्छा है",
    "Korean": "오늘은 날씨가 좋습니다",
    "mixed": "GPT-4 回答了 42 questions сегодня.",
}


@pytest.mark.parametrize("language", TEXTS)
def test_a_text_equals_itself(language: str) -> None:
    assert rouge_l_unicode(TEXTS[language], [TEXTS[language]]) == 1


@given(st.text(alphabet=string.printable, max_size=40), st.text(alphabet=string.printable))
def test_on_ascii_text_it_is_rouge_l(answer: str, reference: str) -> None:
    assert rouge_l_unicode(answer, [reference]) == rouge_l(answer, [reference])


words = st.lists(st.sampled_from("relational cats running hopes the a sat flies".split()))


@given(words.map(" ".join), words.map(" ".join))
def test_english_words_are_stemmed_as_in_rouge_l(answer: str, reference: str) -> None:
    assert rouge_l_unicode(answer, [reference]) == rouge_l(answer, [reference])


@pytest.mark.parametrize(
    ("answer", "reference", "value"),
    [
        ("我爱你", "我不爱你", 2 * 1 * 0.75 / 1.75),  # 3 of 3 and 3 of 4 characters
        ("хорошая погода", "погода хорошая сегодня", 2 * (1 / 2) * (1 / 3) / (5 / 6)),
        ("今日は good", "今日 good", 2 * (3 / 4) * 1 / (7 / 4)),
        ("кот", "пёс", 0),
        ("。", "。", 0),
    ],
)
def test_by_hand(answer: str, reference: str, value: float) -> None:
    assert rouge_l_unicode(answer, [reference]) == pytest.approx(value)


@given(st.text(max_size=20), st.text(max_size=20))
def test_both_directions_are_one_f_measure(one: str, other: str) -> None:
    assert rouge_l_unicode(one, [other]) == pytest.approx(rouge_l_unicode(other, [one]))
