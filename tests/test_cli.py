"""The command line: every verb works, and a mistake is one line that names the fix."""

import json
import shlex
import shutil
import subprocess
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adakd.commands.ls import listing
from adakd.commands.run import next_line
from adakd.execution.judgement import item_texts
from adakd.judging import load_judge
from adakd.reporting import write_report
from adakd.store import Store
from adakd.store.records import (
    CalibrationRecord,
    JudgeRecord,
    ScoreRecord,
    StopRecord,
    VerdictRecord,
    VettingRecord,
)

KEY = "sk-planted-0123456789"


Adakd = Callable[..., Any]
QUICK = {
    "teacher.sft.steps": 1,
    "training.steps": 2,
    "controls": {"sft": False},
    "evaluation.sets.puzzles.rows": 2,
    "evaluation.choices": [],
    "timing.pairs": 0,
    "judges": [],
}
"""Changes that leave of a run what its tests look at."""


@pytest.fixture
def adakd(command_line: Adakd) -> Adakd:
    return command_line


@pytest.fixture
def run_folder(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- each verb --------------------------------------------------------------------------------


def test_run(adakd: Adakd, suite_file, here: Path) -> None:
    small = suite_file({**QUICK, "controls": {}}), "--set", "training.steps=3"
    done = adakd("run", *small)
    assert (done.code, done.err) == (0, "")
    assert "report: runs/micro/report.html" in done.out
    for method in ("teacher", "untrained", "sft", "reverse_kl + adakd"):
        assert method in done.out
    store = Store(here / "runs" / "micro")
    assert store.suite().training.steps == 3
    assert store.of(ScoreRecord)
    again = adakd("run", *small)
    assert again.code == 0
    assert "\ntrain" in done.out
    assert "train " not in again.out


def test_a_run_tells_what_it_will_do_and_answers_at_the_end(
    adakd: Adakd, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda page: opened.append(page) or len(opened) == 1)
    file = run_folder / "again.yaml"
    file.write_text(json.dumps(Store(run_folder).suite().model_dump(mode="json")))
    command = ("run", file, "--out", run_folder, "--set", "judges=[]")
    seeds = ",".join(map(str, Store(run_folder).suite().seeds))
    done = adakd(*command, "--set", f"seeds=[{seeds}]", "--open")
    assert (done.code, done.err) == (0, "")
    first, answer, *_, report, following = done.out.splitlines()
    assert first == "micro: all is trained and scored; the report is written again"
    assert answer.startswith("AdaKD is ")
    assert report == f"report: {run_folder / 'report.html'}"
    assert opened == [(run_folder / "report.html").as_uri()]
    asked = shlex.split(following.removeprefix("next, to find smaller differences: "))
    assert asked == ["adakd", *map(str, command), "--set", "seeds=[1,2,3,4,5]"]
    assert "--open: no browser found" in adakd(*command, "--open").out


def test_a_run_with_many_seeds_is_told_of_other_suites(make_suite) -> None:
    suite = make_suite({"seeds": [3, 1, 7]})
    line = next_line(["run", "a file.yaml"], ["seeds=[3]", "judges=[]"], suite)
    assert line.endswith("adakd run 'a file.yaml' --set 'judges=[]' --set 'seeds=[3,1,7,2,4]'")
    suite = make_suite({"seeds": [1, 2, 3, 4, 5]})
    assert next_line(["run", "micro"], [], suite).endswith("adakd ls suites")


def test_plan_runs_nothing(adakd: Adakd, suite_file, here: Path) -> None:
    done = adakd("plan", suite_file({"description": "with [b]rackets[/x]"}), "--set", "seeds=[4,5]")
    assert done.code == 0
    assert "with [b]rackets[/x]" in done.out
    (row,) = (line for line in done.out.splitlines() if "reverse_kl + adakd" in line)
    assert "4 5" in row
    assert "answers scored by: ROUGE-L\n" in done.out
    assert {path.name for path in here.iterdir()} == {"micro.yaml"}


def test_judge_adds_verdicts(adakd: Adakd, run_folder: Path) -> None:
    assert not Store(run_folder).of(VerdictRecord)
    done = adakd("judge", run_folder, "--judge", "rule", "--set", "tie_margin=0.1")
    assert (done.code, done.err) == (0, "")
    assert str(run_folder / "report.html") in done.out
    verdicts = Store(run_folder).of(VerdictRecord)
    assert {verdict.verdict for verdict in verdicts} - {"identical"}
    (judge,) = {verdict.judge for verdict in verdicts}
    assert judge == load_judge("rule", ["tie_margin=0.1"]).id
    assert judge != load_judge("rule").id


def test_judge_against_another(adakd: Adakd, run_folder: Path) -> None:
    assert adakd("judge", run_folder, "--judge", "rule", "--against", "teacher").code == 0
    assert {v.against for v in Store(run_folder).of(VerdictRecord)} == {"teacher"}


def test_a_plan_of_a_judging_counts_and_asks_nothing(adakd: Adakd, run_folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in run_folder.iterdir() if path.is_file()}
    done = adakd("judge", run_folder, "--judge", "rule", "--plan")
    assert done.code == 0
    assert "questions about the answers" in done.out
    assert {p.name: p.read_bytes() for p in run_folder.iterdir() if p.is_file()} == before


def test_several_judges_are_a_jury(adakd: Adakd, here: Path, run_folder: Path) -> None:
    (here / "strict.yaml").write_text("kind: rule\ntie_margin: 0.0\n")
    (here / "both.yaml").write_text("kind: jury\nmembers: [rule, strict.yaml]\n")
    done = adakd("judge", run_folder, "--judge", "rule", "--judge", "strict.yaml")
    assert done.code == 0
    assert "jury(rule, strict)" in done.out
    judges = {record.name: record for record in Store(run_folder).of(JudgeRecord)}
    assert judges["jury(rule, strict)"].members == (judges["rule"].key, judges["strict"].key)
    asked = len(Store(run_folder).of(VerdictRecord))
    assert adakd("judge", run_folder, "--judge", "both.yaml").code == 0
    assert len(Store(run_folder).of(VerdictRecord)) == asked


def test_two_files_of_answers_are_judged(adakd: Adakd, here: Path) -> None:
    for name, words in (("ours", "the right one"), ("theirs", "one")):
        lines = [
            {
                "instruction": f"Say {n}.",
                "reference": f"the right one {n}",
                "answer": f"{words} {n}",
            }
            for n in range(8)
        ]
        (here / f"{name}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    done = adakd("judge", "ours.jsonl", "theirs.jsonl", "--judge", "rule")
    assert (done.code, done.err) == (0, "")
    store = Store(here / "runs" / "ours-vs-theirs")
    verdicts = store.of(VerdictRecord)
    assert len(verdicts) == 16
    assert {(v.candidate.method, v.against, v.verdict) for v in verdicts} == {
        ("ours", "theirs", "candidate")
    }
    assert "ours" in (store.folder / "report.html").read_text()


def test_a_run_is_judged_against_the_answers_of_a_fixed_model(
    adakd: Adakd, here: Path, run_folder: Path
) -> None:
    items = item_texts(Store(run_folder).suite())
    lines = [
        {"instruction": text.instruction, "input": text.input, "answer": "The same for all."}
        for texts in items.values()
        for text in list(texts.values())[1:]
    ]
    (here / "fixed.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    gone = ["judge", run_folder, "--judge", "rule", "--against", "gone.jsonl"]
    assert "gone.jsonl: no such file" in mistake(adakd(*gone))
    before = write_report(run_folder).read_text()
    done = adakd("judge", run_folder, "--judge", "rule", "--against", "fixed.jsonl")
    assert (done.code, done.err) == (0, "")
    assert f"skipped, not answered by fixed: {len(items)} of the items" in done.out
    store = Store(run_folder)
    verdicts = store.of(VerdictRecord)
    assert {(v.against, v.opponent.method) for v in verdicts if v.opponent} == {("fixed", "fixed")}
    assert {v.candidate.arm for v in verdicts} == {"plain", "adakd"}
    page = write_report(run_folder).read_text()
    assert "Against fixed" in page
    assert "The same for all." in page
    # the tables of scores know nothing of it
    scores = slice(page.index('id="scores"'), page.index('id="judges"'))
    assert page[scores] == before[before.index('id="scores"') : before.index('id="judges"')]


def test_answers_to_mt_bench_are_judged(adakd: Adakd, here: Path) -> None:
    questions = [{"question_id": n, "turns": ["Say.", f"Say {n}."]} for n in range(4)]
    answers = [
        {"question_id": n, "choices": [{"turns": ["one", f"{n}"]}], "reference": []}
        for n in range(4)
    ]
    for question in questions:
        question["reference"] = ["one", str(question["question_id"])]
    wrong = [{**line, "choices": [{"turns": ["two", "x"]}]} for line in answers]
    for name, rows in {"question": questions, "ours": answers, "theirs": wrong}.items():
        (here / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    words = ["judge", "ours.jsonl", "theirs.jsonl", "--judge", "rule"]
    assert adakd(*words).code == 2
    done = adakd(*words, "--questions", "question.jsonl")
    assert (done.code, done.err) == (0, "")
    verdicts = Store(here / "runs" / "ours-vs-theirs").of(VerdictRecord)
    assert {(v.task, v.verdict) for v in verdicts} == {
        ("answers, turn 1", "candidate"),
        ("answers, turn 2", "candidate"),
    }


def test_a_judge_is_calibrated_and_later_runs_cite_it(
    adakd: Adakd, here: Path, run_folder: Path
) -> None:
    rows = [
        {"instruction": f"Say {n}.", "output": " ".join(f"w{n * k % 97}" for k in range(9 + n))}
        for n in range(30)
    ]
    (here / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    words = ["judge", "--calibrate", "rule", "--data", "rows.jsonl", "--pairs", "60"]
    planned = adakd(*words, "--plan")
    assert (planned.code, planned.err) == (0, "")
    assert not (here / "runs").exists()
    done = adakd(*words)
    assert (done.code, done.err) == (0, "")
    assert "decided 100 %" in " ".join(done.out.split())
    folder = here / "runs" / "calibrations" / load_judge("rule").id
    asked = len(Store(folder).of(VettingRecord))
    assert "Calibration of rule" in (folder / "calibration.html").read_text()
    assert adakd(*words).code == 0
    assert len(Store(folder).of(VettingRecord)) == asked
    shutil.copytree(run_folder, "runs/mine")
    assert adakd("judge", "runs/mine", "--judge", "rule").code == 0
    (cited,) = Store(Path("runs/mine")).of(CalibrationRecord)
    assert cited == Store(folder).of(CalibrationRecord)[0]
    page = (here / "runs" / "mine" / "report.html").read_text()
    assert "calibrated on " in page
    assert "rows.jsonl: decided 100 %" in page


def test_a_judging_stops_at_a_half_width(adakd: Adakd, run_folder: Path) -> None:
    assert adakd("judge", run_folder, "--judge", "rule", "--until", "0.4").code == 0
    (stop, *_) = Store(run_folder).of(StopRecord)
    assert stop.target == 0.4
    assert 0 <= stop.low <= stop.estimate <= stop.high <= 1


def test_a_new_backend_judges(adakd: Adakd, here: Path, run_folder: Path) -> None:
    assert adakd("new", "backend", "shared_words").code == 0
    (here / "mine.yaml").write_text("kind: shared_words\nplugins: [./shared_words.py]\n")
    assert adakd("judge", run_folder, "--judge", "mine.yaml").code == 0
    assert {r.mode for r in Store(run_folder).of(JudgeRecord)} == {"words"}


def test_bench_puts_its_results_into_the_report(
    adakd: Adakd, run_folder: Path, here: Path, stub_benchmarks
) -> None:
    stub_benchmarks()
    done = adakd("bench", run_folder, "-k", "loss")
    assert (done.code, done.err) == (0, "")
    assert f"report: {run_folder}/report.html" in done.out
    assert json.loads((run_folder / "bench.json").read_text())["expression"] == "loss"
    assert "on a made-up processor" in (run_folder / "report.html").read_text()
    done = adakd("bench", "--out", "new/results.json")
    assert (done.code, done.err) == (0, "")
    assert (here / "new" / "results.json").is_file()
    assert "report:" not in done.out


def test_bench_of_a_failed_case_keeps_the_others_and_says_so(
    adakd: Adakd, here: Path, stub_benchmarks
) -> None:
    stub_benchmarks(failed=("loss",))
    assert adakd("bench").code == 1
    assert (here / "bench.json").is_file()


def test_tables_and_values_are_exported_to_the_screen_or_a_file(
    adakd: Adakd, run_folder: Path, tmp_path: Path
) -> None:
    beginnings = {"csv": "task,metric,", "latex": "% Needs", "markdown": "**", "json": "{"}
    for format, beginning in beginnings.items():
        done = adakd("export", run_folder, "--format", format)
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith(beginning)
        file = tmp_path / format
        assert adakd("export", run_folder, "--format", format, "--out", file).out == ""
        assert file.read_text(encoding="utf-8") == done.out
    assert done.out == (run_folder / "report.json").read_text()


def test_report_is_made_again(adakd: Adakd, run_folder: Path) -> None:
    before = (run_folder / "report.html").read_text()
    (run_folder / "report.html").unlink()
    assert adakd("report", run_folder).code == 0
    assert (run_folder / "report.html").read_text() == before


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("divergences", ["reverse_kl", "skew_reverse_kl", "lam=0.1"]),
        ("bridges", ["overlap", "gold", "merge=observed", "x_token", "top=8192"]),
        ("policies", ["offline", "on_policy", "lmbda=0.5", "replay", "sequence_level"]),
        ("adaptive", ["adakd", "indicator=hellinger"]),
        ("metrics", ["rouge_l", "rouge_l_unicode", "exact_match", "token_f1"]),
        ("suites", ["smoke", "smollm2-dolly"]),
        ("judges", ["rule", "openai", "local"]),
    ],
)
def test_ls(adakd: Adakd, kind: str, expected: list[str]) -> None:
    done = adakd("ls", kind)
    assert done.code == 0
    for text in expected:
        assert text in done.out


def test_ls_says_something_of_everything(adakd: Adakd) -> None:
    for kind in ("divergences", "bridges", "policies", "adaptive", "metrics", "suites", "judges"):
        shown = adakd("ls", kind).out
        for row in listing(kind, None):
            assert len(row.summary.split()) >= 2, row
            assert row.name.strip() in shown
            assert row.summary.split()[0] in shown


def test_ls_shows_a_setting_without_a_default_and_brackets(adakd: Adakd) -> None:
    from adakd.divergences import divergence

    def odd(student: Any, teacher: Any, *, needed: float, more: float = 1.0) -> Any:
        """Of a shape [b]..., V]."""

    divergence("odd")(odd)
    (line,) = (row for row in adakd("ls", "divergences").out.splitlines() if row.startswith("odd "))
    assert "needed, more=1.0" in line
    assert "Of a shape [b]..., V]." in line


def test_ls_tasks(adakd: Adakd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "adakd.evaluation.lm_eval_tasks.known_tasks", lambda include: ["a", str(include)]
    )
    assert adakd("ls", "tasks", "--include", "mine").out.split() == ["a", "mine"]


def test_help_names_every_verb(adakd: Adakd) -> None:
    done = adakd("--help")
    for verb in ("run", "plan", "judge", "report", "export", "bench", "ls", "new", "check"):
        assert verb in done.out
        assert adakd(verb, "--help").code == 0


# --- new and check ----------------------------------------------------------------------------


def test_a_new_divergence_keeps_the_laws_and_trains(adakd: Adakd, here: Path, suite_file) -> None:
    assert adakd("new", "divergence", "my-own").out.strip() == "made my_own.py"
    checked = adakd("check", "divergence", "my_own.py")
    assert checked.code == 0
    assert "my_own" in checked.out
    assert "broken" not in checked.out


def test_a_new_divergence_serves_a_suite(adakd: Adakd, here: Path, suite_file) -> None:
    adakd("new", "divergence", "mine")
    suite = suite_file({"plugins": ["./mine.py"], "divergences": [{"name": "mine", "mix": 0.3}]})
    assert "mine(mix=0.3) + adakd" in adakd("plan", suite).out


def test_a_new_bridge_keeps_the_laws_and_serves_a_suite(
    adakd: Adakd, here: Path, suite_file
) -> None:
    """A run of two tokenizers, from training to page, with the template's bridge."""
    assert adakd("new", "bridge", "my-own").out.strip() == "made my_own.py"
    checked = adakd("check", "bridge", "my_own.py")
    assert (checked.code, checked.err) == (0, "")
    assert "my_own" in checked.out
    bridge = {"name": "my_own", "sharpness": 2}
    own = {"bridge": bridge, "student.vocabulary": 300, "objective.cross_entropy": 0.1}
    suite = suite_file({**QUICK, "plugins": ["./my_own.py"], **own})
    assert "bridge: my_own(sharpness=2)" in adakd("plan", suite).out
    done = adakd("run", suite, "--out", "run")
    assert (done.code, done.err) == (0, "")
    page = (here / "run" / "report.html").read_text()
    assert "Compared across two tokenizers" in page
    assert {file.name for file in (here / "run").glob("*tasks")} == {"tasks", "teacher-tasks"}


def test_smoke_takes_a_student_with_a_tokenizer_of_its_own(adakd: Adakd, here: Path) -> None:
    """The shipped teacher, and entries that are learned from the puzzles; a step of each arm."""
    model = {"model_type": "llama", "hidden_size": 16, "intermediate_size": 16}
    config = {**model, "num_hidden_layers": 1, "num_attention_heads": 2}
    changes = {
        "bridge": "overlap",
        "student": {"kind": "scratch", "vocabulary": 300, "config": config},
        "divergences": ["forward_kl"],
        "seeds": [1],
        "training.steps": 1,
        "data.train.rows": 16,
        "evaluation.sets.puzzles.rows": 2,
        "timing.pairs": 0,
        "controls": {"sft": False},
    }
    given = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    done = adakd("run", "smoke", "--out", "run", *given)
    assert (done.code, done.err) == (0, "")
    assert "Compared across two tokenizers" in (here / "run" / "report.html").read_text()


def test_check_of_a_bridge(adakd: Adakd, here: Path) -> None:
    done = adakd("check", "bridge", "overlap")
    assert (done.code, done.err) == (0, "")
    assert "broken" not in done.out
    (here / "none.py").write_text("")
    done = adakd("check", "bridge", "none.py")
    assert done.code == 2
    assert 'registers no bridge; decorate a class with @bridge("name")' in " ".join(
        done.err.split()
    )


def test_a_new_policy_serves_a_suite(adakd: Adakd, here: Path, suite_file) -> None:
    assert adakd("new", "policy", "my-own").out.strip() == "made my_own.py"
    row = {"divergence": "reverse_kl", "policy": {"name": "my_own", "start": 0.3}, "label": "mine"}
    changes = {"plugins": ["./my_own.py"], "divergences": [row], **QUICK}
    done = adakd("run", suite_file(changes))
    assert (done.code, done.err) == (0, "")
    assert "mine + adakd" in done.out


def test_a_new_metric_serves_a_suite(adakd: Adakd, here: Path, suite_file) -> None:
    assert adakd("new", "metric", "my-own").out.strip() == "made my_own.py"
    metrics = ["rouge_l", {"name": "my_own", "least": 2}]
    changes = {**QUICK, "plugins": ["./my_own.py"], "evaluation.metrics": metrics}
    done = adakd("run", suite_file(changes), "--out", "run")
    assert (done.code, done.err) == (0, "")
    assert "my own × 100" in done.out
    scores = [s for s in Store(here / "run").of(ScoreRecord) if s.metric == "my_own"]
    assert {s.task for s in scores} == {"puzzles"}
    assert all(0 <= s.value <= 1 for s in scores)
    assert "my own × 100" in (here / "run" / "report.html").read_text(encoding="utf-8")


def test_a_new_suite_plans(adakd: Adakd, here: Path) -> None:
    assert adakd("new", "suite", "my-suite").code == 0
    done = adakd("plan", "my-suite.yaml")
    assert done.code == 0
    assert "my-suite" in done.out
    assert "NAME" not in (here / "my-suite.yaml").read_text()


def test_a_new_judge_judges(adakd: Adakd, here: Path, run_folder: Path) -> None:
    assert adakd("new", "judge", "my-judge").code == 0
    assert adakd("judge", run_folder, "--judge", "my-judge.yaml").code == 0
    judges = {verdict.judge for verdict in Store(run_folder).of(VerdictRecord)}
    assert judges == {load_judge("my-judge.yaml").id}


def test_new_overwrites_nothing(adakd: Adakd, here: Path) -> None:
    (here / "mine.py").write_text("precious")
    done = adakd("new", "divergence", "mine")
    assert done.code == 2
    assert "mine.py exists already" in done.err
    assert (here / "mine.py").read_text() == "precious"


def test_check_by_name(adakd: Adakd) -> None:
    done = adakd("check", "divergence", "reverse_kl")
    assert done.code == 0
    assert "zero_at_equality" in done.out


def test_check_of_a_broken_divergence_fails(adakd: Adakd, here: Path) -> None:
    (here / "bad.py").write_text(
        "from adakd import divergence\n"
        "@divergence('bad')\n"
        "def bad(student, teacher):\n"
        "    return -(teacher.exp() * student).sum(-1)\n"
    )
    done = adakd("check", "divergence", "bad.py")
    assert done.code == 1
    (line,) = (row for row in done.out.splitlines() if "zero_at_equality" in row)
    assert "broken" in line


# --- mistakes ---------------------------------------------------------------------------------


def write_lines(file: Path, *lines: str) -> Path:
    file.write_text("".join(line + "\n" for line in lines))
    return file


ROW = json.dumps({"instruction": "x", "output": "y"})
JSONL = {"kind": "jsonl", "path": "rows.jsonl"}


def mistake(done: Any) -> str:
    """Return the one line that a mistake is answered with."""
    assert done.code == 2, done
    (line,) = done.err.splitlines()
    assert line.startswith("adakd: ")
    assert "Traceback" not in done.out
    return line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "smok"], ["'smok'", "did you mean 'smoke'?"]),
        (["plan", "gone.yaml"], ["gone.yaml: no such file"]),
        (["plan", "smoke", "--set", "training.stepz=3"], ["'training.stepz'", "'steps'"]),
        (["plan", "smoke", "--set", "training.steps=[1"], ["--set training.steps=[1"]),
        (["plan", "smoke", "--set", "training"], ["expected FIELD=VALUE"]),
        (["plan", "smoke", "--set", "divergences=[revers_kl]"], ["did you mean 'reverse_kl'?"]),
        (["plan", "smoke", "--set", "evaluation.metrics=[rouge]"], ["did you mean 'rouge_l'?"]),
        (["run", "smoke", "--set", "judges=[rul]"], ["'rul'", "did you mean 'rule'?"]),
        (["judge", "gone", "--judge", "rule"], ["gone"]),
        (["judge", "a.jsonl", "b.jsonl", "--judge", "rule"], ["a.jsonl"]),
        (["judge", "a.jsonl", "--judge", "rule"], ["two .jsonl files"]),
        (["judge", "gone"], ["--judge NAME"]),
        (["judge", "--calibrate", "rule"], ["--calibrate JUDGE goes with --data FILE"]),
        (["judge", "gone", "--judge", "rule", "--data", "x"], ["--data goes with --calibrate"]),
        (["judge", "--calibrate", "rule", "--data", "x.jsonl"], ["x.jsonl: no such file"]),
        (["judge", "--calibrate", "jury", "--data", "x.jsonl"], ["a jury; calibrate each"]),
        (
            ["judge", "--calibrate", "rule", "--data", "x.jsonl", "--until", "0.1"],
            ["--until does not go with --calibrate"],
        ),
        (
            ["judge", "a.jsonl", "b.jsonl", "--judge", "rule", "--against", "all"],
            ["--against goes with a run"],
        ),
        (["judge", "gone", "--judge", "rule", "--out", "x"], ["--out"]),
        (["judge", "gone", "--judge", "rule", "--judge", "rule"], ["'rule'", "twice"]),
        (["judge", "gone", "--judge", "jury", "--set", "model=x"], ["--set", "jury"]),
        (["bench", "gone"], ["gone: no run here"]),
        (["bench", "gone", "--out", "x"], ["--out goes without a run"]),
        (["report", "gone"], ["gone"]),
        (["export", "gone", "--format", "csv"], ["gone"]),
        (["export", "gone", "--format", "xls"], ["--format", "latex"]),
        (["ls", "divergence"], ["did you mean 'divergences'?"]),
        (["new", "suit", "x"], ["did you mean 'suite'?"]),
        (["new", "suite", "../x"], ["'../x'"]),
        (["check", "bridge", "overlp"], ["did you mean 'overlap'?"]),
        (["plan", "smoke", "--set", "bridge=golds"], ["did you mean 'gold'?"]),
        (["check", "divergence", "revers_kl"], ["did you mean 'reverse_kl'?"]),
        (["check", "divergence", "gone.py"], ["gone.py: no such file"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_a_mistake_is_one_line(
    adakd: Adakd, here: Path, arguments: list[str], expected: list[str]
) -> None:
    line = mistake(adakd(*arguments))
    for text in expected:
        assert text in line
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"data.train": JSONL}, ["rows.jsonl does not exist", "'micro'"]),
        ({"training.stepz": 4}, ["micro.yaml", "'training.stepz'", "'steps'"]),
        ({"plugins": ["./gone.py"]}, ["gone.py: no such file"]),
        (
            {"teacher": {"base": {"kind": "pretrained", "model": "./gone"}}},
            ["model './gone': no such folder"],
        ),
        ({"student": {"kind": "pretrained", "model": "./gone"}}, ["'./gone': no such folder"]),
        ({"student": {"kind": "pruned", "drop_layers": [7]}}, ["drop_layers", "0 to 1"]),
        ({"teacher.base.config": {"model_type": "lama"}}, ["config", "lama"]),
        ({"data.max_prompt_tokens": 2}, ["data.train", "max_prompt_tokens (2)"]),
        ({"evaluation.sampling.max_new_tokens": 96}, ["max_new_tokens", "max_tokens"]),
        ({"training.lora": {"target_modules": ["none"]}}, ["target_modules"]),
    ],
    ids=str,
)
def test_a_bad_suite_is_one_line(
    adakd: Adakd, suite_file, here: Path, changes: dict[str, Any], expected: list[str]
) -> None:
    fast = {"teacher.sft.steps": 1, "evaluation.sets.puzzles.rows": 4}
    if "teacher" in changes:
        fast = {}
    line = mistake(adakd("run", suite_file({**fast, **changes})))
    for text in expected:
        assert text in line


