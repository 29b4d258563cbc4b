"""Suite -> plan: cells and jobs, each under a key of all that decides it. Needs no torch."""

from adakd.planning.assignments import Assignment, ResolvedAssignment, total_steps
from adakd.planning.cells import PLAIN, SEEDED, Cell, Job, Role, method_name
from adakd.planning.keys import timing_key
from adakd.planning.plans import METHOD_VERSION, Plan, plan

__all__ = [
    "METHOD_VERSION",
    "PLAIN",
    "SEEDED",
    "Assignment",
    "Cell",
    "Job",
    "Plan",
    "ResolvedAssignment",
    "Role",
    "method_name",
    "plan",
    "timing_key",
    "total_steps",
]
