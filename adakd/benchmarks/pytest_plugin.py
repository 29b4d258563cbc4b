"""A pytest plug-in that reports the progress of the benchmarks to the command line."""

import json
from typing import Any

MARK = "\x1eadakd-bench "
"""Begins a line for the command line; all others are output of the cases."""


def _report(**event: object) -> None:
    print(f"\n{MARK}{json.dumps(event)}", flush=True)


def pytest_collection_finish(session: Any) -> None:
    """Report the number of cases."""
    _report(total=len(session.items))


def pytest_runtest_logstart(nodeid: str) -> None:
    """Report the case that begins."""
    _report(begins=nodeid)


def pytest_runtest_logreport(report: Any) -> None:
    """Report an error in setup, call or teardown."""
    if report.failed:
        _report(failed=report.nodeid, why=str(report.longrepr))


def pytest_runtest_logfinish(nodeid: str) -> None:
    """Report the end of a case."""
    _report(ends=nodeid)
