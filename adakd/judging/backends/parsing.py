"""Parse the replies of chat judges, strictly: an unclear reply is a failure."""

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
"""The least total probability of the labels; with less, the model was not about to choose."""
_LONGEST = 20_000
"""The most characters stored of a reason; a server may ignore the length limit."""
_AROUND = " \t\r\n\"'`:{},"
"""Characters that may share a token with a label."""
_GAP = r"[\s*_`\"']*"
"""Characters that may occur between the words of a quoted example, or around them."""
_MOST_MASS = 1.01
"""The most total probability of distinct tokens, with a little for rounding."""
_THOUGHTS = "think|thinking|thought|reasoning"
"""Tags around a model's reasoning."""
_OPENING = re.compile(rf"(?:\A|\n)[ \t]*(?:<(?:{_THOUGHTS})>|◁think▷)")
"""Where reasoning begins: at the start of a line. Elsewhere a judge is speaking of the tag."""
_CLOSING = re.compile(rf"</(?:{_THOUGHTS})>|◁/think▷")
_SENTENCE_ENDS = (".", "!", "?", "…", "]", ")", "。")
_QUOTES = ('"', "'", "`")
_NEAR = 80
"""The characters of a line on either side of a tag that tell its use."""
_UNSEEN = re.compile("[\u200b-\u200f\u2060\ufeff]")
"""Characters without width, which some models write around a label."""
_END_TOKEN = re.compile(r"\s*(?:<\|\w+\|>|</s>|<\w+_of_turn>)\s*\Z")
"""The token that ends a reply, from a server that does not take it off."""
_FENCED = re.compile(r"```(?:json)?\s*\n(.*)\n\s*```", re.DOTALL | re.IGNORECASE)


class _Likely(BaseModel):
    token: str
    logprob: float


class _Token(_Likely):
    top_logprobs: Any = None
    """Validated for one token only; a reply may have hundreds."""


class _Logprobs(BaseModel):
    content: list[_Token]


_TOP_TOKENS = TypeAdapter(list[_Likely])


class ReplyParser:
    """Parser of one judge's replies.

    Args:
        asks: whether the judge compares or rates.
        labels: for a pair: first answer better, second answer better, tie.
        scale: for a rating: the lowest and the highest score.
        pattern: of a verdict in a text; the group is its label or the score.
        prompt: rendered with empty texts; its own examples of verdicts do not count.
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
        """The JSON schema of a reply; the reason comes first, so that it is written first."""
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
        """Return the verdict of a text: its last one, which must be a known label.

        If the reply was cut off, or if the item's texts contain verdicts that the judge may be
        repeating, the reply must end in its verdict.

        Args:
            reply: the whole reply.
            cut: why it was cut off; None if it is complete.
            texts: the texts in the prompt that are not the judge's own.
        """
        words = _without_thoughts(reply, cut)
        if not words:
            return Verdict("failed", _nothing(reply, cut))
        stripped = self._quotes.sub(" ", words) if self._quotes else words
        found = deque(self._pattern.finditer(stripped), maxlen=1)
        ends = bool(found) and not re.search(r"\w", stripped[found[-1].end() :])
        if cut and not ends:
            return Verdict("failed", f"{cut} before the verdict: {words}")
        if not found:
            return Verdict("failed", f"no verdict: {words}")
        if not ends and any(self._pattern.search(text) for text in texts):
            why = "a shown text has a verdict in it, and the reply does not end in its own"
            return Verdict("failed", f"{why}: {words}")
        return self._meant(found[-1].group(1) or "", words)

    def from_json(self, reply: str, cut: str | None = None, logprobs: object = None) -> Verdict:
        """Return the verdict of a JSON object with a verdict; all else fails.

        The object may have other fields, and stand in a code fence; a whole one counts even if
        the server was cut off after it, such as in endless whitespace.

        Args:
            reply: the whole reply.
            cut: why it was cut off; None if it is complete.
            logprobs: of the reply's tokens, as sent by the server.
        """
        # a reason may speak of the tags of reasoning: they count only before the object
        words = reply.strip() if reply.lstrip().startswith("{") else _without_thoughts(reply, cut)
        words = _END_TOKEN.sub("", words)
        if not words:
            return Verdict("failed", _nothing(reply, cut))
        fenced = _FENCED.fullmatch(words)
        try:
            content = json.loads(
                fenced[1] if fenced else words, object_pairs_hook=_once, strict=False
            )
        except (ValueError, RecursionError):
            why = f"{cut} before the verdict" if cut else "no JSON object"
            return Verdict("failed", f"{why}: {words}")
        if not isinstance(content, dict) or self._field not in content:
            return Verdict("failed", f"no object with the field {self._field}: {words}")
        reason, value = content.get("reason"), content[self._field]
        if type(value) is not (int if self._rates else str):
            return Verdict("failed", f"{self._field} is of the wrong type: {words}")
        reason = reason if isinstance(reason, str) else words
        verdict = self._meant(str(value), reason)
        if verdict.choice == "failed" or self._rates:
            return verdict
        return Verdict(verdict.choice, reason, probabilities=self._probabilities(logprobs))

    def follows_schema(self, reply: str) -> bool:
        """Tell whether a reply is an object of the schema's fields and of no others."""
        try:
            content = json.loads(reply, object_pairs_hook=_once)
        except (ValueError, RecursionError):
            return False
        fields = {"reason", self._field}
        is_object = isinstance(content, dict) and content.keys() == fields
        return is_object and isinstance(content["reason"], str)

    def likely(self, logprobs: object) -> dict[str, float]:
        """Return the most likely tokens at the start of the verdict, with log-probabilities.

        None if they are not given, or cannot be log-probabilities: one is above 0 or not a
        number, or their probabilities add up to more than 1.
        """
        try:
            tokens = _Logprobs.model_validate(logprobs).content
            at = _value_at(tokens, self._field)
            top = _TOP_TOKENS.validate_python(at.top_logprobs or []) if at else []
        except ValidationError:
            return {}
        # the sampled token may not be among them
        found = {each.token: each.logprob for each in [*([at] if at and top else []), *top]}
        if not all(logprob <= _MOST_MASS - 1 for logprob in found.values()):  # nor nan
            return {}
        return found if sum(map(math.exp, found.values())) <= _MOST_MASS else {}

    @property
    def _rates(self) -> bool:
        return self._asks == "rating"

    def _meant(self, label: str, words: str) -> Verdict:
        label = _UNSEEN.sub("", label).strip()
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
        if total < _LEAST_MASS:
            return None
        first, second, tie = (share / total for share in shares.values())
        return first, second, tie


