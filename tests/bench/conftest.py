"""Fixtures that all benchmarks share."""

from collections.abc import Iterator

import pytest
from measuring import one_thread


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield
