"""Controls: found, not found, and what is said of each."""

from dataclasses import replace

import numpy as np
import pytest

from adakd.planning import Cell
from adakd.reporting.families import arm_differences
from adakd.reporting.index import Method
from adakd.reporting.paired import paired
from adakd.reporting.report import Report
from adakd.reporting.sections.base import Context
from adakd.reporting.sections.controls import Controls, Neutral, controls
from adakd.reporting.sections.scores import instruction_sets
from adakd.stats import pooled_difference
from adakd.store import Store
from adakd.store.records import RunRecord, ScoreRecord, TrainingRecord
from adakd.store.steps import Steps


def checked(store: Store, change=lambda record: record, without=()) -> Store:
    """Add a neutral student to a made-up run: the records of its plain twin under another cell."""
    run = store.of(RunRecord)[-1]
    twin = next(cell for cell in run.cells if (cell.method, cell.role) == PLACE)
    cell = Cell(role="neutral", seed=twin.seed, divergence=twin.divergence, key="neutral")
    files = {"model.safetensors": "0123"}
    records = []
    for kind in (TrainingRecord, ScoreRecord):
        for record in store.of(kind):
            if record.cell == twin and kind not in without:
                known = {"files": files} if kind is TrainingRecord else {}
                key = record.key.replace(twin.key, cell.key)
                store.add(record.model_copy(update=known))
                records.append(
                    change(record.model_copy(update={"cell": cell, "key": key, **known}))
                )
    cells, wanted = (*run.cells, cell), (*run.wanted, *(record.key for record in records))
    store.add(run.model_copy(update={"cells": cells, "wanted": wanted}), *records)
    return Store(store.folder)


PLACE = ("forward_kl", "distilled")
WHOLE = {"failed": None, "judge": False, "timing": False}


def found_in(store: Store) -> Controls:
    found = controls(Context.of(store))
    assert found is not None
    return found


# --- what is found ----------------------------------------------------------------------------


def test_the_three_controls_of_a_sound_run(made_store):
    store = checked(made_store(seeds=(10, 20, 30, 40), **WHOLE))
    found = found_in(store)
    context = Context.of(store)
    plain, sft = Method("distilled", "forward_kl"), Method("sft")
    alone = paired(context, plain, sft, context.index.sets).row.difference
    alone = replace(alone, minimum_effect=alone.law.detectable())
    assert found.positive.difference == alone  # tested by itself: nothing is adjusted
    assert found.positive.adjusted_p == alone.p_value
    assert found.positive.conclusion == "better"
    assert found.neutral == Neutral(
        "forward_kl, neutral adakd",
        10,
        (
            "the losses and gradient norms of 60 steps",
            "the weights",
            f"the scores of {(2 * 2) * 40 + 2 * 40} items",  # sets x samplings, choice and task
        ),
    )
    assert found.again is not None
    assert found.again.conclusion == "not separable"
    assert found.pairs == 2
    assert found.sentence == (
        f"This run could have found a difference of {alone.minimum_effect:.2f} (ROUGE-L × 100); "
        f"it found the known one (distillation over SFT +{alone.estimate:.2f}, 95 % "
        f"+{alone.low:.2f} to +{alone.high:.2f}); it found none where there is none (a neutral "
        "arm, identical to plain, and plain against plain at other seeds)."
    )


def test_plain_against_plain_pairs_seeds_that_are_not_shared(made_store):
    store = checked(made_store(seeds=(10, 20, 30, 40, 50), samplings=(1,), **WHOLE))
    again = found_in(store).again
    values = {}
    for score in store.of(ScoreRecord):
        if score.cell.method == "forward_kl" and score.sort == "answers":
            column = [np.nan if i.value is None else 100 * i.value for i in score.items]
            values[score.task, score.cell.seed] = column
    pairs = [
        tuple(np.array([values[task, seed] for seed in of]).T for of in ((10, 30), (20, 40)))
        for task in ("dolly", "self-inst")
    ]
    expected = pooled_difference(pairs)
    assert again.difference.estimate == pytest.approx(expected.estimate)
    assert again.difference.p_value == pytest.approx(expected.p_value)
    assert again.difference.n_seeds == 2


