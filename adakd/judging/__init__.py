"""Win rates: which of two answers a judge prefers, asked in both orders.

A judge is a file in ``judges/``; its ``kind`` names a backend. Importing this package imports
neither torch nor an HTTP client.
"""

from adakd.judging.chat import Chat
from adakd.judging.decision import Decision
from adakd.judging.files import Panel, load_judge, load_panel
from adakd.judging.judge import (
    Ask,
    Backend,
    ItemText,
    Judge,
    JudgeError,
    Question,
    Session,
    Tokens,
    Traits,
    Verdict,
    judge_backend,
)
from adakd.judging.pairs import AGAIN, ALL, REFERENCE, TWIN, Items, Subject
from adakd.judging.rule import Rule
from adakd.judging.run import Judged, Summary, check, judge_answers

__all__ = [
    "AGAIN",
    "ALL",
    "REFERENCE",
    "TWIN",
    "Ask",
    "Backend",
    "Chat",
    "Decision",
    "ItemText",
    "Items",
    "Judge",
    "JudgeError",
    "Judged",
    "Panel",
    "Question",
    "Rule",
    "Session",
    "Subject",
    "Summary",
    "Tokens",
    "Traits",
    "Verdict",
    "check",
    "judge_answers",
    "judge_backend",
    "load_judge",
    "load_panel",
]
