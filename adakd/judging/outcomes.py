"""Verdicts of both orders -> what became of a pair, for one judge and for a jury of several."""

from collections import Counter
from collections.abc import Sequence

from adakd.config.judge import Outcome
from adakd.store.records import VerdictRecord


def outcome(orders: Sequence[VerdictRecord]) -> Outcome:
    """Combine the verdicts of both orders of a pair into one outcome.

    Only orders that agree decide; a failed or missing order is a failure and never a tie. Of
    two ratings the higher one wins.
    """
    said = [record.verdict for record in orders]
    if "identical" in said:
        return "identical"
    if len(said) < 2 or "failed" in said:
        return "failed"
    if "rated" in said:
        return _by_score(orders)
    if len(set(said)) > 1:
        return "flip"
    agreed: dict[str, Outcome] = {"candidate": "win", "opponent": "loss", "tie": "tie"}
    return agreed[said[0]]


def soft_points(orders: Sequence[VerdictRecord]) -> float | None:
    """Return P(candidate) + P(tie) / 2, the mean of both orders; None without probabilities.

    A judge's liking for a place cancels out in this mean, which a change of mind between two
    hard verdicts cannot do.
    """
    if len(orders) == 1 and orders[0].verdict == "identical":
        return 0.5
    known = [record.probabilities for record in orders if record.probabilities]
    if len(known) < 2:
        return None
    return sum(candidate + tie / 2 for candidate, _, tie in known) / len(known)


def combined(members: Sequence[Sequence[VerdictRecord]], judge: str) -> list[VerdictRecord]:
    """Return what a jury said of one pair: in each order, what most of its members said.

    A member whose verdict failed has no vote; a jury needs the votes of more than half.
    Where no side has more than half of the votes the jury has no preference: a tie.

    Args:
        members: of each member of the jury, its records of the pair.
        judge: the jury's key.
    """
    voting = [_as_preferences(orders) for orders in members]
    sides = sorted({r.candidate_first for orders in voting for r in orders}, reverse=True)
    return [
        _majority(
            [r for orders in voting for r in orders if r.candidate_first == side], voting, judge
        )
        for side in sides
    ]


def _by_score(orders: Sequence[VerdictRecord]) -> Outcome:
    """Compare the ratings of candidate and opponent."""
    rated = {record.candidate_first: record.score for record in orders}
    mine, other = rated.get(True), rated.get(False)
    if mine is None or other is None:
        return "failed"
    return "win" if mine > other else "loss" if mine < other else "tie"


def _as_preferences(orders: Sequence[VerdictRecord]) -> Sequence[VerdictRecord]:
    """Return two ratings as two verdicts that agree, and verdicts as they are."""
    if not any(record.verdict == "rated" for record in orders):
        return orders
    votes = {"win": "candidate", "loss": "opponent", "tie": "tie", "failed": "failed"}
    vote = votes[outcome(orders)]
    return [record.model_copy(update={"verdict": vote, "score": None}) for record in orders]


def _majority(said: Sequence[VerdictRecord], jury: Sequence[object], judge: str) -> VerdictRecord:
    votes = Counter[str](record.verdict for record in said if record.verdict != "failed")
    counted = ", ".join(f"{count} {name}" for name, count in votes.most_common())
    if 2 * votes.total() <= len(jury):
        counted = f"only {votes.total()} of {len(jury)} members have a vote"
    update = {
        "judge": judge,
        "verdict": _winner(votes, len(jury)),
        "reason": counted,
        "score": None,
        "probabilities": None,
        "seconds": sum(record.seconds for record in said),
        "prompt_tokens": None,
        "completion_tokens": None,
    }
    return said[0].model_copy(update=update)


def _winner(votes: Counter[str], jury: int) -> str:
    if 2 * votes.total() <= jury:
        return "failed"
    ((name, most),) = votes.most_common(1)
    return name if 2 * most > votes.total() else "tie"
