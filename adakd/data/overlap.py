"""Training rows that equal an evaluation item, which are left out of the training."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from adakd.config import Hub, Jsonl, Suite
from adakd.config.hashing import digest, file_digest
from adakd.data.files import is_local, local_file
from adakd.data.instructions import Row, read_source
from adakd.errors import AdakdError

_CITATION = re.compile(r"(?<=\S)\[\s*\d{1,3}\s*\](?=[\s.,;:\[]|$)")
"""A citation mark such as ``[12]``, which some releases of a text have and others lack."""
_PLAIN = str.maketrans(
    {**dict.fromkeys("\u2018\u2019\u201b\u00b4`", "'"), **dict.fromkeys("\u201c\u201d\u201e", '"')}
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-")
)
"""Typographic quotes and dashes -> those of ASCII."""
_last: dict[str, "TrainingRows"] = {}
"""What was found last, by :func:`_identity`."""


@dataclass(frozen=True)
class TrainingRows:
    """The rows to train on, and those that equal an evaluation item."""

    rows: tuple[Row, ...]
    """Without the overlapping ones, unless ``data.overlap`` keeps them."""
    overlapping: tuple[int, ...]
    """Indices among all selected rows of those that equal an evaluation item."""
    by_set: Mapping[str, int]
    """Number of overlapping rows for each set that has any; a row may equal items of several."""
    unread: Mapping[str, tuple[str, ...]]
    """Fields of the sources that nothing reads, where there are any, by the source's place in the
    suite."""


def training_rows(suite: Suite) -> TrainingRows:
    """Return the training rows of a suite.

    Raises:
        AdakdError: malformed or missing data, or every row equals an evaluation item.
    """
    found = _found(suite, suite.evaluation.sets)
    if suite.data.overlap == "keep":
        return found
    if not found.rows:
        raise AdakdError(
            f"suite {suite.name!r}: all {len(found.overlapping)} training rows equal an evaluation "
            f"item ({described(found.by_set)}): choose other data, or set data.overlap to keep"
        )
    return found


def local_overlap(suite: Suite) -> TrainingRows | None:
    """Return the training rows as far as local data tells, for plans and keys.

    Evaluation sets on the hub are not compared; None where the training data is on the hub.
    """
    if not is_local(suite.data.train, suite):
        return None
    sets = suite.evaluation.sets.items()
    return _found(suite, [name for name, source in sets if is_local(source, suite)])


def described(by_set: Mapping[str, int]) -> str:
    """Return numbers of overlapping rows as text, such as ``dolly 12, vicuna 1``."""
    return ", ".join(f"{name} {count}" for name, count in by_set.items())


def unread_lines(rows: TrainingRows) -> list[str]:
    """Return a line for each source with fields that nothing reads."""
    return [
        f"{where}: nothing reads {', '.join(fields)} (`columns` gives fields other names)"
        for where, fields in rows.unread.items()
    ]


def normalized_prompt(row: Row) -> str:
    """Return the prompt of a row in the form that decides whether two are equal.

    Case, white space, typographic forms, citation marks, and punctuation at the ends of words make
    no difference; signs inside a word or standing alone do (``5-3``, ``5 + 3``).
    """
    text = f"{row.instruction} {_CITATION.sub('', row.input)}".translate(_PLAIN)
    if not text.isascii():  # ASCII is its own normal form
        text = unicodedata.normalize("NFKC", text)
    return " ".join(filter(None, map(_bare, text.casefold().split())))


@lru_cache(maxsize=1 << 16)  # a plan compares every row, and words come again
def _bare(word: str) -> str:
    """Return a word without the punctuation at its ends; a word of nothing else stays.

    Characters without a form, such as a zero-width space, go; of a word of these nothing is left.
    """
    if not word.isprintable():
        word = "".join(char for char in word if unicodedata.category(char) != "Cf")
    start, end = 0, len(word)
    while start < end and _is_punctuation(word[start]):
        start += 1
    while end > start and _is_punctuation(word[end - 1]):
        end -= 1
    return word[start:end] or word


def _is_punctuation(character: str) -> bool:
    return unicodedata.category(character)[0] == "P"


def _found(suite: Suite, sets: Iterable[str]) -> TrainingRows:
    """Compare the training rows with the items of some sets.

    A plan, its lines on the screen and its run ask for the same: local data is read once.
    """
    names = [*sets]
    identity = _identity(suite, names)
    if identity is None:
        return _compared(suite, names)
    if identity not in _last:
        found = _compared(suite, names)
        _last.clear()
        _last[identity] = found
    return _last[identity]


def _identity(suite: Suite, sets: Sequence[str]) -> str | None:
    """Return a hash of all that decides what is found; None where a source is on the hub."""
    named = {"": suite.data.train} | {name: suite.evaluation.sets[name] for name in sets}
    if not all(is_local(source, suite) for source in named.values()):
        return None
    sources = [
        (name, source, None if source.kind == "generated" else file_digest(_file(source, suite)))
        for name, source in named.items()
    ]
    return digest(suite.data.overlap, sources)


def _file(source: Jsonl | Hub, suite: Suite) -> Path:
    file = local_file(source, suite)
    assert file is not None
    return file


def _compared(suite: Suite, sets: Sequence[str]) -> TrainingRows:
    train = read_source(suite.data.train, suite)
    items = {name: read_source(suite.evaluation.sets[name], suite) for name in sets}
    prompts = {name: set(map(normalized_prompt, of.rows)) for name, of in items.items()}
    equal = [
        [name for name, known in prompts.items() if prompt in known]
        for prompt in map(normalized_prompt, train.rows)
    ]
    counts = Counter(name for names in equal for name in names)
    keep = suite.data.overlap == "keep"
    sources = {"data.train": train} | {f"evaluation.sets.{n}": of for n, of in items.items()}
    return TrainingRows(
        rows=tuple(row for row, names in zip(train.rows, equal, strict=True) if keep or not names),
        overlapping=tuple(index for index, names in enumerate(equal) if names),
        by_set={name: counts[name] for name in prompts if counts[name]},
        unread={where: of.unread for where, of in sources.items() if of.unread},
    )
