"""Valid suites, and the messages for mistakes in them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adakd.commands.new import new
from adakd.config.loading import load_suite
from adakd.config.resources import ROOT, shipped
from adakd.errors import AdakdError, UnknownName
from adakd.planning import plan

PUZZLES = {"kind": "generated", "split": "test", "rows": 6}

PLAN_ALL = """
import sys
from adakd.cli import app
for suite in sys.argv[1:]:
    app(["plan", suite], standalone_mode=False)
heavy = {"torch", "transformers", "lm_eval", "datasets", "openai"} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize("name", shipped("suites"))
def test_every_shipped_suite_loads_and_plans(name: str) -> None:
    suite = load_suite(name)
    assert suite.name == name
    planned = plan(suite)
    distilled = [cell for cell in planned.cells if cell.role == "distilled"]
    arms = sum(1 + len(suite.arms_of(baseline)) for baseline in suite.divergences)
    assert len(distilled) == len(suite.seeds) * arms
    assert suite.description


def test_all_suites_are_found_in_subfolders_too() -> None:
    files = {file.stem for file in (ROOT / "suites").rglob("*.yaml")}
    assert files == {name.rpartition("/")[2] for name in shipped("suites")}
    assert "smoke" in files


def test_planning_every_suite_needs_no_torch(tmp_path: Path) -> None:
    suites = [*shipped("suites"), str(new("suite", "mine", tmp_path))]
    done = subprocess.run([sys.executable, "-c", PLAN_ALL, *suites], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in shipped("suites"):
        assert name in done.stdout


# --- what is wrong is named with file, field and the nearest that would be right --------------


@pytest.mark.parametrize(
    ("changes", "field", "nearest"),
    [
        ({"trainig": {"steps": 1}}, "trainig", "training"),
        ({"training.step": 1}, "training.step", "steps"),
        ({"training.lora": {"alfa": 8}}, "training.lora.alfa", "alpha"),
        ({"teacher.sft.learning_rat": 1}, "teacher.sft.learning_rat", "learning_rate"),
        ({"data.train.row": 3}, "data.train.generated.row", "rows"),
        ({"teacher.base.vocabular": 3}, "teacher.base.scratch.vocabular", "vocabulary"),
        (
            {"student": {"kind": "pruned", "drop_layer": [0]}},
            "student.pruned.drop_layer",
            "drop_layers",
        ),
        (
            {"evaluation.sets.puzzles.limits": 3},
            "evaluation.sets.puzzles.generated.limits",
            "limit",
        ),
        (
            {"evaluation.choices": [{"set": "puzzles"}, {"set": "puzzles", "choises": 3}]},
            "evaluation.choices.1.choises",
            "choices",
        ),
        (
            {"evaluation.tasks": [{"name": "piqa", "num_few_shot": 3}]},
            "evaluation.tasks.0.num_few_shot",
            "num_fewshot",
        ),
        ({"evaluation.sampling.temprature": 1}, "evaluation.sampling.temprature", "temperature"),
    ],
)
def test_an_unknown_field(suite_file, changes: dict[str, Any], field: str, nearest: str) -> None:
    file = suite_file(changes)
    with pytest.raises(AdakdError) as caught:
        load_suite(str(file))
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert f"unknown field {field!r}; did you mean {nearest!r}?" in message


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"training.steps": "many"}, ["training.steps", "'many'"]),
        ({"training.steps": -1}, ["training.steps", "greater than 0"]),
        ({"training.steps": ...}, ["training", "either steps or epochs"]),
        ({"training.epochs": 1}, ["training", "either steps or epochs"]),
        ({"training.schedule": "cosin"}, ["training.schedule", "'cosine'"]),
        ({"seeds": []}, ["seeds", "at least 1"]),
        ({"seeds": [1, 1]}, ["seeds: 1", "twice"]),
        ({"divergences": ["reverse_kl", {"name": "reverse_kl"}]}, ["reverse_kl", "twice"]),
        ({"evaluation.sets": {"a-b": PUZZLES, "a_b": PUZZLES}}, ["a-b and a_b", "adakd_a_b"]),
        ({"evaluation.sets": {"a": PUZZLES, "A": PUZZLES}}, ["a and A would be one task"]),
        (
            {"evaluation.sets": {"puzzles": PUZZLES, "puzzles_choice": PUZZLES}},
            ["puzzles_choice and puzzles-choice", "rename one"],
        ),
        ({"divergences": [3]}, ["divergences.0"]),
        ({"divergences": [{"name": "a", "policy": "b"}]}, ["`divergence:` instead of `name:`"]),
        ({"divergences": [{"divergence": "a", "label": "sft"}]}, ["'sft' is reserved"]),
        ({"divergences": [{"divergence": "a", "polcy": "b"}]}, ["did you mean 'policy'?"]),
        ({"arms": {"plain": "adakd"}}, ["'plain' is the plain arm"]),
        ({"arms": {"none": "adakd"}}, ["'none' is the plain arm"]),
        ({"data.train.kind": "generatd"}, ["data.train", "generatd", "'generated'"]),
        ({"data": ...}, ["data: missing"]),
        ({"data.train.rows": ...}, ["data.train.generated.rows: missing"]),
        ({"data.train.noise": 1.5}, ["data.train.generated.noise", "less than or equal to 1"]),
        ({"evaluation.sets.puzzles.noise": 0.3}, ["evaluation: sets.puzzles: noise", "remove it"]),
        ({"teacher.sft": ...}, ["teacher", "sft"]),
        ({"evaluation.choices": [{"set": "puzles"}]}, ["'puzles'", "did you mean 'puzzles'?"]),
        ({"student": {"kind": "pruned", "drop_layers": []}}, ["student.pruned.drop_layers"]),
        (
            {"objective.cross_entropy": "dynamc"},
            ["objective.cross_entropy: must be a weight of at least 0, or dynamic"],
        ),
        ({"objective.cross_entropy": -1}, ["a weight of at least 0, or dynamic (given: -1)"]),
    ],
)
def test_a_wrong_value(suite_file, changes: dict[str, Any], expected: list[str]) -> None:
    file = suite_file(changes)
    with pytest.raises(AdakdError) as caught:
        load_suite(str(file))
    for text in (f"{file}: ", *expected):
        assert text in str(caught.value)


