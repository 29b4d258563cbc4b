"""Sample answers: side by side, with the verdicts on them."""

from adakd.reporting.sections.base import Context
from adakd.reporting.sections.samples import PER_TASK, samples
from adakd.store.records import ExampleRecord, ScoreRecord, VerdictRecord


def test_samples_show_every_method_side_by_side(made_store):
    store = made_store(failed=None)
    found = samples(Context.of(store)).samples
    assert len(found) == 2 * min(3, PER_TASK)
    assert [str(reply.method) for reply in found[0].controls] == ["teacher", "untrained", "sft"]
    assert [name for name, _ in found[0].by_divergence][1] == "reverse_kl"
    plain, adaptive = found[0].by_divergence[1][1]
    assert plain.text is not None
    assert adaptive.verdicts[0].startswith("rule against plain, shown first: ")


def test_an_item_whose_text_was_recorded_twice_is_one_sample(made_store):
    store = made_store(failed=None)
    (first, *_) = store.of(ExampleRecord)
    before = samples(Context.of(store)).samples
    store.add(first.model_copy(update={"key": "again", "reference": "another"}))
    assert samples(Context.of(store)).samples == before


def test_verdicts_beside_an_answer_are_of_that_answer_in_whatever_order_they_came(made_store):
    store = made_store(failed=None, judge=False)
    (shown, *_) = store.of(ExampleRecord)
    scores = [s for s in store.of(ScoreRecord) if s.cell.arm == "adakd" and s.task == shown.task]
    for score in reversed(scores):  # the seeds that are not shown come first
        store.add(
            VerdictRecord(
                key=f"verdict-{score.key}",
                judge="rule@0123abcd",
                against="plain",
                candidate=score.cell,
                opponent=None,
                task=score.task,
                item=shown.item,
                sampling_seed=score.sampling_seed,
                candidate_first=True,
                words=score.key,
                verdict="tie",
                reason=score.key,
                seconds=0.0,
            )
        )
    (sample, *_) = samples(Context.of(store)).samples
    first = [s for s in scores if s.cell.seed == scores[0].cell.seed]
    mine = {s.cell.divergence: s.key for s in reversed(first)}
    for name, (_, adaptive) in sample.by_divergence:
        assert adaptive.verdicts == (f"rule against plain, shown first: tie: {mine[name]}",)
