"""The published tables, and the suites that name their rows."""

from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from adakd.config import Published
from adakd.config.loading import load_suite, read_yaml
from adakd.config.resources import shipped
from adakd.errors import AdakdError
from adakd.planning import plan
from adakd.planning.published import (
    PublishedScore,
    published_rows,
    published_table,
    published_win_rates,
)

SUITES = [name for name in shipped("suites") if load_suite(name).paper]
TABLES = {
    "paper/table1-qwen2": ("table1_main", "qwen2-7b->1.5b"),
    "paper/table1-openllama2": ("table1_main", "openllama2-7b->3b"),
    "paper/table2-modules": ("table2_modules (qwen2, rkd)", None),
    "paper/table3-indicators": ("table3_indicators", None),
    "paper/table4-selection": ("table4_selection", None),
    "paper/table5-temperature": ("table5_temperature", None),
}
AXES = {
    "table2_modules (qwen2, rkd)",
    "table3_indicators",
    "table4_selection",
    "table5_temperature",
}


@pytest.mark.parametrize("name", SUITES)
def test_every_published_row_that_a_suite_names_exists(name: str) -> None:
    suite = load_suite(name)
    methods = {cell.method for cell in plan(suite).cells}
    for section in suite.paper:
        if section.judge:
            assert set(published_win_rates(section)) <= methods
            continue
        rows = published_rows(section)
        assert set(rows) <= methods
        assert len({row.name for row in rows.values()}) == len(rows)


@pytest.mark.parametrize(("name", "table"), TABLES.items())
def test_a_paper_suite_has_every_row_of_its_table(name: str, table: tuple[str, str | None]) -> None:
    (section,) = [one for one in load_suite(name).paper if not one.judge]
    assert (section.table, section.model) == table
    named = {row.name for row in published_rows(section).values()}
    assert named == set(published_table(*table))


@pytest.mark.parametrize("pair", ["qwen2", "openllama2", "gpt2"])
def test_the_main_tables_name_the_papers_judge_and_ask_it_in_no_run(pair: str) -> None:
    suite = load_suite(f"paper/table1-{pair}")
    (section,) = [one for one in suite.paper if one.judge]
    assert section.judge == "qwen3-32b"
    assert published_win_rates(section) == {"rkd": 59.5, "rkd + adakd": 67.1}
    assert not suite.judges


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"table": "judge (Qwen3)"}, r"no published table of win rates 'judge \(Qwen3\)'"),
        ({"judge": "qwen3-32"}, "no shipped judge 'qwen3-32'"),
        ({"rows": {"reverse_kl": "rdk"}}, "no row 'rdk'; did you mean 'rkd'"),
    ],
)
def test_a_wrong_table_of_win_rates_is_told_before_any_training(
    make_suite, changes: dict[str, Any], told: str
) -> None:
    section = {
        "table": "judge (Qwen3-32B)",
        "judge": "qwen3-32b",
        "rows": {"reverse_kl": "rkd"},
    }
    with pytest.raises(AdakdError, match=told):
        plan(make_suite({"paper": [{**section, **changes}]}))


@pytest.mark.parametrize("name", [name for name in shipped("suites") if name.startswith("paper/")])
def test_paper_suites_have_the_settings_of_the_release(name: str) -> None:
    suite = load_suite(name)
    qwen = suite.student.kind == "pretrained" and "Qwen" in suite.student.model
    assert suite.data.template == ("alpaca_qwen" if qwen else "alpaca")
    for baseline in suite.divergences:
        if baseline.policy.name != "offline":
            assert baseline.policy.settings["max_new_tokens"] == 256
    trainings = [suite.training, suite.teacher.sft]
    if name == "paper/table1-gpt2":
        assert [made and made.epochs for made in trainings] == [20, 20]
        assert [made and made.sequences for made in trainings] == [128, 128]
        assert [made and made.learning_rate for made in trainings] == [5e-4, 5e-5]
        assert not any(made and made.lora for made in trainings)
    else:
        for made in trainings:
            assert made is not None
            assert made.lora is not None
            assert made.lora.target_modules == ("q_proj", "v_proj")
    assert suite.ours


def test_the_small_ablation_has_every_row_of_every_axis() -> None:
    suite = load_suite("ablation-mini")
    assert {section.table for section in suite.paper} == AXES
    for section in suite.paper:
        named = {row.name for row in published_rows(section).values()}
        assert named == set(published_table(section.table))
    assert {baseline.policy.name for baseline in suite.divergences} == {
        "offline", "on_policy", "replay", "sequence_level",
    }  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_the_small_ablation_has_every_arm_of_the_paper(name: str) -> None:
    mini = load_suite("ablation-mini")
    baseline = mini.divergences[0]
    small = {cell.key for cell in plan(mini).cells}
    for arm, spec in load_suite(name).arms.items():
        alone = mini.model_copy(update={"arms": {"one": spec}, "paper": ()})
        alone = alone.model_copy(update={"divergences": (baseline,)})
        (key,) = {cell.key for cell in plan(alone).cells if cell.arm == "one" and cell.seed == 1}
        assert key in small, f"{name}: {arm} is not in ablation-mini"


EXTENDING = [name for name, file in shipped("suites").items() if "extends" in read_yaml(file)]


