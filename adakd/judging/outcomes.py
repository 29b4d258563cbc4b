"""Combine the verdicts of both orders into the outcome of a match, for a judge or a jury."""

from collections import Counter
from collections.abc import Sequence

from adakd.config.judge import Outcome
from adakd.store.records import VerdictRecord


def outcome(orders: Sequence[VerdictRecord]) -> Outcome:
    """Combine the verdicts of both orders of a match into one outcome.

    Only orders that agree decide; a failed or missing order is a failure and never a tie. Of two
    ratings the higher one wins.
    """
    verdicts = [record.verdict for record in orders]
    if "identical" in verdicts:
        return "identical"
    if len(verdicts) < 2 or "failed" in verdicts:
        return "failed"
    if "rated" in verdicts:
        return _by_score(orders)
    if len(set(verdicts)) > 1:
        return "flip"
    agreed: dict[str, Outcome] = {"candidate": "win", "opponent": "loss", "tie": "tie"}
    return agreed[verdicts[0]]


def soft_points(orders: Sequence[VerdictRecord]) -> float | None:
    """Return the mean of P(candidate) + P(tie) / 2 over both orders; None without probabilities.

    Position bias cancels out in this mean, but not between two hard verdicts.
    """
    if len(orders) == 1 and orders[0].verdict == "identical":
        return 0.5
    known = [record.probabilities for record in orders if record.probabilities]
    if len(known) < 2:
        return None
    return sum(candidate + tie / 2 for candidate, _, tie in known) / len(known)


def combined(members: Sequence[Sequence[VerdictRecord]], judge: str) -> list[VerdictRecord]:
    """Return the verdicts of a jury on one match: the majority of its members in each order.

    A member whose verdict failed has no vote, and more than half of the members must vote. If no
    side has more than half of the votes, the jury has no preference: a tie.

    Args:
        members: the records of the match by each member of the jury.
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
    """Turn two ratings into two verdicts that agree; return other verdicts unchanged."""
    if not any(record.verdict == "rated" for record in orders):
        return orders
    votes = {"win": "candidate", "loss": "opponent", "tie": "tie", "failed": "failed"}
    vote = votes[outcome(orders)]
    return [record.model_copy(update={"verdict": vote, "score": None}) for record in orders]


def _majority(
    records: Sequence[VerdictRecord], jury: Sequence[object], judge: str
) -> VerdictRecord:
    votes = Counter[str](record.verdict for record in records if record.verdict != "failed")
    counted = ", ".join(f"{count} {name}" for name, count in votes.most_common())
    if 2 * votes.total() <= len(jury):
        counted = f"only {votes.total()} of {len(jury)} members have a vote"
    update = {
        "judge": judge,
        "verdict": _winner(votes, len(jury)),
        "reason": counted,
        "score": None,
        "probabilities": None,
        "seconds": sum(record.seconds for record in records),
        "prompt_tokens": None,
        "completion_tokens": None,
    }
    return records[0].model_copy(update=update)


def _winner(votes: Counter[str], jury: int) -> str:
    if 2 * votes.total() <= jury:
        return "failed"
    ((name, most),) = votes.most_common(1)
    return name if 2 * most > votes.total() else "tie"