def test_every_mistake_is_named_at_once(suite_file) -> None:
    with pytest.raises(AdakdError, match=r"training\.steps.*seeds|seeds.*training\.steps"):
        load_suite(str(suite_file({"training.steps": "x", "seeds": []})))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"divergences": ["revers_kl"]}, "unknown divergence 'revers_kl'; did you mean 'reverse_"),
        (
            {"divergences": [{"divergence": "todi", "policy": "onpolicy"}]},
            "did you mean 'on_policy'",
        ),
        ({"arms": {"a": "adakt"}}, "unknown adaptive method 'adakt'; did you mean 'adakd'?"),
        (
            {"arms": {"a": {"name": "adakd", "indicator": "helinger"}}},
            "unknown indicator 'helinger'; did you mean 'hellinger'?",
        ),
        (
            {"arms": {"a": {"name": "adakd", "focus": {"name": "later"}}}},
            "unknown focus 'later'; did you mean 'latf'?",
        ),
    ],
)
def test_an_unknown_part(make_suite, changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(UnknownName) as caught:
        plan(make_suite(changes))
    assert expected in str(caught.value)
    field = "divergences.0" if "divergences" in changes else "arms.a"
    assert str(caught.value).startswith(f"suite 'micro', {field}: ")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"divergences": [{"name": "reverse_kl", "lam": 0.1}]}, ["'reverse_kl' takes no 'lam'"]),
        (
            {"divergences": [{"name": "skew_reverse_kl", "lma": 0.1}]},
            ["takes no 'lma'", "did you mean 'lam'?"],
        ),
        ({"divergences": [{"name": "skew_reverse_kl", "lam": 1.5}]}, ["lam", "less than 1"]),
        ({"divergences": [{"name": "skew_reverse_kl", "lam": "x"}]}, ["lam", "number"]),
        (
            {"arms": {"a": {"name": "adakd", "focus": {"name": "latf", "betta": 1}}}},
            ["focus 'latf' takes no 'betta'", "did you mean 'beta'?"],
        ),
        ({"arms": {"a": {"name": "adakd", "focus": {"name": "fixed", "ratio": 0}}}}, ["ratio"]),
    ],
)
def test_a_setting_that_a_part_does_not_take(
    make_suite, changes: dict[str, Any], expected: list[str]
) -> None:
    with pytest.raises(AdakdError) as caught:
        plan(make_suite(changes))
    for text in expected:
        assert text in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- a\n- b\n", "found list"),
        ("", "found NoneType"),
        ("a: [1", "expected ',' or ']'"),
        ("seeds: [1]\nname: x\nseeds: [5]\n", "'seeds' occurs twice, first in line 1"),
        ("data:\n  train: 1\n  train: 2\n", "line 3, column 3"),
        ("a: \x00", "special characters"),
    ],
)
def test_a_file_that_is_no_suite(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(AdakdError) as caught:
        load_suite(str(file))
    assert str(caught.value).startswith(f"{file}: ")
    assert expected in str(caught.value)


def test_a_suite_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"'smok'; did you mean 'smoke'\?"):
        load_suite("smok")
    with pytest.raises(UnknownName, match=r"gone\.yaml: no such file"):
        load_suite(str(tmp_path / "gone.yaml"))


