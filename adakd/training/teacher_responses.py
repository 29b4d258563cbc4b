"""The teacher's responses to the training prompts: generated once, stored in the run folder."""

import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from adakd.data.example import Example
from adakd.models.generation import ResponseGenerator
from adakd.policies import Decoding
from adakd.progress import Show
from adakd.store.disk import writing


class TeacherResponses:
    """A file of responses, one per line: the row's number, the response tokens and a checksum.

    :meth:`fill` generates the responses of a batch again where a line is missing, cut short by a
    crash, or damaged. A response does not depend on the rest of its batch but for rounding, and so
    not at all: the batches are always the same.

    Args:
        file: created when the first response is written.
        batches: the rows whose prompts are answered together.
        generator: generates the responses.
        decoding: how.
    """

    def __init__(
        self,
        file: Path,
        batches: Sequence[Sequence[Example]],
        generator: ResponseGenerator,
        decoding: Decoding,
    ) -> None:
        self.file, self.generator, self.decoding = file, generator, decoding
        self._batches = batches
        self._read()

    def _read(self) -> None:
        self.responses = dict(_lines(self.file))
        self.missing = [
            batch
            for batch in self._batches
            if any(row.number not in self.responses for row in batch)
        ]

    def fill(self, model: Any, show: Show = lambda _: None) -> None:
        """Generate the missing responses.

        Args:
            model: the teacher, in the precision to compute in.
            show: called with the number of finished batches.

        Raises:
            AdakdError: the disk is full.
        """
        self.file.parent.mkdir(parents=True, exist_ok=True)
        count = len(self.missing)
        lock = FileLock(self.file.with_suffix(".lock"))
        with (
            writing(self.file, self.file.parent),
            lock,
            self.file.open("a", encoding="utf-8") as lines,
        ):
            lines.write("\n")  # ends a line that a crash left open
            self._read()  # another process may have written it meanwhile
            while self.missing:
                rows = self.missing[0]
                for row, tokens in zip(rows, self._generate(model, rows), strict=True):
                    self.responses[row.number] = tokens
                    lines.write(_line(row.number, tokens) + "\n")
                lines.flush()
                del self.missing[0]
                show(count - len(self.missing))

    def _generate(self, model: Any, rows: Sequence[Example]) -> list[list[int]]:
        answered = self.generator(model, rows, self.decoding, "teacher")
        pairs = zip(rows, answered, strict=True)
        return [answer.input_ids[len(row.prompt) :] for row, answer in pairs]


def _line(number: int, tokens: Sequence[int]) -> str:
    checksum = zlib.crc32(json.dumps([number, tokens]).encode())
    return json.dumps([number, tokens, checksum])


def _lines(file: Path) -> Iterator[tuple[int, list[int]]]:
    """Yield what the undamaged lines hold."""
    for line in file.read_bytes().split(b"\n") if file.exists() else ():
        try:
            number, tokens, _ = json.loads(line)
        except (ValueError, TypeError, RecursionError):
            continue
        if line.decode() == _line(number, tokens):
            yield number, tokens
