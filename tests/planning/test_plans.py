"""What is trained and scored, and under which key."""

import json
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Any

import pytest

from adakd.config import Suite, Training
from adakd.config.hashing import digest
from adakd.divergences import divergence
from adakd.errors import AdakdError
from adakd.planning import Assignment, Cell, Plan, plan, total_steps

PLUGIN = """
from adakd import divergence

@divergence("mine")
def mine(student, teacher, *, mix: float = {mix}):
    return (student.exp() * (student - teacher)).sum(-1)
"""
SKEW = "skew_reverse_kl"


def keys(planned: Plan, role: str | None = None) -> dict[str, str]:
    return {str(c): c.key for c in planned.cells if role in (None, c.role)}


def assigned(planned: Plan) -> dict[str, Assignment]:
    """The assignments of a plan with one seed, by method."""
    return {one.cell.method: one for one in planned.assignments}


def job_keys(planned: Plan) -> dict[tuple[str, str, int | None], str]:
    return {(str(job.cell), job.task, job.sampling_seed): job.key for job in planned.jobs}


def write_rows(file: Path, count: int = 5, text: str = "answer") -> Path:
    rows = [{"instruction": f"do {n}", "output": f"{text} {n}"} for n in range(count)]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def jsonl(file: Path, **rest: Any) -> dict[str, Any]:
    return {"kind": "jsonl", "path": str(file), **rest}


# --- cells ------------------------------------------------------------------------------------


def test_the_cells_of_a_pair_differ_in_their_arm_alone(make_suite) -> None:
    suite = make_suite({"seeds": [1, 2], "divergences": ["reverse_kl", SKEW]})
    cells = [cell for cell in plan(suite).cells if cell.role == "distilled"]
    pairs = list(zip(cells[::2], cells[1::2], strict=True))
    assert len(pairs) == 4
    for plain, adaptive in pairs:
        differing = {
            field
            for field in Cell.model_fields
            if getattr(plain, field) != getattr(adaptive, field)
        }
        assert differing == {"arm", "key"}
        assert (plain.arm, adaptive.arm) == ("plain", "adakd")


def test_every_cell_has_a_key_of_its_own(make_suite) -> None:
    suite = make_suite({"seeds": [1, 2], "divergences": ["reverse_kl", SKEW, "forward_kl"]})
    planned = plan(suite)
    assert len({cell.key for cell in planned.cells}) == len(planned.cells) == 2 + 2 + 3 * 2 * 2
    assert len({job.key for job in planned.jobs}) == len(planned.jobs) == 2 * len(planned.cells)


# --- metrics ----------------------------------------------------------------------------------

METRIC = """
from adakd import metric

@metric("mine")
def mine(prediction, references, *, least: int = {least}):
    return float(len(prediction) >= least)
"""


def metric_keys(planned: Plan) -> dict[tuple[str, str | None], str]:
    return {
        (job.task, job.metric): job.key for job in planned.jobs if job.cell == planned.teacher.cell
    }


def test_each_metric_scores_the_same_answers_under_a_key_of_its_own(make_suite) -> None:
    before = plan(make_suite())
    after = plan(make_suite({"evaluation.metrics": ["rouge_l", "token_f1", "exact_match"]}))
    assert {job.key for job in before.jobs} < {job.key for job in after.jobs}
    assert len({job.key for job in after.jobs}) == len(after.jobs) == 4 * len(after.cells)
    for cell in after.cells:
        jobs = [job for job in after.jobs if job.cell == cell and job.task == "puzzles"]
        assert [job.metric for job in jobs] == ["rouge_l", "token_f1", "exact_match"]
        assert {job.answers for job in jobs} == {jobs[0].key}


