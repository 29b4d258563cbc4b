"""Loaded into the benchmarks' pytest: tells the command line what begins and what has ended."""

import json
from typing import Any

MARK = "\x1eadakd-bench "
"""Begins a line that is meant for the command line; all others are chatter."""


def _tell(**event: object) -> None:
    print(f"\n{MARK}{json.dumps(event)}", flush=True)


def pytest_collection_finish(session: Any) -> None:
    """Tell how many cases there are."""
    _tell(total=len(session.items))


def pytest_runtest_logstart(nodeid: str) -> None:
    """Tell which case begins."""
    _tell(begins=nodeid)


def pytest_runtest_logreport(report: Any) -> None:
    """Tell of an error, wherever in the case it is."""
    if report.failed:
        _tell(failed=report.nodeid, why=str(report.longrepr))


def pytest_runtest_logfinish(nodeid: str) -> None:
    """Tell that a case has ended."""
    _tell(ends=nodeid)
