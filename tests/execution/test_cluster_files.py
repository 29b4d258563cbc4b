"""The files of docs/cluster: scripts for Slurm, and descriptions of clusters."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "cluster"
ADAKD = """#!/bin/bash
echo "$@" >> "$DONE"
[ "$*" != "work a run" ] || printf '%s\\n' \\
  'k1 teacher  - train teacher' 'k2 teaching k1 read with the teacher' \\
  'k3 student  k1,k2 train reverse_kl, seed 1' 'k4 student  k1,k2 train reverse_kl, seed 2' \\
  'k5 score    k3 score reverse_kl, seed 1'
"""
SBATCH = """#!/bin/bash
# Does a job at once, the tasks of an array one after another; prints its number.
tasks=1
while [ $# -gt 1 ]; do
  case $1 in
    --array=*) tasks=$(seq ${1#--array=1-});;
    --dependency=*) echo "after ${1#--dependency=afterany:}" >> "$DONE";;
  esac
  shift
done
for task in $tasks; do SLURM_ARRAY_TASK_ID=$task sh -c "$1" >&2 || exit 1; done
wc -l < "$DONE"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="a script of bash")
def test_an_array_does_each_unit_after_those_that_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With stand-ins for adakd and Slurm, and a folder with a blank in its name."""
    (tmp_path / "bin").mkdir()
    for name, content in (("adakd", ADAKD), ("sbatch", SBATCH)):
        (tmp_path / "bin" / name).write_text(content)
        (tmp_path / "bin" / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.setenv("DONE", str(tmp_path / "done"))
    subprocess.run(["bash", str(FOLDER / "array.sh"), "smoke", "a run"], check=True)
    assert (tmp_path / "done").read_text().splitlines() == [
        "run smoke --out a run --prepare",
        "work a run",
        "work a run --unit k1",
        "after 3",
        "work a run --unit k2",
        "after 5",
        "work a run --unit k3",
        "work a run --unit k4",
        "after 8",
        "work a run --unit k5",
        "after 10",
        "run smoke --out a run",
    ]


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
