"""Laws of every registered metric, and the registry."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adakd.errors import AdakdError, UnknownName
from adakd.metrics import Display, metric
from adakd.metrics.base import MetricRegistry
from adakd.registry import Spec

SHIPPED = sorted(metric)
texts = st.text(alphabet="ab the,你สวั ", max_size=12)


@pytest.mark.parametrize("name", SHIPPED)
@given(answer=texts, references=st.lists(texts, min_size=1, max_size=3))
def test_a_shipped_metric_is_a_share_and_the_best_reference_counts(
    name: str, answer: str, references: list[str]
) -> None:
    value = metric[name](answer, references)
    assert value == max(metric[name](answer, [one]) or 0.0 for one in references)
    assert 0 <= value <= 1
    assert metric[name](answer, references[::-1]) == value


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_metric_cannot_score_without_a_reference(name: str) -> None:
    assert metric[name]("an answer", []) is None


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_metric_is_shown_as_a_percentage(name: str) -> None:
    shown = metric.display(name)
    assert (shown.scale, shown.higher_is_better) == (100, True)
    assert shown.title


def test_shipped_metrics_have_titles_of_their_own() -> None:
    assert len({metric.display(name).title for name in SHIPPED}) == len(SHIPPED)


def test_a_metric_is_registered_with_its_display_and_settings() -> None:
    registry = MetricRegistry()

    @registry("errors", title="wrong words", higher_is_better=False)
    def errors(prediction: str, references: list[str], *, weight: float = 1.0) -> float | None:
        return weight * (prediction not in references)

    assert registry.display("errors") == Display("wrong words", 1.0, higher_is_better=False)
    assert registry.build(Spec(name="errors", weight=3))("a", ["b"]) == 3
    with pytest.raises(AdakdError, match=r"metric 'errors', weight"):
        registry.resolve(Spec(name="errors", weight="much"))
    with pytest.raises(AdakdError, match="'errors' is already registered"):
        registry("errors")(errors)


def test_a_metric_without_a_title_is_shown_by_its_name() -> None:
    registry = MetricRegistry()
    registry("plain")(lambda prediction, references: 1.0)
    assert registry.display("plain") == Display("plain")


def test_an_unknown_metric_offers_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"unknown metric 'rouge'.*'rouge_l'"):
        metric.display("rouge")


def test_importing_the_metrics_waits_for_no_library() -> None:
    code = "import sys, adakd.metrics; print({'torch', 'nltk', 'rapidfuzz'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