# --- --set ------------------------------------------------------------------------------------


def test_overrides_are_as_if_the_file_said_so(suite_file, make_suite) -> None:
    overridden = load_suite(
        str(suite_file()),
        [
            "training.steps=7",
            "seeds=[3, 4]",
            "divergences.0=forward_kl",
            "evaluation.sets.puzzles.rows=5",
            "evaluation.choices.0.choices=3",
            "training.lora.r=2",
            "arms={}",
            "data.max_tokens=70",
            "data.max_tokens=71",
        ],
    )
    said = make_suite(
        {
            "training.steps": 7,
            "seeds": [3, 4],
            "divergences": ["forward_kl"],
            "evaluation.sets.puzzles.rows": 5,
            "evaluation.choices": [{"set": "puzzles", "choices": 3}],
            "training.lora.r": 2,
            "arms": {},
            "data.max_tokens": 71,
        }
    )
    assert overridden == said


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training.steps", "expected FIELD=VALUE"),
        ("=3", "expected FIELD=VALUE"),
        ("training.steps=[1", "--set training.steps=[1: "),
        ("seeds.5=3", "'5' is not a field"),
        ("seeds.x=3", "'x' is not a field"),
        ("divergences.0.lam=0.2", "'lam' is not a field"),
        ("description.x.y=3", "'description' is not a section"),
        ("training.stepz=3", "unknown field 'training.stepz'; did you mean 'steps'?"),
        ("training.steps=few", "training.steps"),
    ],
)
def test_a_bad_override(suite_file, override: str, expected: str) -> None:
    with pytest.raises(AdakdError) as caught:
        load_suite(str(suite_file()), [override])
    assert expected in str(caught.value)


# --- paths ------------------------------------------------------------------------------------