def test_the_default_metric_keeps_the_keys_of_finished_runs(make_suite) -> None:
    """Under a schema without metrics the key of a score was that of its answers."""
    for metrics in (["rouge_l"], ["token_f1", "rouge_l"]):
        jobs = plan(make_suite({"evaluation.metrics": metrics})).jobs
        assert all(job.key == job.answers for job in jobs if job.metric != "token_f1")
        assert all(job.key != job.answers for job in jobs if job.metric == "token_f1")
    assert plan(make_suite({"evaluation.metrics": ["rouge_l"]})).jobs == plan(make_suite()).jobs


def test_settings_and_code_of_a_metric_decide_its_key_and_no_others(
    make_suite, tmp_path: Path
) -> None:
    def planned(name: str, code: str, spec: Any) -> dict[tuple[str, str | None], str]:
        (tmp_path / f"{name}.py").write_text(code.replace('"mine"', f'"{name}"'))
        metrics = ["rouge_l", {"name": name, **spec}]
        changes = {"plugins": [f"{name}.py"], "evaluation.metrics": metrics}
        return metric_keys(plan(make_suite(changes)))

    first = planned("one", METRIC.format(least=1), {})
    assert planned("one", METRIC.format(least=1), {"least": 1}) == first
    other = planned("one", METRIC.format(least=1), {"least": 2})
    edited = planned("one", METRIC.format(least=1) + "# edited", {})
    assert len({keys["puzzles", "one"] for keys in (first, other, edited)}) == 3
    for keys in (first, other, edited):
        assert keys["puzzles", "rouge_l"] == metric_keys(plan(make_suite()))["puzzles", "rouge_l"]


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["rouge"], r"evaluation\.metrics\.0: unknown metric 'rouge'; did you mean 'rouge_l'"),
        (["rouge_l", {"name": "token_f1", "n": 2}], r"evaluation\.metrics\.1: .* takes no 'n'"),
        (["rouge_l", "rouge_l"], "metrics: rouge_l is given twice"),
        ([], "at least 1 item"),
    ],
)
def test_a_mistaken_metric_is_an_error_when_planned(
    make_suite, metrics: list[Any], message: str
) -> None:
    with pytest.raises((AdakdError, ValueError), match=message):
        plan(make_suite({"evaluation.metrics": metrics}))


def test_the_teacher_comes_first_and_controls_can_be_left_out(make_suite) -> None:
    roles = [cell.role for cell in plan(make_suite()).cells]
    assert roles == ["teacher", "untrained", "sft", "distilled", "distilled"]
    roles = [cell.role for cell in plan(make_suite({"controls.sft": False})).cells]
    assert roles == ["teacher", "untrained", "distilled", "distilled"]


# --- the longer control -----------------------------------------------------------------------


def test_a_longer_control_leaves_all_other_cells_as_they_are(make_suite) -> None:
    changes = {"seeds": [1, 2], "divergences": ["reverse_kl", SKEW]}
    before = plan(make_suite(changes))
    after = plan(make_suite({**changes, "controls.longer": 0.1}))
    added = [cell for cell in after.cells if cell.role == "longer"]
    assert [cell for cell in after.cells if cell.role != "longer"] == list(before.cells)
    assert [str(cell) for cell in added] == [
        f"{name}, 10 % longer, seed {seed}" for name in ("reverse_kl", SKEW) for seed in (1, 2)
    ]
    assert {job.key for job in before.jobs} < {job.key for job in after.jobs}
    assert {job.cell for job in after.jobs} == set(after.cells)


