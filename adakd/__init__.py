"""Benchmark knowledge distillation of language models, with and without AdaKD.

    >>> import adakd
    >>> suite = adakd.load_suite("smoke")
    >>> adakd.run(suite, Path("runs/smoke"))  # -> runs/smoke/report.html

The parts can be used on their own: :class:`Objective` is the loss for any training loop.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adakd.adaptive import focus, indicator, temperature
    from adakd.bridges import Bridge, bridge
    from adakd.commands.bench import bench
    from adakd.commands.check import check_divergence
    from adakd.commands.compare import compare
    from adakd.commands.judge import judge
    from adakd.commands.merge import merge
    from adakd.commands.push import push
    from adakd.commands.run import run
    from adakd.config import Suite
    from adakd.config.loading import load_suite
    from adakd.divergences import divergence
    from adakd.errors import AdakdError
    from adakd.losses.objective import Loss, Objective, SupervisedObjective, next_token_labels
    from adakd.metrics import metric
    from adakd.planning import Cell, Plan, plan
    from adakd.policies import Policy, policy
    from adakd.registry import Spec
    from adakd.reporting import write_report
    from adakd.store import Store

_HOMES = {
    "adakd.adaptive": ("focus", "indicator", "temperature"),
    "adakd.bridges": ("Bridge", "bridge"),
    "adakd.commands.bench": ("bench",),
    "adakd.commands.check": ("check_divergence",),
    "adakd.config": ("Suite",),
    "adakd.config.loading": ("load_suite",),
    "adakd.divergences": ("divergence",),
    "adakd.errors": ("AdakdError",),
    "adakd.metrics": ("metric",),
    "adakd.planning": ("Cell", "Plan", "plan"),
    "adakd.policies": ("Policy", "policy"),
    "adakd.registry": ("Spec",),
    "adakd.reporting": ("write_report",),
    "adakd.store": ("Store",),
    "adakd.commands.compare": ("compare",),
    "adakd.commands.merge": ("merge",),
    "adakd.commands.push": ("push",),
    "adakd.commands.run": ("run",),
    "adakd.commands.judge": ("judge",),
    "adakd.losses.objective": (
        "Loss",
        "Objective",
        "SupervisedObjective",
        "next_token_labels",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AdakdError",
    "Bridge",
    "Cell",
    "Loss",
    "Objective",
    "Plan",
    "Policy",
    "Spec",
    "Store",
    "Suite",
    "SupervisedObjective",
    "bench",
    "bridge",
    "check_divergence",
    "compare",
    "divergence",
    "focus",
    "indicator",
    "judge",
    "load_suite",
    "merge",
    "metric",
    "next_token_labels",
    "plan",
    "policy",
    "push",
    "run",
    "temperature",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that planning a suite does not wait for torch."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'adakd' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)