def test_no_verdict_and_no_table_changes(made_store):
    before = Context.of(made_store("before", **WHOLE))
    after = Context.of(checked(made_store("after", **WHOLE)))
    assert arm_differences(after).overall == arm_differences(before).overall
    assert arm_differences(after).families == arm_differences(before).families
    assert instruction_sets(after) == instruction_sets(before)
    assert after.index.superseded == before.index.superseded == 0
    assert controls(before) is None


# --- what is said -----------------------------------------------------------------------------


def test_a_known_difference_that_is_not_found_is_said(made_store):
    found = found_in(checked(made_store(items=3, **WHOLE)))
    assert found.positive.conclusion == "not separable"
    assert "it did NOT find the known one (distillation over SFT" in found.sentence
    assert "so “not separable” says little here" in found.sentence


@pytest.mark.parametrize(
    ("conclusion", "effect", "said"),
    [
        ("worse", 2.0, "in place of the known one it found the opposite (distillation over SFT"),
        ("better", np.inf, "This run could have found no difference that the metric allows"),
        ("better", np.nan, "Which difference this run could have found is not known"),
    ],
)
def test_other_results_of_the_known_difference(made_store, conclusion, effect, said):
    found = found_in(checked(made_store(**WHOLE)))
    row = found.positive
    difference = replace(row.difference, minimum_effect=effect)
    row = replace(row, conclusion=conclusion, difference=difference)
    assert said in replace(found, positive=row).sentence


def test_plain_that_differs_from_plain_is_said_with_what_chance_does(made_store):
    found = found_in(checked(made_store(**WHOLE)))
    assert found.again is not None
    assert found.pairs == 1
    differing = replace(found, again=replace(found.again, conclusion="worse"))
    assert "it found one where there is none: plain against plain" in differing.sentence
    assert "the interval covers items only" in differing.sentence
    assert "one of twenty runs" in replace(differing, pairs=2).sentence


def test_one_seed_has_a_neutral_arm_alone(made_store):
    store = checked(made_store(seeds=(10,), **WHOLE))
    found = found_in(store)
    assert (found.again, found.pairs) == (None, 0)
    assert found.sentence.endswith("none where there is none (a neutral arm, identical to plain).")
    assert "With one training seed, plain cannot be compared" in Report.of(store).page


def other_loss(record):
    if record.kind == "score":
        return record
    steps = list(record.steps)
    steps[4] = steps[4].model_copy(update={"loss": steps[4].loss + 1e-9})
    return record.model_copy(update={"steps": Steps.model_validate(steps)})


def other_weights(record):
    is_score = record.kind == "score"
    return record if is_score else record.model_copy(update={"files": {"model.safetensors": "4"}})


def other_score(record):
    if record.kind != "score" or record.task != "self-inst":
        return record
    first, *rest = record.items
    return record.model_copy(update={"items": (first.model_copy(update={"value": 0.875}), *rest)})


def shorter(record):
    return record if record.kind == "score" else record.model_copy(update={"steps": Steps()})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_loss, "the trainings, from step 5 on: loss "),
        (other_weights, "the saved models: model.safetensors"),
        (other_score, "ROUGE-L of 1 of 40 items of self-inst, sampling seed 1"),
        (shorter, "60 steps in plain, 0 in the neutral arm"),
    ],
)
def test_a_neutral_arm_that_is_not_plain_is_shouted(made_store, change, said):
    store = checked(made_store(**WHOLE), change)
    found = found_in(store)
    assert found.neutral.state == "not identical"
    assert found.neutral.differences[0].startswith(said)
    assert "it FAILED where there is none" in found.sentence
    page = Report.of(store).page
    assert '<div class="callout alarm" role="alert">' in page
    assert "The neutral arm is not identical to plain." in page


# --- on a GPU, which sums in another order each time -------------------------------------------


def on_gpu(store: Store) -> Store:
    run = store.of(RunRecord)[-1]
    store.add(run.model_copy(update={"hardware": {**run.hardware, "gpu": "1 x NVIDIA H100"}}))
    return Store(store.folder)