def test_a_longer_control_differs_from_its_plain_twin_in_its_length_alone(make_suite) -> None:
    suite = make_suite({"controls.longer": 0.1, "training.steps": 50})
    planned = plan(suite)
    plain, longer = (
        next(c for c in planned.cells if c.role == role and c.arm == "plain")
        for role in ("distilled", "longer")
    )
    differing = {
        field for field in Cell.model_fields if getattr(plain, field) != getattr(longer, field)
    }
    assert differing == {"role", "longer", "key"}
    one, other = (assigned(planned)[cell.method] for cell in (plain, longer))
    assert one.training is not None
    training = one.training.model_copy(update={"steps": 55})
    own = {"cell": longer, "recipe": other.recipe, "training": training}
    assert other == one.model_copy(update=own)
    again = plan(make_suite({"controls.longer": 0.2, "training.steps": 50}))
    assert longer.key not in {cell.key for cell in again.cells}


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        ({"steps": 100}, 110),
        ({"steps": 4}, 5),
        ({"steps": ..., "epochs": 3}, 33),
        ({"steps": ..., "epochs": 0.5}, 6),
    ],
)
def test_a_longer_control_is_longer_by_its_share_rounded_up(
    make_suite, training: dict[str, Any], expected: int
) -> None:
    changes = {f"training.{name}": value for name, value in training.items()}
    planned = plan(make_suite({**changes, "controls.longer": 0.1}))
    longer = next(one for one in planned.assignments if one.cell.role == "longer")
    assert planned.length(longer)[0] == expected  # of 40 rows, 4 a step


def test_parts_of_a_cell_are_those_of_the_suite(make_suite) -> None:
    suite = make_suite({"divergences": [{"name": SKEW, "lam": 0.3}]})
    planned = plan(suite)
    parts = {name: (one.baseline, one.adaptive) for name, one in assigned(planned).items()}
    assert parts["sft"] == parts["teacher"] == (None, None)
    assert parts[f"{SKEW}(lam=0.3)"] == (suite.divergences[0], None)
    assert parts[f"{SKEW}(lam=0.3) + adakd"] == (suite.divergences[0], suite.arms["adakd"])


@pytest.mark.parametrize(
    "changes",
    [
        {"divergences": [SKEW, {"name": SKEW, "lam": 0.1}]},
        {"arms": {"one": "adakd", "other": {"name": "adakd", "indicator": "hellinger"}}},
    ],
)
def test_the_same_cell_under_two_names_is_refused(make_suite, changes: dict[str, Any]) -> None:
    with pytest.raises(AdakdError, match="the same"):
        plan(make_suite(changes))


@pytest.mark.parametrize(
    "changes",
    [
        {
            "divergences": [
                "reverse_kl", {"divergence": "forward_kl", "label": "reverse_kl + adakd"}
            ],
        },
        {
            "divergences": ["reverse_kl", {"divergence": "forward_kl", "label": "a + b"}, "todi",
                            {"divergence": "skew_forward_kl", "label": "a"}],
            "arms": {"b": "adakd"},
        },
        {
            "divergences": [
                "reverse_kl", {"divergence": "forward_kl", "label": "reverse_kl, 10 % longer"}
            ],
            "controls.longer": 0.1,
        },
    ],
)  # fmt: skip
def test_two_methods_of_one_name_are_refused(make_suite, changes: dict[str, Any]) -> None:
    with pytest.raises(AdakdError, match=r"two methods would be called .*: rename a label"):
        plan(make_suite(changes))


# --- keys: all that decides a result, and nothing else ----------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"training.steps": 5},
        {"training.learning_rate": 0.02},
        {"training.batch_size": 5},
        {"training.gradient_accumulation": 2},
        {"training.precision": "bf16"},
        {"training.lora": {"r": 2}},
        {"seeds": [2]},
        {"data.train.rows": 41},
        {"data.train.limit": 39},
        {"data.template": "alpaca"},
        {"data.max_tokens": 95},
        {"data.max_prompt_tokens": 63},
        {"teacher.sft.steps": 5},
        {"teacher.base.vocabulary": 401},
        {"teacher.base.config.hidden_size": 64},
        {"student.config.hidden_size": 32},
        {"student": {"kind": "pruned", "drop_layers": [0]}},
    ],
    ids=str,
)
def test_what_decides_a_student_changes_its_key(make_suite, changes: dict[str, Any]) -> None:
    before = {c.arm: c.key for c in plan(make_suite()).cells if c.role == "distilled"}
    after = {c.arm: c.key for c in plan(make_suite(changes)).cells if c.role == "distilled"}
    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values())