@pytest.mark.parametrize("where", ["data.train", "evaluation.sets.puzzles"])
def test_a_malformed_line_is_named_before_anything_is_trained(
    adakd: Adakd, suite_file, here: Path, where: str
) -> None:
    write_lines(here / "rows.jsonl", ROW, ROW, "{oops")
    line = mistake(adakd("run", suite_file({where: JSONL})))
    assert "rows.jsonl, line 3: " in line
    assert not list(here.glob("runs/*/cells"))


@pytest.mark.slow
def test_an_unknown_task_is_named_before_anything_is_trained(
    adakd: Adakd, suite_file, here: Path
) -> None:
    line = mistake(adakd("run", suite_file({"evaluation.tasks": ["arc_eazy"]})))
    assert "'arc_eazy'" in line
    assert "arc_easy" in line
    assert not list(here.glob("runs/*/cells"))


@pytest.mark.parametrize("verb", ["run", "judge"])
def test_a_judge_that_cannot_be_asked_is_named_at_once(
    adakd: Adakd, suite_file, here: Path, run_folder: Path, monkeypatch, verb: str
) -> None:
    (here / "deaf.yaml").write_text(
        "kind: openai\nbase_url: http://127.0.0.1:9/v1\nmodel: m\nretries: 0\ntimeout: 2\n"
    )
    (here / "keyless.yaml").write_text(
        "kind: openai\nbase_url: http://127.0.0.1:9/v1\nmodel: m\napi_key_env: NOBODYS_KEY\n"
    )
    monkeypatch.delenv("NOBODYS_KEY", raising=False)
    for judge, expected in (
        ("deaf.yaml", "no server answers at http://127.0.0.1:9/v1"),
        ("keyless.yaml", "NOBODYS_KEY is not set"),
    ):
        if verb == "run":
            done = adakd("run", suite_file({"judges": [judge]}), "--out", here / "new")
            assert not (here / "new").exists()
        else:
            done = adakd("judge", run_folder, "--judge", judge)
        line = mistake(done)
        assert judge in line
        assert expected in line


