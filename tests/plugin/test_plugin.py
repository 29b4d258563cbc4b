"""A package from outside, built and installed as users would, serves by its name alone."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from adakd.store import Store
from adakd.store.records import TrainingRecord, VerdictRecord

pytestmark = pytest.mark.slow
SOURCE = Path(__file__).parent
Run = Callable[..., str]


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the package into a folder of its own, which no other process sees."""
    target, copy = tmp_path_factory.mktemp("installed"), tmp_path_factory.mktemp("source")
    for file in ("pyproject.toml", "adakd_tiny_plugin/__init__.py"):
        (copy / file).parent.mkdir(exist_ok=True)
        (copy / file).write_bytes((SOURCE / file).read_bytes())
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", target]
    command = [sys.executable, "-m", "pip", "install", *map(str, options), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def adakd(installed: Path, command) -> Run:
    """Run the command line where the package is installed, and return what it prints."""

    def run(*arguments: object) -> str:
        paths = os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")])
        process = command(*arguments, env={**os.environ, "PYTHONPATH": paths.rstrip(os.pathsep)})
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        return str(out)

    return run


def test_its_parts_are_listed_with_their_settings(adakd: Run) -> None:
    (line,) = (row for row in adakd("ls", "divergences").splitlines() if "scaled_reverse_kl" in row)
    assert "factor=2.0" in line
    assert "Reverse KL times a factor." in line
    (line,) = (row for row in adakd("ls", "adaptive").splitlines() if "surest" in row)
    assert "power=1.0" in line
    (line,) = (row for row in adakd("ls", "metrics").splitlines() if "length_error" in row)
    assert "per=1" in line
    assert "Distance in characters" in line


def test_its_divergence_keeps_the_laws(adakd: Run) -> None:
    out = adakd("check", "divergence", "scaled_reverse_kl")
    assert out.count("holds") >= 10
    assert "broken" not in out


def test_its_bridge_keeps_the_laws(adakd: Run) -> None:
    assert "by=2.0" in adakd("ls", "bridges")
    out = adakd("check", "bridge", "softened")
    assert out.count("holds") >= 10
    assert "broken" not in out


def test_a_student_learns_across_tokenizers_with_it(adakd: Run, suite_file, tmp_path: Path) -> None:
    suite = suite_file(
        {
            "bridge": {"name": "softened", "by": 3},
            "student.vocabulary": 300,
            "timing.pairs": 0,
            "judges": [],
            "evaluation.sampling": {"max_new_tokens": 8},
        }
    )
    adakd("run", suite, "--out", tmp_path / "run")
    trainings = Store(tmp_path / "run").of(TrainingRecord)
    used = {training.cell.method: training.bridge for training in trainings}
    assert used["sft"] is None
    assert used["reverse_kl + adakd"] == used["reverse_kl"]
    assert used["reverse_kl"]
    assert used["reverse_kl"].aligned > used["reverse_kl"].units


def test_a_run_trains_and_judges_with_it(adakd: Run, suite_file, tmp_path: Path) -> None:
    (tmp_path / "long.yaml").write_text("kind: longest\nmargin: 0\n")
    suite = suite_file(
        {
            "divergences": [
                {"name": "scaled_reverse_kl", "factor": 3},
                {"divergence": "scaled_reverse_kl", "policy": "every_other"},
            ],
            "judges": [str(tmp_path / "long.yaml")],
            "arms": {"adakd": "adakd", "surest": {"name": "surest", "power": 2}},
            "timing.pairs": 0,
            "training.learning_rate": 0.2,
            "evaluation.metrics": ["rouge_l", {"name": "length_error", "per": 2}],
            "evaluation.sampling": {"max_new_tokens": 8},
        }
    )
    adakd("run", suite, "--out", tmp_path / "run")
    store = Store(tmp_path / "run")
    trained = {t.cell.method: t.status for t in store.of(TrainingRecord)}
    assert trained["scaled_reverse_kl(factor=3)"] == "done"
    assert trained["scaled_reverse_kl(factor=3) + adakd"] == "done"
    assert trained["scaled_reverse_kl(factor=3) + surest"] == "done"
    trainings = {t.cell.method: t for t in store.of(TrainingRecord)}
    written = trainings["scaled_reverse_kl, every_other + adakd"].steps
    assert ["generation" in step.seconds for step in written] == [False, True, False, True]
    verdicts = store.of(VerdictRecord)
    assert [verdict for verdict in verdicts if verdict.reason.endswith(" letters")]
    assert {verdict.judge.partition("@")[0] for verdict in verdicts} == {"long"}
    page = (tmp_path / "run" / "report.html").read_text()
    assert "scaled_reverse_kl" in page
    assert "length error (less is better)" in page
    errors = [score for score in store.scores() if score.metric == "length_error"]
    assert {score.title for score in errors} == {"length error"}
    assert {score.higher_is_better for score in errors} == {False}
    assert {2 * item.value % 1 for score in errors for item in score.items} == {0}


def test_without_the_package_its_names_are_unknown(command, suite_file) -> None:
    process = command("plan", suite_file({"divergences": ["scaled_reverse_kl"]}))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "unknown divergence 'scaled_reverse_kl'; did you mean 'skew_reverse_kl'?" in err