@pytest.mark.parametrize(
    "changes",
    [
        {"training.save_every": 7},
        {"training.report_to": ["tensorboard"]},
        {"teacher.sft.save_every": 7},
        {"description": "another"},
        {"version": 2},
        {"timing.pairs": 3},
        {"judges": []},
        {"evaluation.sampling": {"max_new_tokens": 9}},
        {"data.folder": "elsewhere"},
        {"training.warmup": 0},
        {"student.kind": "scratch"},
    ],
    ids=str,
)
def test_what_does_not_decide_it_keeps_the_key(make_suite, changes: dict[str, Any]) -> None:
    assert keys(plan(make_suite(changes))) == keys(plan(make_suite()))


def test_more_seeds_divergences_and_arms_leave_the_others_alone(make_suite) -> None:
    few = keys(plan(make_suite()))
    arms = {"adakd": "adakd", "fixed": {"name": "adakd", "focus": "fixed"}}
    wide = {"seeds": [1, 2], "divergences": ["forward_kl", "reverse_kl"], "arms": arms}
    many = keys(plan(make_suite(wide)))
    assert few.items() < many.items()


def test_the_teacher_is_shared_by_whatever_is_distilled(make_suite) -> None:
    before = keys(plan(make_suite()), "teacher")
    for changes in (
        {"training.steps": 9},
        {"student.config.hidden_size": 32},
        {"divergences": ["forward_kl"]},
    ):
        assert keys(plan(make_suite(changes)), "teacher") == before


@pytest.mark.parametrize(
    "setting", [{"focus": {"name": "latf", "beta": 0.9}}, {"scope": "step"}], ids=str
)
def test_an_arms_setting_changes_that_arm_alone(make_suite, setting: dict[str, Any]) -> None:
    before = keys(plan(make_suite()))
    after = keys(plan(make_suite({"arms": {"adakd": {"name": "adakd", **setting}}})))
    assert {name for name in before if before[name] != after[name]} == {
        "reverse_kl + adakd, seed 1"
    }


def test_a_step_with_a_gradient_through_the_median_is_refused_when_planned(make_suite) -> None:
    arm = {"name": "adakd", "scope": "step", "temperature": {"name": "idts", "detach": False}}
    with pytest.raises(AdakdError, match=r"arms\.adakd: .*scope: step.*set detach: true"):
        plan(make_suite({"arms": {"adakd": arm}}))


@pytest.mark.parametrize(
    ("field", "implicit", "explicit"),
    [
        ("divergences", [SKEW], [{"name": SKEW, "lam": 0.1}]),
        ("divergences", [{"name": "alpha_beta"}], ["alpha_beta"]),
        ("arms", {"a": "adakd"}, {"a": {"name": "adakd", "indicator": "hellinger"}}),
        (
            "arms",
            {"a": "adakd"},
            {"a": {"name": "adakd", "focus": {"name": "latf", "warmup": 0.05, "floor": 0.1}}},
        ),
        (
            "arms",
            {"a": {"name": "adakd", "temperature": {"name": "idts", "c": 1}}},
            {"a": {"name": "adakd", "temperature": {"name": "idts", "c": 1.0, "base": 1}}},
        ),
    ],
)
def test_a_default_given_is_a_default_kept(
    make_suite, field: str, implicit: Any, explicit: Any
) -> None:
    one, other = (plan(make_suite({field: value})) for value in (implicit, explicit))
    assert [cell.key for cell in one.cells] == [cell.key for cell in other.cells]


def test_a_divergences_setting_changes_the_key(make_suite) -> None:
    one, other = (
        plan(make_suite({"divergences": [{"name": SKEW, "lam": lam}]})).cells[-1]
        for lam in (0.1, 0.2)
    )
    assert one.key != other.key


