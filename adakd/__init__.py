"""Benchmark knowledge distillation of language models, with and without AdaKD.

    >>> import adakd
    >>> suite = adakd.load_suite("smoke")
    >>> adakd.run(suite, Path("runs/smoke"))  # -> runs/smoke/report.html

The parts serve on their own too: :class:`Objective` is the loss for anybody's training loop.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adakd.adaptive import adaptive, focus, indicator, temperature
    from adakd.benching import bench
    from adakd.checking import check_divergence
    from adakd.config import Suite
    from adakd.divergences import divergence
    from adakd.errors import AdakdError
    from adakd.loading import load_suite
    from adakd.planning import Cell, Plan, plan
    from adakd.policies import Policy, policy
    from adakd.registry import Spec
    from adakd.reporting import write_report
    from adakd.results import Store
    from adakd.running import run
    from adakd.training.objective import Loss, Objective, SupervisedObjective, next_token_labels
    from adakd.verdicts import judge

_HOMES = {
    "adakd.adaptive": ("adaptive", "focus", "indicator", "temperature"),
    "adakd.benching": ("bench",),
    "adakd.checking": ("check_divergence",),
    "adakd.config": ("Suite",),
    "adakd.loading": ("load_suite",),
    "adakd.divergences": ("divergence",),
    "adakd.errors": ("AdakdError",),
    "adakd.planning": ("Cell", "Plan", "plan"),
    "adakd.policies": ("Policy", "policy"),
    "adakd.registry": ("Spec",),
    "adakd.reporting": ("write_report",),
    "adakd.results": ("Store",),
    "adakd.running": ("run",),
    "adakd.verdicts": ("judge",),
    "adakd.training.objective": (
        "Loss",
        "Objective",
        "SupervisedObjective",
        "next_token_labels",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AdakdError",
    "Cell",
    "Loss",
    "Objective",
    "Plan",
    "Policy",
    "Spec",
    "Store",
    "Suite",
    "SupervisedObjective",
    "adaptive",
    "bench",
    "check_divergence",
    "divergence",
    "focus",
    "indicator",
    "judge",
    "load_suite",
    "next_token_labels",
    "plan",
    "policy",
    "run",
    "temperature",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that planning a suite does not wait for torch."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'adakd' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)