def kept(text: str) -> str:
    """Return a text that can be stored: of limited length, without lone surrogates."""
    if len(text) > _LONGEST:
        half = _LONGEST // 2
        text = f"{text[:half]} [... {len(text) - _LONGEST} characters ...] {text[-half:]}"
    return text.encode(errors="replace").decode()


def _without_thoughts(reply: str, cut: str | None) -> str:
    """Remove the reasoning of a model, if the server does not.

    It stands between tags, of which the opening one begins a line, or ends with a closing tag
    whose opening one was in the prompt. A tag inside a sentence is one that the judge speaks of.

    Args:
        reply: the whole reply.
        cut: why it was cut off; None if it is complete.
    """
    before, opened = "", _OPENING.search(reply)
    if opened is None:
        ends = (end for end, ends_sentence in _closings(reply) if ends_sentence)
        return reply[max(ends, default=0) :].strip()
    while opened:
        before, rest = before + reply[: opened.start()], reply[opened.end() :]
        closed = next((end for end, _ in _closings(rest)), None)
        if closed is None:
            # the first words of a reply are reasoning that never ended, later ones a quote
            lost = cut or not before.strip()
            return before.strip() if lost else (before + reply[opened.start() :]).strip()
        reply = rest[closed:]
        opened = _OPENING.search(reply)
    return (before + reply).strip()


def _nothing(reply: str, cut: str | None) -> str:
    """Tell why nothing of a reply is left without its reasoning."""
    if cut:
        return f"{cut} while thinking"
    return f"an empty reply behind reasoning: {reply}" if reply.strip() else "an empty reply"


def _closings(text: str) -> Iterator[tuple[int, bool]]:
    """Yield the ends of closing tags without quotes, and whether they end a line or sentence."""
    for tag in _CLOSING.finditer(text):
        start, end = tag.span()
        before = text[max(start - _NEAR, 0) : start].rpartition("\n")[2].rstrip()
        after = text[end : end + _NEAR].partition("\n")[0].strip()
        if not (before.endswith(_QUOTES) and after.startswith(_QUOTES)):
            yield tag.end(), not before or not after or before.endswith(_SENTENCE_ENDS)


def _examples(pattern: re.Pattern[str], prompt: str) -> Iterator[str]:
    """Yield a prompt's examples of verdicts: ``[[C]] if it is a tie``, ``[[A]], [[B]] or [[C]]``.

    A verdict followed by nothing is no example: a genuine reply ends like that.
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
    """Return a pattern for a quoted example that tolerates other whitespace and emphasis."""
    return _GAP.join(map(re.escape, re.findall(r"\w+|[^\w\s*_`\"']+", quote)))


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object, rejecting duplicate fields: of two verdicts neither counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a field is given twice")
    return found


def _value_at(tokens: Sequence[_Token], field: str) -> _Token | None:
    """Return the token in which the value of the object's last field begins.

    No string inside the object can contain the key in this form: its quotes would be escaped.
    """
    joined = "".join(token.token for token in tokens)
    keys = deque(re.finditer(rf'"{field}"\s*:\s*"', joined), maxlen=1)
    if not keys:
        return None
    ends = accumulate(len(token.token) for token in tokens)
    return next((each for each, end in zip(tokens, ends, strict=True) if end > keys[0].end()), None)


def _begun(token: str, labels: Sequence[str]) -> str | None:
    """Return the label that a token equals or begins, if it is unambiguous."""
    word = token.strip(_AROUND)
    if word in labels:
        return word
    begun = [label for label in labels if word and label.startswith(word)]
    return begun[0] if len(begun) == 1 else None