def test_rows_may_share_a_divergence_and_differ_in_policy(make_suite) -> None:
    gkd = {"divergence": "reverse_kl", "policy": {"name": "on_policy", "lmbda": 0.5}}
    alone = keys(plan(make_suite()))
    both = plan(make_suite({"divergences": ["reverse_kl", gkd]}))
    assert alone.items() < keys(both).items()
    methods = {cell.method for cell in both.cells if cell.role == "distilled"}
    label = "reverse_kl, on_policy(lmbda=0.5)"
    assert methods == {"reverse_kl", "reverse_kl + adakd", label, f"{label} + adakd"}
    assert [one.generates for one in both.assignments[-4:]] == [False, False, True, True]


def test_a_policys_settings_decide_the_key_and_its_label_does_not(make_suite) -> None:
    def key(**row: Any) -> str:
        return plan(make_suite({"divergences": [{"divergence": "todi", **row}]})).cells[-1].key

    offline = key()
    assert offline == key(policy="offline", label="mine")
    gkd = key(policy="on_policy")
    assert gkd == key(policy={"name": "on_policy", "lmbda": 0.5, "top_k": 0}, label="gkd")
    assert len({offline, gkd, key(policy={"name": "on_policy", "lmbda": 0.4})}) == 3


def test_data_may_move_but_not_change(make_suite, tmp_path: Path) -> None:
    def planned(file: Path, **rest: Any) -> dict[str, str]:
        return keys(plan(make_suite({"data.train": jsonl(file, **rest)})))

    here = planned(write_rows(tmp_path / "a" / "rows.jsonl"))
    assert planned(write_rows(tmp_path / "b" / "other.jsonl")) == here
    limited = planned(tmp_path / "a" / "rows.jsonl", limit=3)
    longer = planned(tmp_path / "a" / "rows.jsonl", min_response_words=2)
    changed = planned(write_rows(tmp_path / "a" / "rows.jsonl", text="reply"))
    assert not set(here.values()) & set(limited.values())
    assert not set(here.values()) & set(longer.values())
    assert not set(here.values()) & set(changed.values())


def test_a_local_copy_of_a_hub_set_may_lie_anywhere(make_suite, tmp_path: Path) -> None:
    def planned(folder: Path) -> dict[str, str]:
        source = {"kind": "hub", "id": "who/what", "local": "rows.jsonl"}
        write_rows(folder / "rows.jsonl")
        return keys(plan(make_suite({"data.train": source, "data.folder": str(folder)})))

    assert planned(tmp_path / "a") == planned(tmp_path / "b")


def test_a_plugins_content_decides_and_its_place_does_not(make_suite, tmp_path: Path) -> None:
    def planned(name: str, mix: float) -> dict[str, str]:
        file = tmp_path / name
        file.write_text(PLUGIN.format(mix=mix))
        cells = plan(make_suite({"plugins": [str(file)], "divergences": ["mine"]}))
        divergence._parts.pop("mine")
        return keys(cells, "distilled")

    one = planned("one.py", 0.5)
    assert planned("two.py", 0.5) == one
    assert not set(planned("three.py", 0.5000001).values()) & set(one.values())


def test_a_model_folder_may_move_but_not_change(make_suite, tmp_path: Path) -> None:
    def planned(folder: Path, weights: str) -> dict[str, str]:
        folder.mkdir(exist_ok=True)
        (folder / "model.safetensors").write_text(weights)
        base = {"kind": "pretrained", "model": str(folder)}
        return keys(plan(make_suite({"teacher.base": base})))

    one = planned(tmp_path / "one", "weights")
    assert planned(tmp_path / "two", "weights") == one
    assert not set(planned(tmp_path / "two", "wEights").values()) & set(one.values())


def test_a_digest_does_not_depend_on_order_but_on_everything_else() -> None:
    assert digest({"a": 1, "b": [2, None]}) == digest({"b": [2, None], "a": 1})
    others: list[Mapping[str, Any]] = [{"a": 1, "b": [2]}, {"a": 2, "b": [2, None]}, {"a": 1}]
    assert len({digest(other) for other in [{"a": 1, "b": [2, None]}, *others]}) == 4


