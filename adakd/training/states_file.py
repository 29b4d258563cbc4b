"""Hidden states of a teacher on disk: computed once, for all students of a run.

The teacher's logits at a token are its LM head applied to its final hidden state. So the states
are stored instead of logits, at valid labels alone: two bytes a dimension, less than logits take by
the ratio of vocabulary to width.
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
from filelock import FileLock
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
"""Number and checksum of a part; the dot marks a complete line."""


@dataclass(frozen=True)
class Part:
    """Sequences of one forward pass of the teacher, and the place of their states in the file."""

    number: int
    examples: tuple[Example, ...]
    labels: slice


class StatesFile:
    """Stored hidden states, which replace the teacher in trainings.

    ``states.bin`` holds one state per label, batch by batch; ``parts.txt`` gets a line with a
    checksum for each part that is written. A part that a crash left incomplete, or that the
    disk damaged, has no valid line: :meth:`fill` computes it again.

    Args:
        folder: created when the first part is written.
        batches: the sequences of each forward pass of the teacher.
        width: dimensions of a hidden state.
        dtype: precision of the stored states.
        head: the teacher's LM head, on the training device.
    """

    def __init__(
        self,
        folder: Path,
        batches: Sequence[Sequence[Example]],
        width: int,
        dtype: torch.dtype,
        head: LMHead,
    ) -> None:
        self.folder, self.width, self.dtype, self.head = folder, width, dtype, head
        self.examples = [example for batch in batches for example in batch]
        ends = list(accumulate(example.valid_tokens for example in self.examples))
        starts = [0, *ends]
        self._labels = {
            example.number: slice(start, end)
            for example, start, end in zip(self.examples, starts, ends, strict=False)
        }
        self.tokens = ends[-1]
        firsts = list(accumulate(map(len, batches), initial=0))
        self.parts = [
            Part(number, tuple(batch), slice(starts[first], starts[first + len(batch)]))
            for number, (first, batch) in enumerate(zip(firsts, batches, strict=False))
        ]
        self.missing = [part for part in self.parts if not self._is_valid(part)]

    @property
    def bytes(self) -> int:
        """Size of all states in bytes."""
        return self.tokens * self.width * self.dtype.itemsize

    def __call__(self, batch: Batch, valid: Tensor) -> HiddenStates:
        """Return the teacher's outputs at the valid positions of a batch.

        Args:
            batch: includes the ``number`` of each sequence.
            valid: mask of the positions with a label, ``(B, L)``.
        """
        numbers = batch["number"].tolist()
        states = torch.cat([self._states[self._labels[number]] for number in numbers])
        return HiddenStates(states.to(valid.device, non_blocking=True), self.head)

    def fill(self, model: Any, pad: int, show: Show = lambda _: None) -> None:
        """Compute the missing states.

        Args:
            model: the teacher, in the precision to compute in.
            pad: the id of the padding token.
            show: called with the number of finished parts.

        Raises:
            AdakdError: the disk is full, or a state overflows the stored precision.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with writing(self._file, self.folder), FileLock(self.folder / ".lock"):
            vars(self).pop("_checksums", None)  # another process may have filled it meanwhile
            self.missing = [part for part in self.missing if not self._is_valid(part)]
            if not self._file.exists() or self._file.stat().st_size != self.bytes:
                with self._file.open("wb") as stream:
                    stream.truncate(self.bytes)
            with self._file.open("rb+") as states, self._lines.open("a") as lines:
                lines.write("\n")  # ends a line that a crash left open
                while self.missing:
                    part = self.missing[0]
                    content = _content(self._compute(model, part, pad))
                    states.seek(part.labels.start * self.width * self.dtype.itemsize)
                    states.write(content)
                    states.flush()
                    lines.write(f"{part.number} {zlib.crc32(content)}.\n")
                    lines.flush()
                    del self.missing[0]
                    show(len(self.parts) - len(self.missing))

    def _compute(self, model: Any, part: Part, pad: int) -> Tensor:
        collated = Collator(pad)(part.examples)
        batch = {name: value.to(model.device) for name, value in collated.items()}
        valid = next_token_labels(batch["labels"]) != IGNORED
        with torch.no_grad():
            outputs = response(model, batch, valid)
        assert isinstance(outputs, HiddenStates)  # or there would be no head to open the file with
        stored = outputs.states.to(self.dtype)
        if not stored.isfinite().all():
            largest, name = float(outputs.states.abs().max()), str(self.dtype)
            raise AdakdError(
                f"teacher.cache: the teacher's hidden states reach {largest}, which overflows "
                f"{name.removeprefix('torch.')}: set teacher.cache to float32 or bf16"
            )
        return stored.cpu()

    # --- on disk ----------------------------------------------------------------------------

    @property
    def _file(self) -> Path:
        return self.folder / "states.bin"

    @property
    def _lines(self) -> Path:
        return self.folder / "parts.txt"

    @cached_property
    def _states(self) -> Tensor:
        """All states, ``(tokens, width)``, a memory map whose changes do not reach the file."""
        flat = torch.from_file(
            str(self._file), shared=False, size=self.tokens * self.width, dtype=self.dtype
        )
        return flat.view(self.tokens, self.width)

    @cached_property
    def _checksums(self) -> dict[int, int]:
        if not self._file.exists() or self._file.stat().st_size != self.bytes:
            return {}
        lines = self._lines.read_text(errors="replace") if self._lines.exists() else ""
        return {int(number): int(checksum) for number, checksum in _LINE.findall(lines)}

    def _is_valid(self, part: Part) -> bool:
        checksum = self._checksums.get(part.number)
        return checksum is not None and checksum == zlib.crc32(_content(self._states[part.labels]))


def _content(states: Tensor) -> memoryview:
    return states.contiguous().view(torch.uint8).numpy().data