def test_a_folder_that_is_taken_by_a_file(adakd: Adakd, suite_file, here: Path) -> None:
    (here / "taken").touch()
    assert "taken" in mistake(adakd("run", suite_file(), "--out", here / "taken"))


LONG = "x" * 300


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan", f"{LONG}.yaml"],
        ["plan", "SUITE", "--set", f"data.train={{kind: jsonl, path: {LONG}.jsonl}}"],
        ["plan", "SUITE", "--set", f"evaluation.include_path={LONG}"],
        ["plan", "SUITE", "--set", f"plugins=[./{LONG}.py]"],
        ["plan", "SUITE", "--set", f"judges=[./{LONG}.yaml]"],
        ["run", "SUITE", "--set", f"teacher={{base: {{kind: pretrained, model: ./{LONG}}}}}"],
        ["run", "SUITE", "--out", LONG],
        ["report", LONG],
        ["judge", LONG, "--judge", "rule"],
        ["judge", f"{LONG}.jsonl", "b.jsonl", "--judge", "rule"],
        ["check", "divergence", f"{LONG}.py"],
        ["new", "suite", LONG],
    ],
    ids=lambda arguments: " ".join(arguments).replace(LONG, "LONG"),
)
def test_a_path_that_is_too_long_is_one_line(
    adakd: Adakd, suite_file, here: Path, arguments: list[str]
) -> None:
    suite = str(suite_file(QUICK))
    line = mistake(adakd(*[suite if one == "SUITE" else one for one in arguments]))
    assert LONG[:200] in line