# --- jobs -------------------------------------------------------------------------------------

SAMPLED = {"evaluation.sampling": {"seeds": [10, 20], "max_new_tokens": 8}}


def test_one_job_for_each_cell_task_and_sampling_seed(make_suite) -> None:
    suite = make_suite({**SAMPLED, "evaluation.tasks": ["piqa"]})
    planned = plan(suite)
    asked = [("puzzles", 10), ("puzzles", 20), ("puzzles-choice", None), ("piqa", None)]
    for cell in planned.cells:
        jobs = [job for job in planned.jobs if job.cell == cell]
        assert [(job.task, job.sampling_seed) for job in jobs] == asked


def test_greedy_answers_need_no_seed(make_suite) -> None:
    suite = make_suite({"evaluation.sampling.seeds": [1, 2]})
    assert {job.sampling_seed for job in plan(suite).jobs} == {None}


@pytest.mark.parametrize(
    ("changes", "tasks"),
    [
        ({"evaluation.sampling.max_new_tokens": 9}, {"puzzles"}),
        ({"evaluation.sampling.temperature": 0.5}, {"puzzles"}),
        ({"evaluation.sets.puzzles.rows": 7}, {"puzzles", "puzzles-choice"}),
        ({"evaluation.sets.puzzles.limit": 5}, {"puzzles", "puzzles-choice"}),
        ({"evaluation.choices": [{"set": "puzzles", "limit": 4}]}, {"puzzles-choice"}),
        ({"evaluation.choices": [{"set": "puzzles", "choices": 3}]}, {"puzzles-choice"}),
        ({"evaluation.batch_size": 5}, {"puzzles", "puzzles-choice", "piqa"}),
        ({"evaluation.precision": "bf16"}, {"puzzles", "puzzles-choice", "piqa"}),
        ({"evaluation.tasks": [{"name": "piqa", "limit": 3}]}, {"piqa"}),
        ({"evaluation.tasks": [{"name": "piqa", "num_fewshot": 3}]}, {"piqa"}),
        ({"timing.pairs": 3}, set()),
        ({"judges": []}, set()),
        ({"training.save_every": 9}, set()),
    ],
)
def test_what_decides_a_score_changes_its_key(
    make_suite, changes: dict[str, Any], tasks: set[str]
) -> None:
    common = {**SAMPLED, "evaluation.tasks": ["piqa"]}
    before, after = (plan(make_suite(c)) for c in (common, {**common, **changes}))
    assert keys(before) == keys(after)
    old, new = job_keys(before), job_keys(after)
    assert {place[1] for place in old if old[place] != new[place]} == tasks


def test_more_sampling_seeds_leave_the_others_alone(make_suite) -> None:
    few = job_keys(plan(make_suite(SAMPLED)))
    more = {"evaluation.sampling": {"seeds": [20, 10, 30], "max_new_tokens": 8}}
    assert few.items() < job_keys(plan(make_suite(more))).items()


def test_own_task_files_decide_their_scores(make_suite, tmp_path: Path) -> None:
    changes = {"evaluation.tasks": ["mine"], "evaluation.include_path": "own"}
    (tmp_path / "own").mkdir()

    def planned(text: str) -> dict[tuple[str, str, int | None], str]:
        (tmp_path / "own" / "mine.yaml").write_text(text)
        return job_keys(plan(make_suite(changes)))

    old, new = planned("task: mine"), planned("task: mine\nlimit: 3")
    assert {place[1] for place in old if old[place] != new[place]} == {"mine"}


@pytest.mark.parametrize(
    "changes",
    [
        {"evaluation.tasks": ["piqa", {"name": "piqa", "num_fewshot": 1}]},
        {"evaluation.choices": [{"set": "puzzles"}, {"set": "puzzles", "choices": 2}]},
        {"evaluation.tasks": ["puzzles"]},
    ],
)
def test_one_name_for_two_scores_is_refused(make_suite, changes: dict[str, Any]) -> None:
    """A score is stored under its task's name: two of one name could not be told apart."""
    with pytest.raises(AdakdError, match="twice"):
        plan(make_suite(changes))


