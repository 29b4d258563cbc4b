"""Where instructions come from, and what students train on."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from adakd.config.base import Config, SuitePath


class Columns(Config):
    """Which columns of a hub data set hold the four fields of a row."""

    id: str | None = None
    instruction: str = "instruction"
    input: str | None = "input"
    output: str = "output"
    outputs: str | None = None


class Selection(Config):
    """Which rows of a source count."""

    limit: PositiveInt | None = None
    """Keep a seeded sample of this many rows, in source order."""
    min_response_words: int = 0
    """Leave out rows whose reference is shorter (11 for S-NI and UnNI in the paper)."""


class Jsonl(Selection):
    """A JSON Lines file with the fields id, instruction, input, output and optionally outputs."""

    kind: Literal["jsonl"]
    path: SuitePath
    """Relative to the suite file."""


class Hub(Selection):
    """A data set of the Hugging Face hub, or its local copy where ``data.folder`` is set."""

    kind: Literal["hub"]
    id: str
    split: str = "train"
    revision: str | None = None
    columns: Columns = Columns()
    local: Path | None = None
    """Read instead, as ``data.folder`` / this path, when ``data.folder`` is set."""


class Generated(Selection):
    """Rows made by the built-in generator of word puzzles; nothing is downloaded."""

    kind: Literal["generated"]
    rows: PositiveInt
    split: Literal["train", "test"] = "train"
    """The two splits share no item."""


Source = Annotated[Jsonl | Hub | Generated, Field(discriminator="kind")]


class Data(Config):
    """What students train on."""

    train: Source
    folder: SuitePath | None = None
    """A folder of local copies: every hub source with a ``local`` path is read from here."""
    template: Literal["alpaca", "plain", "chat"] = "alpaca"
    """``alpaca`` as in the paper, ``plain`` (instruction and input alone), or the tokenizer's."""
    max_prompt_tokens: PositiveInt = 256
    """Longer prompts are left out of training; in evaluation they lose their beginning."""
    max_tokens: PositiveInt = 512
    """Prompt and response together; the rest of a response is cut."""
