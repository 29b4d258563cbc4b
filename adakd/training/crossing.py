"""The way from the students' tokens to those of a teacher with another tokenizer.

The text is what both share: a sequence is tokenized by each model's own tokenizer, in each model's
own prompt, and a bridge compares the two where they are the same text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adakd.bridges import Bridge
from adakd.data.example import IGNORED, Example
from adakd.data.token_ids import response_ids
from adakd.data.tokenized import answered
from adakd.data.vocabulary import Vocabulary, vocabulary_of
from adakd.errors import AdakdError
from adakd.losses.bridged import Response, TeacherHead, Units, bridged, shared_mass
from adakd.losses.logits import Outputs
from adakd.losses.objective import next_token_labels
from adakd.models.forward import Batch
from adakd.store.records import BridgeUse

Array = np.ndarray[Any, Any]


class Translation:
    """Both tokenizations of every sequence of a run, whatever bridge compares them.

    Args:
        student: the students' tokenizer.
        teacher: the teacher's.
        own: the training rows in the student's tokens.
        rows: the same in the teacher's, by their number.
        limit: tokens of a sequence.
    """

    def __init__(
        self,
        student: Any,
        teacher: Any,
        own: Sequence[Example],
        rows: Sequence[Example],
        limit: int,
    ) -> None:
        self.student, self.teacher, self.limit = student, teacher, limit
        self._given = own, rows
        self._rows, self._count = {row.number: row for row in rows}, len(rows)

    def vocabularies(self, entries: tuple[int | None, int | None]) -> list[Vocabulary]:
        """Return both vocabularies, with the shares of their entries in the training responses.

        Args:
            entries: those that the models have, None for all of the tokenizer's.
        """
        of = zip((self.student, self.teacher), entries, self._given, strict=True)
        return [_seen(vocabulary_of(tokenizer, most), rows) for tokenizer, most, rows in of]

    def teacher_side(self, example: Example) -> Example:
        """Return a student's sequence in the teacher's tokens, under the same number."""
        if example.number in self._rows:
            return self._rows[example.number]
        prompt = self._rows[(-1 - example.number) % self._count].prompt
        response = example.input_ids[len(example.prompt) :]
        there = _translated(response, self.student, self.teacher)
        return answered(prompt, there, example.number, self.limit)

    def rewritten(self, row: Example, response: list[int], number: int) -> Example:
        """Return a row with a response of the teacher's, which is given in the teacher's tokens."""
        self._rows[number] = self._rows[row.number].with_response(response, number)
        here = _translated(response, self.teacher, self.student)
        return answered(row.prompt, here, number, self.limit)


class Crossing:
    """The units of every sequence of a run, by one bridge.

    All trainings across this bridge share one, so the two arms of a pair see the same units.

    Args:
        bridge: aligns and compares; it is connected here.
        sides: both tokenizations of the sequences.
        entries: those that the student's model has, and the teacher's; None for all of the
            tokenizer's.
    """

    def __init__(
        self,
        bridge: Bridge,
        sides: Translation,
        entries: tuple[int | None, int | None] = (None, None),
    ) -> None:
        self.bridge, self.sides = bridge, sides
        bridge.connect(*sides.vocabularies(entries))
        self._units: dict[int, Array] = {}
        self._head = TeacherHead()

    # --- sequences ----------------------------------------------------------------------------

    def units(self, example: Example) -> Array:
        """Return the units of a sequence among its response tokens, ``(M, 4)``."""
        if example.number in self._units:
            return self._units[example.number]
        there = self.sides.teacher_side(example)
        found = self.bridge.align(_response(example), _response(there))
        if example.number >= 0:  # known before the training, and taken by other trainings too
            self._units[example.number] = found
        return found

    def _align(self, examples: Sequence[Example]) -> None:
        """Find the units of sequences that are known before the training, together."""
        new = [one for one in examples if one.number >= 0 and one.number not in self._units]
        tokens = [(_response(one), _response(self.sides.teacher_side(one))) for one in new]
        found = self.bridge.align_all(tokens)
        self._units |= zip((one.number for one in new), found, strict=True)

    def check(self, examples: Sequence[Example]) -> None:
        """Check that there is something to compare.

        Raises:
            AdakdError: no sequence has a unit but for its end.
        """
        end = self.sides.student.eos_token_id
        if any((_response(one)[self.units(one)[:, 0]] != end).any() for one in examples):
            return
        name = type(self.bridge).__name__
        raise AdakdError(
            f"bridge: {name} finds no unit in {len(examples)} training sequences: student and "
            "teacher have no text in common, or their prompts leave no room for a response; raise "
            f"data.max_tokens ({self.sides.limit}), or choose another bridge (adakd ls bridges)"
        )

    def use(self, examples: Sequence[Example]) -> BridgeUse:
        """Return how much of some sequences the bridge compares, without their masses."""
        self._align(examples)
        spans, tokens = [self.units(example) for example in examples], [0, 0]
        for example in examples:
            tokens[0] += example.valid_tokens
            tokens[1] += self.sides.teacher_side(example).valid_tokens
        every = np.concatenate(spans)
        return BridgeUse(
            sequences=len(examples),
            units=len(every),
            tokens=tokens[0],
            aligned=int((every[:, 1] - every[:, 0]).sum()),
            teacher_tokens=tokens[1],
            teacher_aligned=int((every[:, 3] - every[:, 2]).sum()),
        )

    # --- batches ------------------------------------------------------------------------------

    def collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Return what a batch has besides the student's tokens.

        ``teacher_input_ids``, ``teacher_attention_mask`` and ``teacher_labels``, ``(B, L)``;
        ``units``, ``(M, 4)``, among the valid tokens of the batch; ``unit_labels``, ``(M,)``; and
        the sequence of each unit in the batch, ``unit_sequence``, ``(M,)``.
        """
        theirs = [self.sides.teacher_side(example) for example in examples]
        units, labels, before = [], [], np.zeros(2, np.int64)
        for example, other in zip(examples, theirs, strict=True):
            found = self.units(example)
            units.append(found + before.repeat(2))
            labels.append(self.bridge.labels(_response(example)[found[:, 0]]))
            before += [example.valid_tokens, other.valid_tokens]
        counts = torch.tensor([len(of) for of in units])
        longest = max(len(example.input_ids) for example in theirs)
        pad = self.sides.teacher.pad_token_id
        ids = [row.input_ids + [pad] * (longest - len(row.input_ids)) for row in theirs]
        targets = [row.labels + [IGNORED] * (longest - len(row.labels)) for row in theirs]
        lengths = torch.tensor([[len(row.input_ids)] for row in theirs])
        return {
            "teacher_input_ids": torch.tensor(ids),
            "teacher_attention_mask": (torch.arange(longest) < lengths).long(),
            "teacher_labels": torch.tensor(targets),
            "units": torch.from_numpy(np.concatenate(units)),
            "unit_labels": torch.from_numpy(np.concatenate(labels)),
            "unit_sequence": torch.arange(len(examples)).repeat_interleave(counts),
        }

    def teacher_batch(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        """Return a batch as the teacher reads it, and its valid positions ``(B, L)``."""
        own = {
            "input_ids": batch["teacher_input_ids"],
            "attention_mask": batch["teacher_attention_mask"],
            "number": batch["number"],
        }
        return own, next_token_labels(batch["teacher_labels"]) != IGNORED

    def __call__(
        self, student: Response, teacher: Response, batch: Batch
    ) -> tuple[Outputs, Outputs, Tensor]:
        """Return both models' outputs over the units of a batch, and the units' labels."""
        ours, theirs = bridged(self.bridge, student, teacher, units_of(batch), self._head)
        return ours, theirs, batch["unit_labels"]

    def masses(self, student: Response, teacher: Response, batch: Batch) -> tuple[float, float]:
        """Return the mean mass of both models' distributions that is compared, over units."""
        ours, theirs = shared_mass(self.bridge, student, teacher, units_of(batch))
        return float(ours.mean()), float(theirs.mean())

    def texts(self, batch: Mapping[str, Tensor]) -> list[str]:
        """Return the text of every unit of a batch."""
        labels = next_token_labels(batch["labels"])
        ids = labels[labels != IGNORED].tolist()
        spans = batch["units"][:, :2].tolist()
        return [self.sides.student.decode(ids[start:stop]) for start, stop in spans]


def units_of(batch: Batch) -> Units:
    """Return the units of a batch."""
    ids = (next_token_labels(batch[name]) for name in ("labels", "teacher_labels"))
    return Units(batch["units"], *(of[of != IGNORED] for of in ids))


def _seen(vocabulary: Vocabulary, rows: Sequence[Example]) -> Vocabulary:
    """Return a vocabulary with the shares of its entries in the responses of some rows."""
    counts = np.bincount(np.concatenate([*map(_response, rows)]), minlength=len(vocabulary))
    return replace(vocabulary, shares=counts / max(1, counts.sum()))


def _response(example: Example) -> Array:
    """Return the valid tokens of a sequence."""
    return np.array([label for label in example.labels[1:] if label != IGNORED], np.int64)


def _translated(response: Sequence[int], source: Any, target: Any) -> list[int]:
    """Return a response in another tokenizer's tokens, ended if it was.

    Half a letter at the end of a response that is cut short has no place in a text: it is left out.
    """
    text = source.decode(
        response, skip_special_tokens=True, clean_up_tokenization_spaces=False
    ).rstrip("\ufffd")
    (ids,) = response_ids([text], target)
    ended = bool(response) and response[-1] == source.eos_token_id
    return [*ids, target.eos_token_id] if ended else ids