def with_steps(change, first: int):
    """Change the fields of all steps from one on, and one score."""

    def changed(record):
        if record.kind == "score":
            return other_score(record)
        steps = [
            step.model_copy(update=change(step)) if step.step >= first else step
            for step in record.steps
        ]
        files = {"model.safetensors": "4"}
        return record.model_copy(update={"steps": Steps.model_validate(steps), "files": files})

    return changed


def test_a_neutral_arm_that_drifts_by_rounding_raises_no_alarm(made_store):
    drifting = with_steps(lambda step: {"loss": step.loss * 1.004}, 2)
    store = on_gpu(checked(made_store(**WHOLE), drifting))
    found = found_in(store)
    assert found.neutral.state == "equal to rounding"
    assert found.neutral.compared == (
        "selection, temperature and learning rate of 60 steps",
        "the loss of step 1 to 1e-06 and its gradient norm to 0.001",
    )
    assert found.neutral.drift.startswith(
        "later losses differ by up to 0.4 %, at most 2 % is taken for rounding: a GPU does not "
        "repeat a training bit for bit; ROUGE-L of 1 of 40 items of self-inst, sampling seed "
    )
    assert "none where there is none (a neutral arm, equal to plain up to rounding" in (
        found.sentence
    )
    page = Report.of(store).page
    assert "does not repeat a training bit for bit" in page
    assert "The neutral arm is not identical to plain." not in page


@pytest.mark.parametrize(
    ("change", "first"),
    [
        (lambda step: {"loss": step.loss * (1 + 2e-6)}, 1),
        (lambda step: {"grad_norm": step.grad_norm * 1.002}, 1),
        (lambda step: {"loss": step.loss * 1.03}, 7),
        (lambda step: {"loss": float("nan")}, 7),
        (lambda step: {"kept_ratio": 0.999}, 60),
        (lambda step: {"temperature": 1.0001}, 60),
    ],
    ids=["first loss", "first gradient", "drift", "nan", "selection", "temperature"],
)
def test_more_than_rounding_is_shouted_on_a_gpu_too(made_store, change, first):
    found = found_in(on_gpu(checked(made_store(**WHOLE), with_steps(change, first))))
    assert found.neutral.state == "not identical"
    assert "it FAILED where there is none" in found.sentence


def test_an_identical_neutral_arm_is_identical_on_a_gpu_too(made_store):
    assert found_in(on_gpu(checked(made_store(**WHOLE)))).neutral.state == "identical"


def test_a_processor_repeats_a_training_bit_for_bit(made_store):
    rounding = with_steps(lambda step: {"loss": step.loss * (1 + 1e-9)}, 2)
    assert found_in(checked(made_store(**WHOLE), rounding)).neutral.state == "not identical"


@pytest.mark.parametrize(
    ("without", "said"),
    [
        ((TrainingRecord, ScoreRecord), "forward_kl, neutral adakd, seed 10, is not trained yet"),
        ((ScoreRecord,), "not scored in both arms on arc_easy, dolly, dolly-choice and self-inst"),
    ],
)
def test_what_is_not_done_yet_is_said(made_store, without, said):
    found = found_in(checked(made_store(**WHOLE), without=without))
    assert (found.neutral.state, found.neutral.note) == ("missing", said)
    assert f"where there is none it has no result: {said}." in found.sentence


def test_a_neutral_arm_that_failed_is_said(made_store):
    def failed(record):
        of = {"status": "failed", "reason": "the loss is not finite"}
        return record if record.kind == "score" else record.model_copy(update=of)

    found = found_in(checked(made_store(**WHOLE), failed))
    assert "seed 10, failed: the loss is not finite" in found.sentence


# --- the page ---------------------------------------------------------------------------------


def test_the_page_opens_with_the_sentence(made_store, page_of):
    store = checked(made_store(**WHOLE))
    page, sentence = page_of(store), found_in(store).sentence
    assert page.text.index(sentence) < page.text.index("How to read this.")
    assert page.text.count(sentence) == 2  # on the first screen, and in the section
    assert page.numbers["controls"]["neutral"]["differences"] == []
    assert "controls" not in page_of(made_store("without", **WHOLE)).numbers
