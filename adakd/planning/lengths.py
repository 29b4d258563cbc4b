"""How many rows the sources of a suite have and how long they are in tokens: estimates, no torch.

Characters are counted; a sample tells how many of them a token has. Of a set on the hub nothing is
read: a few that shipped suites name are known, and rows are as long as Dolly's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from adakd.config import Scratch, Source, Suite
from adakd.data import prompt_of, read_rows
from adakd.data.files import is_local
from adakd.data.instructions import Row
from adakd.planning.architectures import tokenizer_file

CHARACTERS = 4.0
"""Of a token, where no tokenizer is at hand."""
SAMPLE = 300
"""Rows that tell the characters of a token."""
_PROMPT, _RESPONSE = 77, 83
"""Mean tokens of a row of Dolly as a prompt and a response."""
_ON_THE_HUB = {
    ("MiniLLM/dolly", "train[1000:]"): 11_435,
    ("MiniLLM/dolly", "validation"): 500,
    ("MiniLLM/self-inst", "validation"): 242,
    ("MiniLLM/Vicuna", "validation"): 80,
    ("MiniLLM/sinst", "validation"): 1_694,
    ("MiniLLM/uinst", "validation"): 10_000,
}
"""Rows of sets that shipped suites name, in their selection."""


@dataclass(frozen=True)
class Lengths:
    """A source in numbers."""

    rows: int
    prompt: float
    """Mean tokens of a prompt, within the limit of the suite."""
    response: float
    """Mean tokens of the first reference with its end, within the limit of the suite."""
    is_read: bool = True
    """Whether the rows were read; otherwise their lengths are guessed."""

    @property
    def tokens(self) -> float:
        """Mean tokens of a row."""
        return self.prompt + self.response


def local_rows(suite: Suite) -> list[Row] | None:
    """Return the training rows, the few that equal an evaluation item too; None of the hub."""
    source = suite.data.train
    return read_rows(source, suite) if is_local(source, suite) else None


def training_lengths(suite: Suite, rows: Sequence[Row] | None, ratio: float) -> Lengths | None:
    """Return the training rows that the filters leave; None where their number is not known."""
    if rows is None:
        return _guessed(suite.data.train, suite)
    most, data = suite.data.max_prompt_tokens, suite.data
    kept = [
        (prompt, min(response, data.max_tokens - prompt))
        for prompt, response in (_pair(row, suite, ratio) for row in rows)
        if prompt <= most and response > 1
    ]
    return _means(kept)


def set_lengths(source: Source, suite: Suite, ratio: float) -> Lengths | None:
    """Return the items of an evaluation set; None where their number is not known."""
    if not is_local(source, suite):
        return _guessed(source, suite)
    most = suite.data.max_tokens - suite.evaluation.sampling.max_new_tokens
    pairs = (_pair(row, suite, ratio) for row in read_rows(source, suite))
    return _means([(min(prompt, most), response) for prompt, response in pairs])


@dataclass(frozen=True)
class Tokens:
    """The tokens of a suite's tokenizer."""

    characters: float = CHARACTERS
    """Mean characters of one, in the training data."""
    vocabulary: int | None = None
    """The entries of a tokenizer that is trained on this data; None of any other."""


def tokens_of(suite: Suite, rows: Sequence[Row] | None) -> Tokens:
    """Return the tokens of a suite, by a sample of its training rows."""
    if rows is None:
        return Tokens()
    sample = rows[:: max(1, len(rows) // SAMPLE)]
    texts = [prompt_of(row.instruction, row.input, "plain") + row.references[0] for row in sample]
    base = suite.teacher.base
    if isinstance(base, Scratch):
        from adakd.data.bpe import trained_tokenizer  # late, as below: most need none

        tokenizer = trained_tokenizer(texts, base.vocabulary)
        vocabulary = tokenizer.get_vocab_size()
    elif (file := tokenizer_file(base)) is not None:
        from tokenizers import Tokenizer

        tokenizer, vocabulary = Tokenizer.from_file(str(file)), None
    else:
        return Tokens()
    counts = [len(one.ids) for one in tokenizer.encode_batch(texts, add_special_tokens=False)]
    return Tokens(sum(map(len, texts)) / max(1, sum(counts)), vocabulary)


def _pair(row: Row, suite: Suite, ratio: float) -> tuple[float, float]:
    """Return the tokens of a row's prompt and of its first reference with its end."""
    template = "alpaca" if suite.data.template == "chat" else suite.data.template
    prompt = prompt_of(row.instruction, row.input, template)
    return len(prompt) / ratio, len(row.references[0]) / ratio + 1


def _means(pairs: Sequence[tuple[float, float]]) -> Lengths | None:
    if not pairs:
        return None
    return Lengths(len(pairs), fmean(prompt for prompt, _ in pairs), fmean(r for _, r in pairs))


def _guessed(source: Source, suite: Suite) -> Lengths | None:
    split = source.split if source.kind == "hub" else ""
    rows = _ON_THE_HUB.get((getattr(source, "id", ""), split))
    counts = [count for count in (rows, source.limit) if count is not None]
    if not counts:
        return None
    prompt = min(_PROMPT, suite.data.max_prompt_tokens)
    response = min(_RESPONSE, suite.data.max_tokens - prompt)
    return Lengths(min(counts), prompt, response, is_read=False)