# --- lengths ----------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs", [1, 3, 0.5])
@pytest.mark.parametrize(("batch", "accumulation"), [(4, 1), (4, 2), (3, 5), (100, 1)])
@pytest.mark.parametrize("rows", [1, 10, 12])
def test_steps_of_epochs(rows: int, batch: int, accumulation: int, epochs: float) -> None:
    training = Training(epochs=epochs, batch_size=batch, gradient_accumulation=accumulation)
    of_one_epoch = sum(1 for _ in range(0, rows, batch * accumulation))
    assert total_steps(training, rows) == ceil(of_one_epoch * epochs)


def test_lengths_of_cells(make_suite, tmp_path: Path) -> None:
    def lengths(suite: Suite) -> dict[str, tuple[int | None, int | None]]:
        planned = plan(suite)
        return {name: planned.length(one) for name, one in assigned(planned).items()}

    found = lengths(make_suite({"training.gradient_accumulation": 3}))
    assert found["untrained"] == (0, 0)
    assert found["teacher"] == (4, 4 * 4 * 96)
    assert found["sft"] == found["reverse_kl"] == (4, 4 * 3 * 4 * 96)
    rows = write_rows(tmp_path / "rows.jsonl", 10)
    rows.write_text(rows.read_text() + "\n\n")
    by_epochs = {"training.steps": ..., "training.epochs": 2, "data.train": jsonl(rows)}
    assert lengths(make_suite(by_epochs))["sft"] == (6, 6 * 4 * 96)
    limited = {**by_epochs, "data.train": jsonl(rows, limit=4)}
    assert lengths(make_suite(limited))["sft"] == (2, 2 * 4 * 96)
    hub = {**by_epochs, "data.train": {"kind": "hub", "id": "who/what"}}
    assert lengths(make_suite(hub))["sft"] == (None, None)


# --- files that are missing -------------------------------------------------------------------


@pytest.mark.parametrize("where", ["data.train", "evaluation.sets.puzzles"])
def test_a_missing_data_file_is_named(make_suite, tmp_path: Path, where: str) -> None:
    suite = make_suite({where: jsonl(tmp_path / "gone.jsonl")})
    with pytest.raises(AdakdError, match=r"suite 'micro': data file .*gone\.jsonl does not exist"):
        plan(suite)


def test_a_missing_plugin_is_named(make_suite) -> None:
    with pytest.raises(AdakdError, match=r"plug-in .*gone\.py: no such file"):
        plan(make_suite({"plugins": ["./gone.py"]}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError"),
        ("def f(:", "SyntaxError"),
        (
            "from adakd import divergence\ndivergence('reverse_kl')(print)",
            "'reverse_kl' is already registered",
        ),
    ],
)
def test_a_plugin_that_cannot_be_imported(
    make_suite, tmp_path: Path, text: str, expected: str
) -> None:
    (tmp_path / "bad.py").write_text(text)
    suite = make_suite({"plugins": ["./bad.py"]})
    for _ in range(2):  # a second try must not take it for loaded
        with pytest.raises(AdakdError) as caught:
            plan(suite)
        assert "bad.py: " in str(caught.value)
        assert expected in str(caught.value)


def test_jobs_of_a_cell_are_its_own(make_suite) -> None:
    planned = plan(make_suite({"seeds": [1, 2]}))
    found = [planned.jobs_of(cell) for cell in planned.cells]
    assert [job for jobs in found for job in jobs] == list(planned.jobs)
    for cell, jobs in zip(planned.cells, found, strict=True):
        assert {job.cell for job in jobs} == {cell}
    stranger = planned.cells[0].model_copy(update={"key": "of another plan"})
    assert planned.jobs_of(stranger) == ()
