"""One command, from a suite file to a report; and whatever may come between."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import adakd
from adakd.config.loading import load_suite
from adakd.errors import AdakdError
from adakd.planning import plan
from adakd.registry import Spec
from adakd.store import Store, disk, locked
from adakd.store.records import (
    ExampleRecord,
    RunRecord,
    ScoreRecord,
    TeacherStatesRecord,
    TimingRecord,
    TrainingRecord,
    VerdictRecord,
    VettingRecord,
)
from tests.execution import lasting

SUITE = {
    "seeds": [1, 2],
    "training.save_every": 1,
    "training.learning_rate": 0.2,  # so that the arms part, and their answers with them
    "evaluation.sampling": {"seeds": [10, 20], "max_new_tokens": 8},
}
CHANGING = lasting.CHANGING | {"started", "command"}


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, write_suite) -> Path:
    """A whole run, made once; nobody may write in it."""
    folder = tmp_path_factory.mktemp("finished")
    report = adakd.run(load_suite(str(write_suite(folder, SUITE))), folder / "run")
    assert report == folder / "run" / "report.html"
    return folder / "run"


@pytest.fixture
def again(finished: Path, tmp_path: Path) -> Path:
    """A copy of the whole run."""
    return Path(shutil.copytree(finished, tmp_path / "again"))


def suite_of(run: Path) -> adakd.Suite:
    return Store(run).suite()


def results(run: Path) -> dict[tuple[str, str], Any]:
    store = Store(run)
    kinds = (TrainingRecord, ScoreRecord, TimingRecord, ExampleRecord, VerdictRecord)
    records = [record for kind in kinds for record in store.of(kind)]
    return {
        (record.kind, record.key): lasting.lasting(record.model_dump(), CHANGING)
        for record in records
    }


def lines(run: Path) -> list[str]:
    return (run / "results.jsonl").read_text().splitlines()


def models_of(run: Path) -> dict[str, tuple[int, bytes]]:
    files = run.glob("cells/*/model/*.safetensors")
    return {str(f.relative_to(run)): (f.stat().st_mtime_ns, f.read_bytes()) for f in files}


def forget(run: Path, kind: str) -> None:
    """Take out the records of a kind."""
    kept = [line for line in lines(run) if f'"kind":"{kind}"' not in line]
    (run / "results.jsonl").write_text("".join(line + "\n" for line in kept))


class Told:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.notes: list[str] = []
        self.lines: list[str] = []

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Any]:
        self.stages.append(title)
        yield lambda done, total=None: None

    def note(self, text: str, style: str = "") -> None:
        self.notes.append(text)

    def ahead(self, text: str) -> None:
        self.lines.append(text)


# --- a whole run ------------------------------------------------------------------------------


def test_a_run_does_all_that_was_planned(finished: Path) -> None:
    store, planned = Store(finished), plan(suite_of(finished))
    assert {t.key for t in store.of(TrainingRecord)} == {cell.key for cell in planned.cells}
    assert {s.key for s in store.of(ScoreRecord)} == {job.key for job in planned.jobs}
    assert {t.status for t in store.of(TrainingRecord)} == {"done"}
    assert [(t.divergence, t.arm) for t in store.of(TimingRecord)] == [("reverse_kl", "adakd")]
    items = {item.id for score in store.of(ScoreRecord) for item in score.items}
    asked: dict[tuple[str, int, int | None, str], list[VerdictRecord]] = {}
    for v in store.of(VerdictRecord):
        asked.setdefault((v.against, v.candidate.seed, v.sampling_seed, v.item), []).append(v)
    seeds = [("plain", 1), ("plain", 2), ("again", 1)]  # again: the plain method at both seeds
    assert set(asked) == {(*seed, drawn, i) for seed in seeds for drawn in (10, 20) for i in items}
    for verdicts in asked.values():  # in both orders, or once where the answers are the same
        orders = {v.candidate_first for v in verdicts}
        assert len(orders) == len(verdicts) == (1 if verdicts[0].verdict == "identical" else 2)
    for vetted in store.of(VettingRecord):
        assert vetted.verdict == ("tie" if vetted.case == "same" else "right")
    assert store.of(VettingRecord)
    assert any(len(verdicts) == 2 for verdicts in asked.values())
    assert {example.task for example in store.of(ExampleRecord)} == {"puzzles"}


def test_the_run_says_where_it_comes_from(finished: Path) -> None:
    (run,) = Store(finished).of(RunRecord)
    assert run.suite["name"] == "micro"
    assert {"python", "torch", "transformers", "lm-eval", "adakd"} <= set(run.versions)
    assert run.hardware["cores"] == str(os.cpu_count())
    planned = plan(suite_of(finished))
    assert {part.key for part in (*planned.cells, *planned.jobs)} <= set(run.wanted)
    adaptive = next(part for part in run.parts if part.of == "adakd")
    assert adaptive.settings["indicator"] == "hellinger"
    assert adaptive.settings["temperature"] == "idts(c=0.5, base=1.0, detach=True)"


def test_the_report_shows_every_method(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    for method in ("teacher", "untrained", "sft", "reverse_kl", "adakd"):
        assert method in page


def test_the_folder_holds_models_records_tasks_and_nothing_half_done(finished: Path) -> None:
    assert {p.name for p in finished.iterdir()} - {".lock"} == {
        "cells", "report.html", "report.json", "results.jsonl", "tasks", "teacher"
    }  # fmt: skip
    cells = {cell.key for cell in plan(suite_of(finished)).cells if cell.role != "untrained"}
    assert {p.name for p in (finished / "cells").iterdir()} == cells
    assert {p.name for p in finished.glob("cells/*/*")} == {"model"}


@pytest.fixture(scope="session")
def repeated(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Told]:
    """The same run once more, in another folder."""
    run, told = tmp_path_factory.mktemp("repeated") / "run", Told()
    adakd.run(suite_of(finished), run, told)
    return run, told


def test_the_teacher_reads_for_all_students_at_once(repeated: tuple[Path, Told]) -> None:
    run, told = repeated
    trained = [stage for stage in told.stages if stage.startswith(("train", "store"))]
    assert trained.index("store teacher states") == len([s for s in trained if "kl" not in s]) - 1
    assert trained.count("store teacher states") == 1
    (announced,) = (note for note in told.notes if "hidden states" in note)
    (record,) = Store(run).of(TeacherStatesRecord)
    (states,) = run.glob("teacher/*/states.bin")
    assert f"{record.size / 1e6:,.1f} MB in {states.parent}" in announced
    assert record.size == states.stat().st_size == 2 * 32 * record.tokens
    assert record.readings == 4 * 4 * 4  # students, steps, rows


@pytest.mark.parametrize("cache", ["fp16", "float32"])
def test_no_room_for_states_is_an_error_before_any_training(
    suite_file, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: str
) -> None:
    """And no live teacher under the key of stored states."""
    written = {"divergence": "reverse_kl", "policy": "sequence_level"}
    changes = {"teacher.cache": cache, "divergences": ["reverse_kl", written]}
    run, told, real = tmp_path / "run", Told(), shutil.disk_usage
    suite = load_suite(str(suite_file(changes)))

    def usage(folder: Path) -> Any:
        return real(folder)._replace(free=disk.RESERVE + 20_000)

    with monkeypatch.context() as patched:
        patched.setattr("adakd.store.disk.shutil.disk_usage", usage)
        with pytest.raises(AdakdError, match=r"teacher\.cache: .* take [\d,]+ bytes.*: off"):
            adakd.run(suite, run, told)
    assert not told.stages
    assert not Store(run).of(TrainingRecord)
    off = load_suite(str(suite_file({**changes, "teacher.cache": "off"})))
    distilled = [{c.key for c in plan(s).cells if c.role == "distilled"} for s in (suite, off)]
    assert not distilled[0] & distilled[1]


def test_states_that_are_there_need_no_room(again: Path, monkeypatch) -> None:
    forget(again, "timing")
    monkeypatch.setattr(disk, "RESERVE", 1 << 60)
    adakd.run(suite_of(again), again)
    assert Store(again).of(TimingRecord)


def test_states_that_were_stored_have_to_stay(again: Path, monkeypatch) -> None:
    """All students of a run learn from the same teacher."""
    forget(again, "timing")
    shutil.rmtree(again / "teacher" / "heads")  # else the states are opened without the teacher
    monkeypatch.setattr("adakd.training.teacher_states.head_of", lambda *_: "since it is odd")
    with pytest.raises(AdakdError, match=r"learned from stored hidden states.*since it is odd"):
        adakd.run(suite_of(again), again)


def test_a_teacher_that_was_live_stays_live(suite_file, tmp_path: Path, monkeypatch) -> None:
    suite, run, told = load_suite(str(suite_file())), tmp_path / "run", Told()
    with monkeypatch.context() as patched:
        patched.setattr("adakd.training.teacher_states.head_of", lambda *_: "since it is odd")
        adakd.run(suite, run)
    forget(run, "timing")
    adakd.run(suite, run, told)
    assert any("runs on every batch: its LM head" in note for note in told.notes)
    assert not list(run.glob("teacher"))


def test_a_longer_plain_arm_differs_from_its_twin_in_its_length_alone(
    finished: Path, tmp_path: Path, write_suite
) -> None:
    """And a run that gets one on its second start trains nothing but that."""
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    suite = load_suite(str(write_suite(tmp_path, {**SUITE, "controls.longer": 0.5})))
    told = Told()
    adakd.run(suite, run, told)
    assert [title for title in told.stages if title.startswith(("train", "time"))] == [
        f"train reverse_kl, 50 % longer, seed {seed}" for seed in (1, 2)
    ]
    store = Store(run)
    trained = {(r.cell.method, r.cell.seed): r for r in store.of(TrainingRecord)}
    for seed in (1, 2):
        plain, longer = (trained[name, seed] for name in ("reverse_kl", "reverse_kl, 50 % longer"))
        assert [len(plain.steps), len(longer.steps)] == [4, 6]
        first, other = plain.steps[0], longer.steps[0]
        assert (first.loss, first.grad_norm) == (other.loss, other.grad_norm)
    arms = {(r.candidate.role, r.opponent and r.opponent.role) for r in store.of(VerdictRecord)}
    assert arms == {("distilled", "distilled")}
    page = (run / "report.html").read_text()
    assert "Quality at equal time" in page
    assert "reverse_kl, 50 % longer" in page


def test_seeds_of_any_order_give_the_records_of_one_run_of_all(tmp_path: Path, write_suite) -> None:
    """Also where trainings take a part of the rows, and rows of the teacher's own."""
    rewritten = {"divergence": "forward_kl", "policy": "sequence_level"}
    changes = {"divergences": ["reverse_kl", rewritten], "judges": [], "training.steps": 2}
    changes |= {"data.train.rows": 30, "controls.sft": False}

    def run(name: str, *starts: list[int]) -> dict[tuple[str, str], Any]:
        for seeds in starts:
            file = write_suite(tmp_path / name, {**changes, "seeds": seeds})
            adakd.run(load_suite(str(file)), tmp_path / name / "run")
        return results(tmp_path / name / "run")

    whole = run("whole", [1, 2])
    for name, starts in {"later": ([2], [1, 2]), "turned": ([2, 1],)}.items():
        found = run(name, *starts)
        assert found.keys() == whole.keys()
        for key, record in whole.items():
            if key[0] != "timing":
                assert found[key] == record


