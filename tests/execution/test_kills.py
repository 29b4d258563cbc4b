"""A run that is killed, or whose power is cut, ends with the records of an undisturbed one."""

import subprocess
import sys
from pathlib import Path

import kills
import pytest


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="forks, and reads /proc")
def test_a_few_kills_and_power_cuts() -> None:
    """The short version of what CONTRIBUTING asks for."""
    done = subprocess.run(
        [sys.executable, kills.__file__, "--kills", "2", "--cuts", "2", "--seed", "5"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kills: " in done.stdout
    assert "power cuts: " in done.stdout
