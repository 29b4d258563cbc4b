"""A pytest plug-in: each failure is written as it comes, and a run ends in order at its limit.

``ADAKD_GPU_FAILURES`` names the file, ``ADAKD_GPU_TEST_SECONDS`` the limit.
"""

import os
import time
from pathlib import Path
from typing import Any

import pytest


class AtOnce:
    """Follows the tests in the process that the others report to."""

    def __init__(self, config: pytest.Config) -> None:
        seconds = float(os.environ["ADAKD_GPU_TEST_SECONDS"])
        self.config, self.end = config, time.monotonic() + seconds
        self.file = Path(os.environ["ADAKD_GPU_FAILURES"])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            with self.file.open("a", encoding="utf-8") as stream:
                stream.write(f"{report.nodeid} ({report.when})\n{report.longreprtext}\n\n")
        if time.monotonic() > self.end:
            # pytest-xdist's scheduler, which heeds this between two reports
            scheduler: Any = self.config.pluginmanager.getplugin("dsession")
            if scheduler is not None:
                scheduler.shouldstop = "the time of this stage is over"


def pytest_configure(config: pytest.Config) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        config.pluginmanager.register(AtOnce(config))