@pytest.mark.parametrize("role", ["teacher", "distilled"])
def test_a_model_that_has_changed_since_its_training_is_an_error(again: Path, role: str) -> None:
    """And no silent change of the students or scores that are still to come."""
    cell = next(cell for cell in plan(suite_of(again)).cells if cell.role == role)
    file = again / "cells" / cell.key / "model" / "model.safetensors"
    right = file.read_bytes()
    file.write_bytes(right[:-9] + bytes([right[-9] ^ 1]) + right[-8:])
    forget(again, "score")
    with pytest.raises(AdakdError, match=r"model\.safetensors: .* since the training of") as caught:
        adakd.run(suite_of(again), again)
    assert str(cell) in str(caught.value)
    assert cell.key in str(caught.value)
    kept = [line for line in lines(again) if not ('"kind":"training"' in line and cell.key in line)]
    (again / "results.jsonl").write_text("".join(line + "\n" for line in kept))
    adakd.run(suite_of(again), again)  # as the error advises
    assert file.read_bytes() == right


def test_the_same_command_again_does_nothing(again: Path) -> None:
    before, models = lines(again), models_of(again)
    told = Told()
    adakd.run(suite_of(again), again, told)
    assert lines(again) == before
    assert models_of(again) == models
    assert not [stage for stage in told.stages if not stage.startswith("judge")]


