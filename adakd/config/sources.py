"""Settings of data sources and of the training data."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from adakd.config.base import Config, SuitePath
from adakd.config.numbers import Share


class Columns(Config):
    """Names that a data set gives the fields of a row."""

    id: str | None = None
    instruction: str = "instruction"
    input: str | None = "input"
    output: str = "output"
    outputs: str | None = None
    """Several references; without it, ``output`` may hold a list of them."""


class FileColumns(Columns):
    """Names of the fields of a row in a file."""

    id: str | None = "id"
    outputs: str | None = "outputs"


class Selection(Config):
    """Selection of the rows of a source."""

    limit: PositiveInt | None = None
    """Keep a seeded sample of this many rows, in source order."""
    min_response_words: int = 0
    """Drop rows with a shorter reference, in words (11 for S-NI and UnNI in the paper)."""


class Jsonl(Selection):
    """A file with the fields id, instruction, input, output and optionally outputs.

    JSON Lines, a JSON array, CSV, TSV or Parquet, also compressed (gzip, bzip2, xz, Zstandard).
    """

    kind: Literal["jsonl"]
    path: SuitePath
    """Relative to the suite file."""
    columns: FileColumns = FileColumns()


class Hub(Selection):
    """A data set from the Hugging Face hub, or its local copy if ``data.folder`` is set."""

    kind: Literal["hub"]
    id: str
    split: str = "train"
    """May be a part of one, in the syntax of ``datasets``: ``train[1000:]`` leaves out the first
    1,000 rows."""
    revision: str | None = None
    files: tuple[str, ...] = ()
    """Files of the repository to read as the split, such as ``raw.jsonl``; those that the set
    names for it if not given."""
    columns: Columns = Columns()
    local: Path | None = None
    """Path of the local copy, relative to ``data.folder``; used if that is set. Its fields may have
    the names in ``columns`` or those of a file."""


class Generated(Selection):
    """Rows from the built-in generator of word puzzles, without a download."""

    kind: Literal["generated"]
    rows: PositiveInt
    split: Literal["train", "test"] = "train"
    """The two splits share no item."""
    noise: Share = 0.0
    """Share of the rows to learn from whose answer is damaged: that to another puzzle, or with
    wrong words. Which rows these are does not depend on `rows`."""


Source = Annotated[Jsonl | Hub | Generated, Field(discriminator="kind")]


class Data(Config):
    """The training data and how it is formatted."""

    train: Source
    overlap: Literal["leave_out", "keep"] = "leave_out"
    """Training rows whose prompt is that of an evaluation item: left out, or trained on, which the
    plan and the report then say."""
    folder: SuitePath | None = None
    """Folder of local copies: every hub source with a ``local`` path is read from it."""
    template: Literal["alpaca", "alpaca_qwen", "plain", "chat"] = "alpaca"
    """``alpaca`` as in the paper, ``alpaca_qwen`` (the same in Qwen's chat tokens, as the released
    code has it for Qwen models), ``plain`` (only instruction and input), or ``chat`` for the
    tokenizer's chat template."""
    max_prompt_tokens: PositiveInt = 256
    """Longer prompts are dropped in training and truncated at the start in evaluation."""
    max_tokens: PositiveInt = 512
    """Prompt and response together; longer responses are truncated."""