def test_a_folder_that_is_gone_takes_no_new_file(
    adakd: Adakd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert "x.yaml: No such file" in mistake(adakd("new", "suite", "x"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is full")
@pytest.mark.parametrize("verb", [["ls", "divergences"], ["plan", "smoke"], ["--help"]], ids=str)
def test_an_output_that_takes_nothing_is_one_line(verb: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "adakd", *verb], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2
    assert done.stderr.startswith("adakd: the output: No space left on device")
    assert len(done.stderr.splitlines()) == 1


def test_records_of_another_program_are_left_alone(adakd: Adakd, suite_file, here: Path) -> None:
    (here / "run").mkdir()
    file = write_lines(here / "run" / "results.jsonl", '{"their": "records"}')
    before = file.read_bytes()
    assert "results.jsonl, line 1" in mistake(adakd("run", suite_file(), "--out", here / "run"))
    assert file.read_bytes() == before


# --- secrets ----------------------------------------------------------------------------------


def test_no_key_of_the_environment_lands_in_a_run(
    adakd: Adakd, suite_file, here: Path, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "HF_TOKEN", "MY_KEY"):
        monkeypatch.setenv(name, KEY)
    (here / "keyed.yaml").write_text(
        "kind: openai\nbase_url: http://127.0.0.1:9/v1\nmodel: m\nretries: 0\ntimeout: 2\n"
        "api_key_env: MY_KEY\n"
    )
    assert adakd("run", suite_file(QUICK)).code == 0
    said = adakd("judge", "runs/micro", "--judge", "keyed.yaml")
    assert KEY not in said.out + said.err
    files = [file for file in here.rglob("*") if file.is_file()]
    assert len(files) > 10
    assert not [file for file in files if KEY.encode() in file.read_bytes()]


@pytest.mark.parametrize("name", ["..", ".", "''", "' '"])
def test_a_name_that_is_no_folder(adakd: Adakd, suite_file, here: Path, name: str) -> None:
    done = adakd("run", suite_file(), "--set", f"name={name}")
    assert done.code == 2
    assert "names no folder; rename the suite, or give --out" in done.err
    assert {path.name for path in here.iterdir()} == {"micro.yaml"}