def test_a_path_is_relative_to_the_file_that_names_it(
    tmp_path: Path, suite_file, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = suite_file({"data.train": {"kind": "jsonl", "path": "data/rows.jsonl"}})
    rows = tmp_path / "data" / "rows.jsonl"
    (tmp_path / "elsewhere").mkdir()
    for here in (tmp_path, tmp_path / "elsewhere", Path("/")):
        monkeypatch.chdir(here)
        given = load_suite(os.path.relpath(file)).data.train
        assert given.path.resolve() == rows


def test_a_model_beside_the_suite_file(
    tmp_path: Path, suite_file, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = suite_file({"teacher.base": {"kind": "pretrained", "model": "./mine"}})
    (tmp_path / "mine").mkdir()
    (tmp_path / "elsewhere").mkdir()
    for here, expected in (("elsewhere", str(tmp_path / "mine")), (".", "mine")):
        monkeypatch.chdir(tmp_path / here)
        assert load_suite(str(file)).teacher.base.model == expected
    (tmp_path / "mine").rmdir()  # then it is as seen from the working directory
    assert load_suite(str(file)).teacher.base.model == "./mine"
    override = load_suite(str(file), ["teacher.base.model=./elsewhere"])
    assert override.teacher.base.model == "elsewhere"


def test_an_override_is_relative_to_the_working_directory(
    tmp_path: Path, suite_file, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = suite_file({"data.train": {"kind": "jsonl", "path": "data/rows.jsonl"}})
    here = tmp_path / "elsewhere"
    here.mkdir()
    (here / "mine.jsonl").touch()
    monkeypatch.chdir(here)
    given = load_suite(str(file), ["data.train.path=./mine.jsonl"]).data.train
    assert given.path.resolve() == here / "mine.jsonl"


def test_a_path_below_the_working_directory_is_stored_without_it(
    tmp_path: Path, suite_file, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that records and reports contain no local paths."""
    file = suite_file({"data.train": {"kind": "jsonl", "path": "data/rows.jsonl"}})
    monkeypatch.chdir(tmp_path)
    assert load_suite(str(file)).data.train.path == Path("data/rows.jsonl")


# --- files that are endless, deep or no text --------------------------------------------------


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a {b: *a}", "an alias"),
        ("a: &a [*a]", "an alias"),
        (f"a: {'[' * 60}{']' * 60}", "more than 50 levels"),
        (f"a: {'[' * 5000}{']' * 5000}", r"odd\.yaml: more than 50 levels"),
        (BOMB, "more than 100,000 values"),
        ("a: 2026-99-99", r"odd\.yaml: "),
    ],
    ids=["cycle", "list in itself", "deep", "deeper", "bomb", "no date"],
)
def test_a_file_without_end_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "odd.yaml"
    file.write_text(text)
    with pytest.raises(AdakdError, match=message) as caught:
        load_suite(str(file))
    assert "\n" not in str(caught.value)


def test_an_override_without_end_is_one_line() -> None:
    for value in ("&a {b: *a}", "[" * 60 + "]" * 60, "[" * 5000):
        with pytest.raises(AdakdError) as caught:
            load_suite("smoke", [f"data={value}"])
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize("override", ["seeds.²=1", f"seeds.{'9' * 5000}=1", "description=\x00/a"])
def test_an_odd_override_is_one_line(suite_file, override: str) -> None:
    with pytest.raises(AdakdError):
        load_suite(str(suite_file()), [override])


@pytest.mark.parametrize("epochs", [".inf", "1e308", ".nan", "0", "-1"])
def test_epochs_are_a_number_that_ends(suite_file, epochs: str) -> None:
    with pytest.raises(AdakdError, match="epochs"):
        load_suite(str(suite_file({"training.steps": None})), [f"training.epochs={epochs}"])


def test_a_plug_in_that_exits_is_an_error(suite_file, tmp_path: Path) -> None:
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(0)\n")
    with pytest.raises(AdakdError, match=r"plug-in .*leaves\.py: SystemExit"):
        plan(load_suite(str(suite_file({"plugins": ["leaves.py"]}))))


def test_a_plug_in_with_an_odd_name_is_an_error(suite_file, tmp_path: Path) -> None:
    (tmp_path / "loop.py").symlink_to(tmp_path / "loop.py")
    for name in ("loop.py", "a\x00b.py"):
        with pytest.raises(AdakdError, match="plug-in"):
            plan(load_suite(str(suite_file({"plugins": [name]}))))


def test_values_of_our_own_name_fields_that_the_suite_sets(make_suite) -> None:
    assert make_suite({"ours": ["training.learning_rate", "seeds"]}).ours[1] == "seeds"
    with pytest.raises((AdakdError, ValueError), match=r"ours: 'training\.lora' is no field"):
        make_suite({"ours": ["training.lora"]})


def test_a_value_of_ours_that_the_user_takes_out_is_no_mistake() -> None:
    overrides = ["training.epochs=null", "training.steps=2", "teacher.sft=null"]
    suite = load_suite("paper/table1-qwen2", overrides)
    assert "training.batch_size" in suite.ours
    assert not [field for field in suite.ours if field.startswith(("teacher.sft", "training.ep"))]
