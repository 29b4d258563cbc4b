"""The files of docs/cluster: scripts for Slurm, and descriptions of clusters."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from adakd.store import Store

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "cluster"
ADAKD = f"""#!/bin/bash
exec {sys.executable} -c 'from adakd.cli import main; main()' "$@"
"""
SBATCH = """#!/bin/bash
# Does the jobs at once, those of an array one after another; prints a number.
tasks=1
while [ $# -gt 1 ]; do
  case $1 in --array=*) tasks=$(seq ${1#--array=1-});; esac
  shift
done
echo "$1" >> "$JOBS"
for task in $tasks; do SLURM_ARRAY_TASK_ID=$task sh -c "$1" >&2 || exit 1; done
echo 7
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put `adakd` and a stand-in for Slurm on the path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, content in (("adakd", ADAKD), ("sbatch", SBATCH)):
        (folder / name).write_text(content)
        (folder / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.setenv("JOBS", str(tmp_path / "jobs"))
    return folder


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="a script of bash")
def test_an_array_does_all_units(programs: Path, tmp_path: Path, write_suite) -> None:
    changes = {
        "judges": [],
        "timing.pairs": 0,
        "controls.sft": False,
        "divergences": ["reverse_kl"],
    }
    changes |= {"evaluation.sampling": {"max_new_tokens": 4}, "training.steps": 1}
    file, run = write_suite(tmp_path, changes), tmp_path / "run"
    script = FOLDER / "array.sh"
    done = subprocess.run(
        ["bash", str(script), str(file), str(run)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = (tmp_path / "jobs").read_text()
    kinds = [line for line in jobs.splitlines() if "exec" in line]
    assert len(kinds) == 5  # teacher, teaching, student, score; and the report
    assert "adakd run" in kinds[-1]
    assert (run / "report.html").exists()
    assert not (run / "units").exists()
    assert Store(run).exists


@pytest.mark.parametrize("name", ["array.sh", "ray.sbatch"])
@pytest.mark.skipif(shutil.which("bash") is None, reason="scripts of bash")
def test_a_script_has_no_mistake_of_syntax(name: str) -> None:
    subprocess.run(["bash", "-n", str(FOLDER / name)], check=True)


@pytest.mark.parametrize("name", ["kuberay.yaml", "ray-up.yaml"])
def test_a_description_of_a_cluster_starts_adakd(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert isinstance(yaml.safe_load(text), dict)
    assert "adakd" in text


def test_all_files_are_on_the_page() -> None:
    page = (FOLDER.parent / "cluster.md").read_text()
    assert all(f"cluster/{file.name}" in page for file in FOLDER.iterdir())
