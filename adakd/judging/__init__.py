"""Win rates: which of two answers a judge prefers, asked in both orders.

A judge is a file in ``judges/``; its ``kind`` names a backend. Importing this package imports
neither torch nor an HTTP client.
"""

from adakd.judging.chat import Chat
from adakd.judging.judge import (
    Ask,
    Backend,
    ItemText,
    Judge,
    JudgeError,
    Question,
    Verdict,
    judge_backend,
    load_judge,
)
from adakd.judging.pairs import REFERENCE, TWIN, Items
from adakd.judging.rule import Rule
from adakd.judging.run import Summary, check, judge_answers

__all__ = [
    "REFERENCE",
    "TWIN",
    "Ask",
    "Backend",
    "Chat",
    "ItemText",
    "Items",
    "Judge",
    "JudgeError",
    "Question",
    "Rule",
    "Summary",
    "Verdict",
    "check",
    "judge_answers",
    "judge_backend",
    "load_judge",
]
