"""Judging: which of two answers a judge prefers, asked in both orders.

A judge is a file in ``judges/``; its ``kind`` names a backend. Importing this package imports
neither torch nor an HTTP client nor statistics; :mod:`adakd.judging.runner` asks.
"""

from adakd.judging.backends.in_process import InProcess
from adakd.judging.backends.openai import OpenAI
from adakd.judging.backends.rule import Rule
from adakd.judging.base import (
    Ask,
    Backend,
    ItemText,
    Judge,
    JudgeError,
    Outage,
    Question,
    Session,
    Tokens,
    Traits,
    Verdict,
    judge_backend,
)
from adakd.judging.comparisons import AGAIN, ALL, REFERENCE, Items, Subject
from adakd.judging.judge_files import Panel, load_judge, load_panel

__all__ = [
    "AGAIN",
    "ALL",
    "REFERENCE",
    "Ask",
    "Backend",
    "InProcess",
    "ItemText",
    "Items",
    "Judge",
    "JudgeError",
    "OpenAI",
    "Outage",
    "Panel",
    "Question",
    "Rule",
    "Session",
    "Subject",
    "Tokens",
    "Traits",
    "Verdict",
    "judge_backend",
    "load_judge",
    "load_panel",
]
