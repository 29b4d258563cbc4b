"""The teacher's own responses to the training prompts: written once, kept in the run folder."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from adakd.data.example import Example
from adakd.models.generation import Writer
from adakd.policies import Decoding
from adakd.progress import Show
from adakd.store.disk import writing


class TeacherAnswers:
    """A file of responses, a line each: the row's number and the tokens.

    What a crash left incomplete is no line of JSON, and is written again by :meth:`fill`. A
    response is the same whichever rows are written along with it, but for rounding.

    Args:
        file: its own; made when something is written.
        rows: those whose prompts are to be answered.
        batch_size: rows that the teacher answers at a time.
        writer: lets the teacher write.
        decoding: how.
    """

    def __init__(
        self,
        file: Path,
        rows: Sequence[Example],
        batch_size: int,
        writer: Writer,
        decoding: Decoding,
    ) -> None:
        self.file, self.writer, self.decoding = file, writer, decoding
        self.responses = dict(_lines(file))
        lacking = [row for row in rows if row.number not in self.responses]
        lacking.sort(key=lambda row: len(row.prompt))
        self.missing = [
            lacking[start : start + batch_size] for start in range(0, len(lacking), batch_size)
        ]

    def fill(self, model: Any, show: Show = lambda _: None) -> None:
        """Let the teacher write what is missing.

        Args:
            model: the teacher, in the precision to compute in.
            show: called with the number of batches that are done.

        Raises:
            AdakdError: the disk is full.
        """
        self.file.parent.mkdir(parents=True, exist_ok=True)
        count = len(self.missing)
        with writing(self.file, self.file.parent), self.file.open("a", encoding="utf-8") as lines:
            lines.write("\n")  # ends a line that a crash left open
            while self.missing:
                rows = self.missing[0]
                for row, said in zip(rows, self._written(model, rows), strict=True):
                    self.responses[row.number] = said
                    lines.write(json.dumps([row.number, said]) + "\n")
                lines.flush()
                del self.missing[0]
                show(count - len(self.missing))

    def _written(self, model: Any, rows: Sequence[Example]) -> list[list[int]]:
        said = self.writer(model, rows, self.decoding, "teacher")
        return [answer.input_ids[len(row.prompt) :] for row, answer in zip(rows, said, strict=True)]


def _lines(file: Path) -> Iterator[tuple[int, list[int]]]:
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            number, response = json.loads(line)
        except ValueError:
            continue
        yield number, response
