"""Suite -> plan: cells and jobs, each under a key of all that decides it. Needs no torch."""

from adakd.planning.cells import PLAIN, SEEDED, Cell, Job, Role, method_name
from adakd.planning.keys import timing_key
from adakd.planning.plans import METHOD_VERSION, Plan, plan, total_steps, training_of

__all__ = [
    "METHOD_VERSION",
    "PLAIN",
    "SEEDED",
    "Cell",
    "Job",
    "Plan",
    "Role",
    "method_name",
    "plan",
    "timing_key",
    "total_steps",
    "training_of",
]