@pytest.mark.parametrize("name", EXTENDING)
def test_a_suite_that_extends_another_describes_itself(name: str) -> None:
    own = read_yaml(shipped("suites")[name])
    assert {"description", "version"} <= set(own)
    if name.startswith("paper/"):
        assert "paper" in own  # else the report would set the other suite's rows beside


def test_figures_are_as_published() -> None:
    rows = published_table("table1_main", "qwen2-7b->1.5b")
    assert rows["rkd+adakd"].sets["uinst"] == PublishedScore(43.17, 0.32)
    assert rows["rkd+adakd"].average == 32.97
    modules = published_table("table2_modules (qwen2, rkd)")
    assert modules["+idts"].sets["sinst"] == PublishedScore(43.70)
    assert set(modules["+idts"].sets) == {"dolly", "sinst", "uinst"}


@pytest.mark.parametrize("table", [*TABLES.values()], ids=str)
def test_a_printed_mean_is_that_of_its_sets(table: tuple[str, str | None]) -> None:
    for row in published_table(*table).values():
        assert row.average == pytest.approx(mean(f.mean for f in row.sets.values()), abs=0.011)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"table": "table3_indicator"}, "did you mean 'table3_indicators'?"),
        ({"table": "source"}, "no published table 'source'"),
        ({"table": "judge (Qwen3-32B)"}, "no published table 'judge"),
        ({"model": "gpt2"}, "leave model out"),
        ({"table": "table1_main"}, "no model None"),
        ({"table": "table1_main", "model": "qwen2"}, "did you mean 'qwen2-7b->1.5b'?"),
        ({"rows": {"reverse_kl": "helinger"}}, "did you mean 'hellinger'?"),
        ({"rows": {"reverse_k": "jsd"}}, "did you mean 'reverse_kl'?"),
        ({"rows": {"reverse_kl": "jsd"}, "over": "teacher"}, "over: no row 'teacher'"),
    ],
)
def test_a_mistake_is_named_when_a_run_is_planned(make_suite, changes: dict, said: str) -> None:
    section = {"table": "table3_indicators", "rows": {"reverse_kl": "fkl"}, **changes}
    with pytest.raises(AdakdError) as caught:
        plan(make_suite({"paper": [section]}))
    assert "suite 'micro', paper.0: " in str(caught.value)
    assert said in str(caught.value)


def test_published_rows_decide_no_key(make_suite) -> None:
    section = Published(table="table3_indicators", rows={"reverse_kl": "fkl"})
    with_rows = make_suite().model_copy(update={"paper": (section,)})
    assert plan(with_rows).keys == plan(make_suite()).keys


# --- a suite over another ---------------------------------------------------------------------


def over(folder: Path, text: str, name: str = "mine") -> str:
    file = folder / f"{name}.yaml"
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_a_section_replaces_that_of_the_extended_suite_whole(suite_file, tmp_path: Path) -> None:
    base = load_suite(str(suite_file({"arms": {"one": "adakd"}})))
    mine = load_suite(over(tmp_path, "extends: micro\narms: {two: adakd}\ndescription: Mine\n"))
    assert (mine.name, mine.description, list(mine.arms)) == ("mine", "Mine", ["two"])
    kept = set(type(base).model_fields) - {"name", "description", "arms"}
    assert all(getattr(mine, field) == getattr(base, field) for field in kept)
    longer = load_suite(str(tmp_path / "mine.yaml"), ["training.steps=9"])
    assert longer.training == base.training.model_copy(update={"steps": 9})
    twice = load_suite(over(tmp_path, "extends: mine\nseeds: [7]\n", "third"))
    assert (twice.seeds, list(twice.arms)) == ((7,), ["two"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("extends: micr\n", "did you mean 'micro'?"),
        ("extends: mine\n", "extends this suite in turn"),
        ("extends: other\n", "extends this suite in turn"),
    ],
)
def test_what_cannot_be_extended_is_named(suite_file, tmp_path: Path, text: str, said: str) -> None:
    suite_file()
    over(tmp_path, "extends: mine\n", "other")
    with pytest.raises(AdakdError, match=r"\.yaml: extends: ") as caught:
        load_suite(over(tmp_path, text))
    assert said in str(caught.value)


# --- arms of a baseline -----------------------------------------------------------------------


def test_a_baseline_may_have_some_of_the_arms(make_suite) -> None:
    arms = {"adakd": "adakd", "egad": "egad"}
    few = {"divergence": "forward_kl", "arms": ["egad"], "label": "few"}
    none = {"divergence": "forward_kl", "policy": "sequence_level", "arms": [], "label": "none"}
    suite = make_suite({"arms": arms, "divergences": ["reverse_kl", few, none]})
    planned = plan(suite)
    assert [cell.method for cell in planned.cells if cell.role == "distilled"] == [
        "reverse_kl", "reverse_kl + adakd", "reverse_kl + egad", "few", "few + egad", "none",
    ]  # fmt: skip
    everything = make_suite({"arms": arms, "divergences": ["reverse_kl", {**few, "arms": None}]})
    assert {c.key for c in planned.cells if c.divergence == "few"} <= {
        c.key for c in plan(everything).cells
    }


def test_an_unknown_arm_of_a_baseline_is_named(make_suite) -> None:
    baseline = {"divergence": "forward_kl", "arms": ["adakt"]}
    with pytest.raises(AdakdError, match=r"divergences\.0\.arms: .* did you mean 'adakd'\?"):
        make_suite({"divergences": [baseline]})