def test_a_further_metric_of_a_finished_run_costs_no_generation(
    again: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor a model: its values are computed from the stored answers."""
    suite, before = suite_of(again), results(again)

    def with_metrics(*names: str) -> Any:
        metrics = tuple(Spec(name=name) for name in names)
        evaluation = suite.evaluation.model_copy(update={"metrics": metrics})
        return suite.model_copy(update={"evaluation": evaluation})

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("adakd.execution.workers.Harness", refuse)
    adakd.run(with_metrics("rouge_l", "token_f1"), again)
    after = results(again)
    assert before.items() <= after.items()
    assert {kind for kind, key in after if (kind, key) not in before} == {"score"}
    added = [s for s in Store(again).of(ScoreRecord) if s.metric == "token_f1"]
    assert len(added) == 2 * len(plan(suite).cells)
    assert not any(score.has_texts for score in added)
    page = (again / "report.html").read_text()
    assert "token F1 × 100" in page
    adakd.run(with_metrics("token_f1"), again)  # the texts are in records that it does not want
    assert results(again) == after
    current = [score for score in Store(again).scores() if score.sort == "answers"]
    assert {score.metric for score in current} == {"token_f1"}
    assert all(score.has_texts for score in current)


def test_a_changed_suite_keeps_what_it_can(again: Path) -> None:
    suite = suite_of(again)
    before = results(again)
    sampling = suite.evaluation.sampling.model_copy(update={"max_new_tokens": 7})
    evaluation = suite.evaluation.model_copy(update={"sampling": sampling})
    told = Told()
    adakd.run(suite.model_copy(update={"evaluation": evaluation}), again, told)
    assert not [stage for stage in told.stages if stage.startswith(("train", "time"))]
    after = results(again)
    assert before.items() <= after.items()
    new = [key for key in after if key not in before]
    assert {kind for kind, _ in new} == {"score", "verdict"}
    assert len([key for key in new if key[0] == "score"]) == 2 * len(plan(suite).cells)


def test_two_runs_of_a_suite_agree_to_the_last_digit(
    finished: Path, repeated: tuple[Path, Told]
) -> None:
    assert results(repeated[0]) == results(finished)


# --- killed -----------------------------------------------------------------------------------


def wait_for(run: Path, marks: list[bytes], patience: float = 120) -> None:
    file, until = run / "results.jsonl", time.monotonic() + patience
    while time.monotonic() < until:
        if file.exists() and all(mark in file.read_bytes() for mark in marks):
            return
        time.sleep(0.01)
    raise AssertionError(f"{marks} did not come")


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_stopped(
    finished: Path, tmp_path: Path, write_suite, command
) -> None:
    file, run = write_suite(tmp_path, SUITE), tmp_path / "run"
    process = command("run", file, "--out", run, start_new_session=True)
    wait_for(run, [b'"kind":"score"', b'"role":"distilled"'])
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before, models = results(run), models_of(run)
    assert before
    assert len(before) < len(results(finished))
    adakd.run(load_suite(str(file)), run)
    after = results(run)
    assert after == results(finished)
    assert before.items() <= after.items()
    recorded = {key for kind, key in before if kind == "training"}
    for name, content in models.items():
        if Path(name).parts[1] in recorded:
            assert models_of(run)[name] == content


def test_a_run_that_stops_anywhere_ends_the_same(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped before each record in turn: every gap between two of them."""

    class Stopped(Exception):
        pass

    real, suite, run = Store.add, suite_of(finished), tmp_path / "run"
    budget = 0

    def add(store: Store, *records: Any) -> None:
        nonlocal budget
        if {record.kind for record in records} & {"training", "score", "timing"}:
            if budget == 0:
                raise Stopped
            budget -= 1
        real(store, *records)

    monkeypatch.setattr(Store, "add", add)
    stops = 0
    while True:
        budget = 3
        try:
            adakd.run(suite, run)
        except Stopped:
            stops += 1
        else:
            break
    assert stops >= 5
    assert results(run) == results(finished)


@pytest.mark.parametrize("role", ["teacher", "distilled"])
@pytest.mark.parametrize("how", ["cut", "gone"])
def test_a_model_that_is_lost_is_trained_again(
    again: Path, finished: Path, role: str, how: str
) -> None:
    """As a power cut may leave it: the record is there, and the model is not."""
    cell = next(t.cell for t in Store(again).of(TrainingRecord) if t.cell.role == role)
    weights = again / "cells" / cell.key / "model" / "model.safetensors"
    whole = weights.read_bytes()
    if how == "cut":
        weights.write_bytes(weights.read_bytes()[:-50])
    else:
        shutil.rmtree(weights.parent)
    told = Told()
    adakd.run(suite_of(again), again, told)
    assert told.notes == []  # nothing needs it
    kept = [line for line in lines(again) if cell.key not in line or '"kind":"score"' not in line]
    (again / "results.jsonl").write_text("".join(line + "\n" for line in kept))
    adakd.run(suite_of(again), again, told)
    (note,) = told.notes
    assert note.startswith(f"{cell}: its model cannot be read, ")
    assert note.endswith("; it is trained again")
    unjudged = {key: value for key, value in results(again).items() if key[0] != "verdict"}
    assert unjudged.items() <= results(finished).items()
    assert len(unjudged) == sum(key[0] != "verdict" for key in results(finished))
    assert models_of(again)[str(weights.relative_to(again))][1] == whole


def test_a_lost_model_that_comes_out_otherwise_is_an_error(again: Path) -> None:
    """As on another machine: earlier results are of another model."""
    record = next(t for t in Store(again).of(TrainingRecord) if t.cell.role == "distilled")
    other = dict.fromkeys(record.files, "0" * 16)
    shutil.rmtree(again / "cells" / record.key / "model")
    kept = [line for line in lines(again) if record.key not in line or '"kind":"score"' not in line]
    (again / "results.jsonl").write_text("".join(line + "\n" for line in kept))
    Store(again).add(record.model_copy(update={"files": other}))
    with pytest.raises(AdakdError, match="is not the one that earlier results are of"):
        adakd.run(suite_of(again), again)


def test_another_process_at_work_is_named(again: Path) -> None:
    with locked(again):
        for start in (
            lambda: adakd.run(suite_of(again), again),
            lambda: adakd.judge(again, "rule"),
        ):
            with pytest.raises(AdakdError, match="another adakd process works here"):
                start()


# --- a cell that fails ------------------------------------------------------------------------

NAN = """
from adakd import divergence

@divergence("not_a_number")
def not_a_number(student, teacher):
    return (student * float("nan")).sum(-1)
"""


@pytest.fixture(scope="session")
def broken(tmp_path_factory: pytest.TempPathFactory, write_suite) -> tuple[Path, Told]:
    """A run with a divergence of a plug-in file that gives no numbers."""
    folder, told = tmp_path_factory.mktemp("broken"), Told()
    (folder / "mine.py").write_text(NAN)
    changes = {"plugins": ["./mine.py"], "divergences": ["not_a_number", "reverse_kl"]}
    adakd.run(load_suite(str(write_suite(folder, changes))), folder / "run", told)
    return folder / "run", told


def test_a_failed_cell_is_recorded_and_the_others_finish(broken: tuple[Path, Told]) -> None:
    run, told = broken
    store = Store(run)
    status = {t.cell.method: t.status for t in store.of(TrainingRecord)}
    failed = {"not_a_number", "not_a_number + adakd"}
    assert {method for method, it in status.items() if it == "failed"} == failed
    assert {"reverse_kl", "reverse_kl + adakd", "sft"} < set(status)
    scored = {score.cell.method for score in store.of(ScoreRecord)}
    assert scored == set(status) - failed
    assert [timing.divergence for timing in store.of(TimingRecord)] == ["reverse_kl"]
    assert {v.candidate.divergence for v in store.of(VerdictRecord)} == {"reverse_kl"}
    assert len([note for note in told.notes if "failed" in note]) == 2
    assert not list(run.glob("cells/*/checkpoints"))


def test_the_report_names_a_failed_cell_and_why(broken: tuple[Path, Told]) -> None:
    page = (broken[0] / "report.html").read_text()
    assert "not_a_number" in page
    assert "the loss is not finite at step 1" in page


def test_a_failed_cell_is_not_tried_again(broken: tuple[Path, Told]) -> None:
    run, _ = broken
    before, told = results(run), Told()
    adakd.run(suite_of(run), run, told)
    assert results(run) == before
    assert not [stage for stage in told.stages if stage.startswith("train")]


def test_every_cell_of_a_pair_failing_still_makes_a_report(tmp_path: Path, write_suite) -> None:
    changes = {"training.learning_rate": 1e30, "controls.sft": False}
    report = adakd.run(load_suite(str(write_suite(tmp_path, changes))), tmp_path / "run")
    page = report.read_text()
    assert "not finite at step" in page
    assert "learning_rate" in page
    assert not Store(tmp_path / "run").of(VerdictRecord)


def test_a_failed_teacher_ends_the_run(tmp_path: Path, write_suite) -> None:
    """Students of a model that never learned would look like any others."""
    suite = load_suite(str(write_suite(tmp_path, {"teacher.sft.learning_rate": 1e30})))
    for _ in range(2):
        with pytest.raises(AdakdError, match=r"teacher\.sft: .*not finite at step"):
            adakd.run(suite, tmp_path / "run")
    (record,) = Store(tmp_path / "run").of(TrainingRecord)
    assert (record.cell.role, record.status) == ("teacher", "failed")


# --- afterwards -------------------------------------------------------------------------------


def test_judging_afterwards_adds_verdicts_and_changes_no_other_record(again: Path) -> None:
    before = results(again)
    report = adakd.judge(again, "rule", against="reverse_kl", overrides=["tie_margin=0.5"])
    after = results(again)
    assert before.items() <= after.items()
    added = {key for key in after if key not in before}
    assert added
    assert {kind for kind, _ in added} == {"verdict"}
    judges = {verdict.judge for verdict in Store(again).of(VerdictRecord)}
    assert len(judges) == 2
    assert all(judge in report.read_text() for judge in judges)


def test_a_report_needs_nothing_but_the_records(finished: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    shutil.copy(finished / "results.jsonl", moved)
    page = adakd.write_report(moved).read_text()
    assert page == (finished / "report.html").read_text()
    assert {p.name for p in moved.iterdir()} == {"results.jsonl", "report.html", "report.json"}


def test_a_mistyped_folder_is_not_made(tmp_path: Path) -> None:
    for start in (lambda: adakd.judge(tmp_path / "gone", "rule"),
                  lambda: adakd.write_report(tmp_path / "gone")):  # fmt: skip
        with pytest.raises(AdakdError, match="gone"):
            start()
    assert not (tmp_path / "gone").exists()


# --- other students ---------------------------------------------------------------------------


def test_a_pruned_student_with_adapters_of_a_teacher_with_adapters(
    tmp_path: Path, write_suite
) -> None:
    changes = {
        "teacher.sft.lora": {"r": 2},
        "training.lora": {"r": 2},
        "student": {"kind": "pruned", "drop_layers": [0]},
        "training.epochs": 0.4,
        "training.steps": ...,
        "evaluation.sampling": {"seeds": [10, 20], "max_new_tokens": 4},
    }
    adakd.run(load_suite(str(write_suite(tmp_path, changes))), tmp_path / "run")
    store = Store(tmp_path / "run")
    assert {t.status for t in store.of(TrainingRecord)} == {"done"}
    seeds = {s.sampling_seed for s in store.of(ScoreRecord) if s.sort == "answers"}
    assert seeds == {10, 20}
