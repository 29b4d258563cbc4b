"""What a chat judge's reply decides: read strictly, so that what is unclear is a failure."""

import json
import math
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from adakd.config.judge import Asks
from adakd.judging.base import Preference, Verdict

CHOICES: tuple[Preference, ...] = ("first", "second", "tie")
_LEAST_MASS = 0.5
"""What the labels must have of the probability; with less the model was not about to choose."""
_LONGEST = 20_000
"""Characters of a reason that are kept; a server may ignore the limit of a reply."""
_AROUND = " \t\r\n\"'`:{},"
"""What may be glued to a label in one token."""
_GAP = r"[\s*_`\"']*"
"""What may stand between the words of a quote, or around them."""


class _Likely(BaseModel):
    token: str
    logprob: float


class _Token(_Likely):
    top_logprobs: Any = None
    """Checked of one token only; a reply may have hundreds."""


class _Logprobs(BaseModel):
    content: list[_Token]


_LIKELIEST = TypeAdapter(list[_Likely])


class ReplyParser:
    """Reads the replies of one judge.

    Args:
        asks: what is asked.
        labels: of a pair: first answer better, second answer better, tie.
        scale: of a rating: the lowest and the highest score.
        pattern: what a verdict looks like in a text; the group is its label or the score.
        prompt: the prompt around empty texts: its own examples are no verdicts.
    """

    def __init__(
        self,
        asks: Asks,
        labels: tuple[str, str, str],
        scale: tuple[int, int],
        pattern: str,
        prompt: str,
    ) -> None:
        self._asks = asks
        self._labels = labels
        self._scale = scale
        self._pattern = re.compile(pattern)
        quotes = sorted(set(_examples(self._pattern, prompt)), key=len, reverse=True)
        self._quotes = re.compile("|".join(map(_loosely, quotes))) if quotes else None
        self._field = "verdict" if asks == "pair" else "score"

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of a reply; the reason comes first, to be thought of first."""
        low, high = self._scale
        value: dict[str, Any] = {"type": "string", "enum": list(self._labels)}
        if self._asks == "rating":
            value = {"type": "integer", "enum": list(range(low, high + 1))}
        return {
            "type": "object",
            "properties": {"reason": {"type": "string"}, self._field: value},
            "required": ["reason", self._field],
            "additionalProperties": False,
        }

    def from_text(self, reply: str, cut: str | None = None, texts: Iterable[str] = ()) -> Verdict:
        """Return what a text decides: its last verdict counts, and only one from the menu.

        Where the reply was cut off, or where the item's own texts speak verdicts that the judge
        may be repeating, the reply must end in its verdict.

        Args:
            reply: all of it.
            cut: why it was cut off; None if it is complete.
            texts: what others wrote of what the judge was shown.
        """
        words = _without_thoughts(reply)
        if not words:
            return Verdict("failed", f"{cut} while thinking" if cut else "an empty reply")
        spoken = self._quotes.sub(" ", words) if self._quotes else words
        found = deque(self._pattern.finditer(spoken), maxlen=1)
        ends = bool(found) and not re.search(r"\w", spoken[found[-1].end() :])
        if cut and not ends:
            return Verdict("failed", f"{cut} before the verdict: {words}")
        if not found:
            return Verdict("failed", f"no verdict: {words}")
        if not ends and any(self._pattern.search(text) for text in texts):
            why = "a shown text has a verdict in it, and the reply does not end in its own"
            return Verdict("failed", f"{why}: {words}")
        return self._meant(found[-1].group(1) or "", words)

    def from_json(self, reply: str, cut: str | None = None, logprobs: object = None) -> Verdict:
        """Return what a JSON object of reason and verdict decides, and nothing else does.

        Args:
            reply: all of it.
            cut: why it was cut off; None if it is complete.
            logprobs: of the reply's tokens, as the server gives them.
        """
        words = _without_thoughts(reply)
        if cut or not words:
            return Verdict(
                "failed", f"{cut} before the verdict: {words}" if cut else "an empty reply"
            )
        try:
            said = json.loads(words, object_pairs_hook=_once)
        except (ValueError, RecursionError):
            return Verdict("failed", f"no JSON object: {words}")
        if not isinstance(said, dict) or said.keys() != {"reason", self._field}:
            return Verdict("failed", f"no object of reason and {self._field} alone: {words}")
        reason, value = said["reason"], said[self._field]
        if not isinstance(reason, str) or type(value) is not (int if self._rates else str):
            return Verdict("failed", f"reason or {self._field} is of the wrong type: {words}")
        verdict = self._meant(str(value), reason)
        if verdict.choice == "failed" or self._rates:
            return verdict
        return Verdict(verdict.choice, reason, probabilities=self._probabilities(logprobs))

    def likely(self, logprobs: object) -> dict[str, float]:
        """Return the likeliest tokens where the verdict begins; none where that is not told."""
        try:
            tokens = _Logprobs.model_validate(logprobs).content
            at = _value_at(tokens, self._field)
            top = _LIKELIEST.validate_python(at.top_logprobs or []) if at else []
        except ValidationError:
            return {}
        # the one that was chosen may be none of the likeliest
        return {each.token: min(each.logprob, 0) for each in [*([at] if at and top else []), *top]}

    @property
    def _rates(self) -> bool:
        return self._asks == "rating"

    def _meant(self, label: str, words: str) -> Verdict:
        label = label.strip()
        if self._rates:
            low, high = self._scale
            if re.fullmatch("[+-]?[0-9]{1,9}", label) and low <= int(label) <= high:
                return Verdict("rated", words, score=float(label))
            why = f"score {label!r} is no whole number from {low} to {high}"
            return Verdict("failed", f"{why}: {words}")
        if label in self._labels:
            return Verdict(CHOICES[self._labels.index(label)], words)
        why = f"verdict {label!r} is none of {', '.join(self._labels)}"
        return Verdict("failed", f"{why}: {words}")

    def _probabilities(self, logprobs: object) -> tuple[float, float, float] | None:
        shares = dict.fromkeys(self._labels, 0.0)
        for token, logprob in self.likely(logprobs).items():
            if label := _begun(token, self._labels):
                shares[label] += math.exp(logprob)
        total = sum(shares.values())
        if not total >= _LEAST_MASS:  # nor where a server sends nan
            return None
        first, second, tie = (share / total for share in shares.values())
        return first, second, tie


def kept(text: str) -> str:
    """Return a text that can be stored: not endless, no half of a surrogate pair."""
    if len(text) > _LONGEST:
        half = _LONGEST // 2
        text = f"{text[:half]} [... {len(text) - _LONGEST} characters ...] {text[-half:]}"
    return text.encode(errors="replace").decode()


def _without_thoughts(reply: str) -> str:
    """Leave out what a reasoning model thought, where the server does not."""
    after = reply.rpartition("</think>")[2]
    return after.partition("<think>")[0].strip()


def _examples(pattern: re.Pattern[str], prompt: str) -> Iterator[str]:
    """Yield how a prompt speaks of verdicts: ``[[C]] if it is a tie``, ``[[A]], [[B]] or [[C]]``.

    One with nothing behind it is no example: so does an honest reply end.
    """
    for sentence in re.split(r"[.;!?\n]", prompt):
        found = list(pattern.finditer(sentence))
        if len(found) > 1:
            yield sentence[found[0].start() :]
        starts = [*(each.start() for each in found), len(sentence)]
        for verdict, end in zip(found, starts[1:], strict=True):
            clause = re.split("[,:]", sentence[verdict.end() : end], maxsplit=1)[0]
            if re.search(r"\w", clause):
                yield verdict[0] + clause


def _loosely(quote: str) -> str:
    """Return a pattern of a quote that bears other spaces and emphasis."""
    return _GAP.join(map(re.escape, re.findall(r"\w+|[^\w\s*_`\"']+", quote)))


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object whose fields are given once: of two verdicts none counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a field is given twice")
    return found


def _value_at(tokens: Sequence[_Token], field: str) -> _Token | None:
    """Return the token in which the value of the object's last field begins.

    No string inside the object can hold the key in this form: its quotes would be escaped.
    """
    spoken = "".join(token.token for token in tokens)
    keys = deque(re.finditer(rf'"{field}"\s*:\s*"', spoken), maxlen=1)
    if not keys:
        return None
    ends = accumulate(len(token.token) for token in tokens)
    return next((each for each, end in zip(tokens, ends, strict=True) if end > keys[0].end()), None)


def _begun(token: str, labels: Sequence[str]) -> str | None:
    """Return the label that a token is or begins, if that is one label alone."""
    word = token.strip(_AROUND)
    if word in labels:
        return word
    begun = [label for label in labels if word and label.startswith(word)]
    return begun[0] if len(begun) == 1 else None
