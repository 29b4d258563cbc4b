"""What a teacher says about the training set: computed once, for all students of a run.

At a token a student learns from the teacher's final hidden state there and from its head. So the
states are kept instead of logits, at the labels alone: two bytes a unit of width, as many times
less as the vocabulary is larger than the width.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adakd.data.example import IGNORED, Example
from adakd.errors import AdakdError
from adakd.losses.lm_head import HiddenStates, LMHead
from adakd.losses.objective import next_token_labels
from adakd.models.forward import Batch, response
from adakd.progress import Show
from adakd.store.disk import writing
from adakd.training.batches import Collator

_LINE = re.compile(r"^(\d+) (\d+)\.$", re.MULTILINE)
"""Number and checksum of a part; the dot tells that the line is whole."""


@dataclass(frozen=True)
class Part:
    """Sequences that the teacher reads together, and where their states stand."""

    number: int
    examples: tuple[Example, ...]
    labels: slice


class TeacherCache:
    """Hidden states on disk, in the place of the teacher that they are of.

    ``states.bin`` holds them label by label, the sequences by length; ``parts.txt`` gets a line
    with a checksum for each part that is written. What a crash left incomplete, or a disk
    damaged, has no valid line: that part is missing, and is read again by :meth:`fill`.

    Args:
        folder: its own; made when something is written.
        examples: the sequences to keep the states of.
        batch_size: sequences that the teacher reads at a time.
        width: numbers in a hidden state.
        dtype: of the states as kept.
        head: what makes logits of them, where students learn.
    """

    def __init__(
        self,
        folder: Path,
        examples: Sequence[Example],
        batch_size: int,
        width: int,
        dtype: torch.dtype,
        head: LMHead,
    ) -> None:
        self.folder, self.width, self.dtype, self.head = folder, width, dtype, head
        self.examples = sorted(examples, key=lambda example: len(example.input_ids))
        ends = list(accumulate(example.valid_tokens for example in self.examples))
        starts = [0, *ends]
        self._labels = {
            example.number: slice(start, end)
            for example, start, end in zip(self.examples, starts, ends, strict=False)
        }
        self.tokens = ends[-1]
        self.parts = [
            Part(
                number=number,
                examples=tuple(self.examples[first : first + batch_size]),
                labels=slice(starts[first], starts[min(first + batch_size, len(ends))]),
            )
            for number, first in enumerate(range(0, len(ends), batch_size))
        ]
        self.missing = [part for part in self.parts if not self._is_valid(part)]

    @property
    def bytes(self) -> int:
        """Size of all states."""
        return self.tokens * self.width * self.dtype.itemsize

    def __call__(self, batch: Batch, counted: Tensor) -> HiddenStates:
        """Return what the teacher says at the counted positions of a batch.

        Args:
            batch: with the ``number`` of each sequence.
            counted: the positions of its labels, ``(B, L)``.
        """
        numbers = batch["number"].tolist()
        states = torch.cat([self._states[self._labels[number]] for number in numbers])
        return HiddenStates(states.to(counted.device, non_blocking=True), self.head)

    def fill(self, model: Any, pad: int, show: Show = lambda _: None) -> None:
        """Let the teacher read what is missing.

        Args:
            model: the teacher, in the precision to compute in.
            pad: the id of the padding token.
            show: called with the number of parts that are done.

        Raises:
            AdakdError: the disk is full, or a state does not fit the precision it is kept in.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with writing(self._file, self.folder):
            if not self._file.exists() or self._file.stat().st_size != self.bytes:
                with self._file.open("wb") as stream:
                    stream.truncate(self.bytes)
            with self._file.open("rb+") as states, self._lines.open("a") as lines:
                lines.write("\n")  # ends a line that a crash left open
                while self.missing:
                    part = self.missing[0]
                    content = _content(self._read(model, part, pad))
                    states.seek(part.labels.start * self.width * self.dtype.itemsize)
                    states.write(content)
                    states.flush()
                    lines.write(f"{part.number} {zlib.crc32(content)}.\n")
                    lines.flush()
                    del self.missing[0]
                    show(len(self.parts) - len(self.missing))

    def _read(self, model: Any, part: Part, pad: int) -> Tensor:
        batch = {name: of.to(model.device) for name, of in Collator(pad)(part.examples).items()}
        counted = next_token_labels(batch["labels"]) != IGNORED
        with torch.no_grad():
            said = response(model, batch, counted)
        assert isinstance(said, HiddenStates)  # or there would be no head to make a cache with
        kept = said.states.to(self.dtype)
        if not kept.isfinite().all():
            raise AdakdError(
                f"teacher.cache: the teacher's hidden states reach {float(said.states.abs().max())}"
                f", which {str(self.dtype).removeprefix('torch.')} does not hold: "
                "set teacher.cache to float32 or bf16"
            )
        return kept.cpu()

    # --- on disk ----------------------------------------------------------------------------

    @property
    def _file(self) -> Path:
        return self.folder / "states.bin"

    @property
    def _lines(self) -> Path:
        return self.folder / "parts.txt"

    @cached_property
    def _states(self) -> Tensor:
        """All states, ``(tokens, width)``, mapped from the disk and not writable through it."""
        flat = torch.from_file(
            str(self._file), shared=False, size=self.tokens * self.width, dtype=self.dtype
        )
        return flat.view(self.tokens, self.width)

    @cached_property
    def _checksums(self) -> dict[int, int]:
        if not self._file.exists() or self._file.stat().st_size != self.bytes:
            return {}
        noted = self._lines.read_text() if self._lines.exists() else ""
        return {int(number): int(of) for number, of in _LINE.findall(noted)}

    def _is_valid(self, part: Part) -> bool:
        claimed = self._checksums.get(part.number)
        return claimed is not None and claimed == zlib.crc32(_content(self._states[part.labels]))


def _content(states: Tensor) -> memoryview:
    return states.contiguous().view(torch.uint8).numpy().data
