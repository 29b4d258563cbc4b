"""The protocol of a metric, and the registry that names metrics."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from adakd.registry import Registry

M = TypeVar("M", bound=Callable[..., float | None])


class Metric(Protocol):
    """A function from an answer and its references to the value of one item.

    Registered with ``@metric("name", title=..., scale=..., higher_is_better=...)``; its
    keyword-only parameters are its settings. A score is the mean over the items that have a value.
    """

    def __call__(self, prediction: str, references: Sequence[str], /) -> float | None:
        """Return the value of one item; None if it cannot be scored."""
        ...


@dataclass(frozen=True)
class Display:
    """How tables show the values of a metric."""

    title: str
    scale: float = 1.0
    """Stored values are multiplied by this: 100 for shares."""
    higher_is_better: bool = True


class MetricRegistry(Registry[Metric]):
    """Metrics by name, each with its title, scale and direction.

    >>> metric = MetricRegistry()
    >>> @metric("copies", title="copies", scale=100)
    ... def copies(prediction, references):
    ...     return float(prediction in references)
    """

    def __init__(self) -> None:
        super().__init__("metric")
        self._displays: dict[str, Display] = {}
        self._sees: dict[str, Callable[[str], bool]] = {}

    def __call__(
        self,
        name: str,
        *,
        title: str = "",
        scale: float = 1.0,
        higher_is_better: bool = True,
        sees: Callable[[str], bool] | None = None,
    ) -> Callable[[M], M]:
        """Return a decorator that registers a metric; a taken name is an error.

        Args:
            name: in suites and records.
            title: in tables and sentences; the name if not given.
            scale: tables show the stored values multiplied by this, such as 100 for shares.
            higher_is_better: the direction of improvement.
            sees: whether a text has any token for the metric; every text has if not given.
        """
        register = super().__call__(name)

        def add(function: M) -> M:
            registered = register(function)
            self._displays[name] = Display(title or name, scale, higher_is_better)
            if sees is not None:
                self._sees[name] = sees
            return registered

        return add

    def display(self, name: str) -> Display:
        """Return how the values of a registered metric are shown.

        Raises:
            UnknownName: no metric has this name.
        """
        self[name]  # an unknown name is an error that lists the known ones
        return self._displays[name]

    def unseen(self, name: str, references: Iterable[Sequence[str]]) -> int:
        """Return the number of items whose references have no token for a metric.

        Such an item has the value 0, whatever its answer.
        """
        self[name]  # an unknown name is an error that lists the known ones
        sees = self._sees.get(name)
        if sees is None:
            return 0
        return sum(bool(of_item) and not any(map(sees, of_item)) for of_item in references)


metric = MetricRegistry()
