"""What needs no model is answered without the packages that models need."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MODELS = {"torch", "transformers", "lm_eval", "datasets", "openai", "peft", "nltk", "sklearn"}
STATISTICS = {"scipy", "pandas"}
ANSWER = """
import json, sys
from adakd.cli import main

commands, heavy = json.loads(sys.argv[1]), set(json.loads(sys.argv[2]))
for command in commands:
    sys.argv = ["adakd", *command]
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code
    print("\\nfound", json.dumps([command, code, sorted(heavy & {*sys.modules})]))
"""
MISTAKES = [
    ["run", "--nope"],
    ["runs"],
    ["run", "smoek"],
    ["run", "missing.yaml"],
    ["run", "--set", "training.stepz=3"],
    ["run", "--set", "seeds=[1,1]"],
    ["run", "--set", "divergences=[reverse_kll]"],
    ["run", "--set", "training.kernels=cuda"],
    ["run", "--set", "judges=[opnai]"],
    ["run", "--set", "data.train={kind: local, id: missing}"],
    ["plan", "--set", "evaluation.include_path=missing"],
    ["judge", "missing"],
    ["ls", "suits"],
    ["new", "divergence", "3x"],
    ["check", "divergence", "reverse_kll"],
]


def answers(commands: list[list[str]], heavy: set[str], folder: Path) -> list[list[object]]:
    """Run commands in one new process: what each ends with, and the heavy packages by then."""
    code = [sys.executable, "-c", ANSWER, json.dumps(commands), json.dumps(sorted(heavy))]
    done = subprocess.run(code, capture_output=True, text=True, check=True, cwd=folder)
    lines = done.stdout.splitlines()
    return [json.loads(line.removeprefix("found ")) for line in lines if line.startswith("found ")]


@pytest.mark.parametrize(
    ("commands", "code", "heavy"),
    [
        ([["--help"], ["run", "--help"], ["ls", "divergences"]], 0, MODELS | STATISTICS),
        (MISTAKES, 2, MODELS | STATISTICS),
        ([["plan"], ["plan", "smollm2-dolly"]], 0, MODELS | STATISTICS),
        (
            [
                ["report", "missing"],
                ["judge", "missing", "--judge", "opnai"],
                ["judge", "missing", "--judge", "rule"],
                ["plan", "--spread", "x"],
                ["bench", "missing"],
            ],
            2,
            MODELS | {"scipy.stats"},
        ),
    ],
    ids=["help", "mistake", "plan", "records"],
)
def test_answers_need_no_heavy_package(
    commands: list[list[str]], code: int, heavy: set[str], tmp_path: Path
) -> None:
    found = answers(commands, heavy, tmp_path)
    assert found == [[command, code, []] for command in commands]
    assert not [*tmp_path.iterdir()]


def test_a_package_that_was_imported_is_found(tmp_path: Path) -> None:
    (found,) = answers([["judge", "missing", "--judge", "rule"]], {"numpy", "torch"}, tmp_path)
    assert found[1:] == [2, ["numpy"]]


def test_a_start_with_everything_done_needs_no_model(finished_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run")
    command = ["run", str(finished_run.parent / "micro.yaml"), "--out", str(run)]
    assert answers([command], MODELS, tmp_path) == [[command, 0, []]]
