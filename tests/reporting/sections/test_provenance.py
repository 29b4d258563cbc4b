"""Provenance: gaps, and how often the teacher read the training data."""

import pytest

from adakd.reporting.sections.base import Context
from adakd.reporting.sections.provenance import provenance
from adakd.store.records import RunRecord, TeacherStatesRecord


@pytest.mark.parametrize(
    ("how", "expected"),
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
def test_how_often_the_teacher_read_is_a_sentence(made_store, how, expected) -> None:
    store = made_store()
    (run,) = store.of(RunRecord)
    record = TeacherStatesRecord(key="teaching", sequences=90, readings=1080, **how)
    store.add(run.model_copy(update={"wanted": (*run.wanted, "teaching")}), record)
    assert provenance(Context.of(store)).teacher_passes == expected


def test_starts_and_gaps_are_counted(made_store, mini) -> None:
    found = provenance(mini)
    assert (found.starts, len(found.gaps), found.teacher_passes) == (1, 1, None)
    store = made_store()
    store.add(store.of(RunRecord)[0].model_copy(update={"key": "run-2"}))
    assert provenance(Context.of(store)).starts == 2


def test_the_teacher_of_a_stored_run_is_described(stored, stored_page) -> None:
    sentence = provenance(stored).teacher_passes
    assert sentence is not None
    assert sentence in stored_page.text
