"""Settings of suites and judges: frozen pydantic models that reject unknown fields.

Nothing here imports torch, so mistakes in a suite are reported at once.
"""

from adakd.config.allocation import Needs, Resources
from adakd.config.base import Config
from adakd.config.scoring import ChoiceTask, Evaluation, Sampling, Task
from adakd.config.sources import Columns, Data, Generated, Hub, Jsonl, Selection, Source
from adakd.config.students import (
    Elsewhere,
    Lora,
    Pretrained,
    Pruned,
    Scratch,
    Student,
    Teacher,
    Training,
)
from adakd.config.suite import Baseline, Controls, Diagnostics, LossTerms, Published, Suite, Timing

__all__ = [
    "Baseline",
    "ChoiceTask",
    "Columns",
    "Config",
    "Controls",
    "Data",
    "Diagnostics",
    "Elsewhere",
    "Evaluation",
    "Generated",
    "Hub",
    "Jsonl",
    "Lora",
    "LossTerms",
    "Needs",
    "Pretrained",
    "Pruned",
    "Published",
    "Resources",
    "Sampling",
    "Scratch",
    "Selection",
    "Source",
    "Student",
    "Suite",
    "Task",
    "Teacher",
    "Timing",
    "Training",
]
