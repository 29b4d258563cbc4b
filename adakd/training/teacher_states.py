"""The teacher's outputs for all students of a run: from stored hidden states, or from a live model.

This module alone knows whether anything is stored.
"""

import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from adakd.config.hashing import digest
from adakd.errors import AdakdError
from adakd.losses.lm_head import HiddenStates
from adakd.models import loading, sharding
from adakd.models.forward import Batch, head_of, response
from adakd.planning import PLAIN, ResolvedAssignment, timing_key
from adakd.progress import Progress, Show
from adakd.store import Store
from adakd.store.disk import check_room
from adakd.store.records import TeacherStatesRecord
from adakd.training import ranks
from adakd.training.sequences import TrainingData
from adakd.training.states_file import StatesFile
from adakd.training.teacher_head import StoredHead, store_head, stored_head


class TeacherOutputs(Protocol):
    """A source of teacher outputs."""

    @property
    def width(self) -> int:
        """Dimensions of the teacher's hidden states."""
        ...

    def __call__(self, batch: Batch, valid: Tensor, /) -> Tensor | HiddenStates:
        """Return the outputs at the valid positions of a batch, as :func:`response` does."""
        ...


@dataclass(frozen=True)
class LiveTeacher:
    """A frozen model that runs on every batch."""

    model: Any

    @property
    def width(self) -> int:
        """Dimensions of the model's hidden states."""
        return hidden_width(self.model)

    def __call__(self, batch: Batch, valid: Tensor) -> Tensor | HiddenStates:
        """Return the model's outputs at the valid positions of a batch."""
        return response(self.model, batch, valid)


class TeacherStates:
    """The teacher of a run, with its hidden states stored where that is possible."""

    def __init__(self, data: TrainingData) -> None:
        self.data, self.context = data, data.context

    @cached_property
    def stored(self) -> StatesFile | str:
        """The file of hidden states, or why there is none; opened without the teacher next time.

        Raises:
            AdakdError: the disk has no room for it.
        """
        context, mode = self.context, self.context.suite.teacher.cache
        if mode == "off":
            return "teacher.cache is off"
        batches, folder = self.data.readings(), context.folder / "teacher"
        if not batches:
            return "every data policy of the suite generates its sequences during the training"
        sequences = [[(row.number, row.input_ids, row.labels) for row in one] for one in batches]
        teacher = context.plan.teacher.cell.key
        name = digest(teacher, context.saved.get(teacher, {}), sequences, mode)
        kept = folder / "heads" / f"{name}.safetensors"
        found = stored_head(kept)
        if found is None:
            kept.unlink(missing_ok=True)  # damaged
            head = head_of(self._model, {"input_ids": torch.zeros(1, 1, dtype=torch.long)})
            if isinstance(head, str):
                return f"its LM head cannot be separated, {head}"
            weights = loading.weights_digest(self._model)
            found = StoredHead(head, digest(weights, sequences, mode))
        head = found.head
        width, dtype = head.weight.shape[-1], loading.DTYPES[mode]
        precision = loading.DTYPES[context.suite.training.precision]
        head_there = head.to(loading.device(), precision)
        file = StatesFile(folder / found.states, batches, width, dtype, head_there)
        if file.missing:
            check_room(folder, file.bytes + head.weight.nbytes)
        if not kept.exists():
            store_head(kept, head, found.states)
        return file

    def check_room(self, store: Store) -> None:
        """Check before any training that the states will fit on the disk, by an estimate.

        Responses that the teacher has yet to write are taken for as long as the data set's.

        Raises:
            AdakdError: they will not.
        """
        context, timing = self.context, self.context.suite.timing
        distilled = [one for one in context.plan.assignments if one.cell.has_teacher]
        keys = [one.cell.key for one in distilled]
        if timing.pairs:
            keys += [timing_key(one.recipe, timing) for one in distilled if one.cell.arm != PLAIN]
        mode = context.suite.teacher.cache
        if mode == "off" or all(key in store for key in keys):
            return
        if labels := self.data.expected_labels():
            folder = context.folder / "teacher"
            stored = sum(file.stat().st_size for file in folder.glob("*/states.bin"))
            size = labels * self._expected_width() * loading.DTYPES[mode].itemsize
            if size > stored:
                check_room(folder, size - stored)

    def _expected_width(self) -> int:
        """Return the width of the hidden states, by the teacher's configuration where it tells."""
        try:
            config = loading.base_config(self.context.suite.teacher.base).get_text_config()
            width: int = getattr(config, "word_embed_proj_dim", None) or config.hidden_size
        except (AdakdError, AttributeError):  # of adapters, or of an unusual architecture
            width = hidden_width(self.context.initial(self.context.plan.teacher.cell))
        return width

    def prepare(
        self,
        assignment: ResolvedAssignment,
        known: TeacherStatesRecord | None,
        progress: Progress,
    ) -> float:
        """Generate the responses and compute the states that trainings need, unless stored.

        Args:
            assignment: the training that comes next.
            known: how the teacher's outputs were obtained for earlier students of the run.
            progress: receives the stages.

        Returns:
            The seconds that reading with the teacher took.

        Raises:
            AdakdError: earlier students learned from stored states, which cannot be stored now.
        """
        for decoding in self.data.rewritings:
            if missing := (responses := self.data.responses(decoding)).missing:
                with progress.stage("generate teacher responses", len(missing)) as show:
                    self.data.fill(responses, show)
        if assignment.generates:
            cell = assignment.cell
            progress.note(f"the teacher runs on every batch: {cell} trains on generated sequences")
            return 0.0
        if known is not None:
            self._stay_with(known)
        start = time.perf_counter()
        if isinstance(self.stored, str):
            progress.note(f"the teacher runs on every batch: {self.stored}")
        elif self.stored.missing:
            size, folder = self.stored.bytes / 1e6, self.stored.folder
            progress.note(f"the teacher's hidden states take {size:,.1f} MB in {folder}")
            with progress.stage("store teacher states", len(self.stored.parts)) as show:
                self.fill(show)
        return time.perf_counter() - start

    def outputs(self, assignment: ResolvedAssignment) -> TeacherOutputs:
        """Return the teacher as a training sees it: live where its sequences were not known."""
        if assignment.generates or isinstance(self.stored, str):
            return self.live
        if self.stored.missing:
            self.fill()
        vars(self).pop("_model", None)  # only its head is needed from here on
        return self.stored

    def fill(self, show: Show = lambda _: None) -> None:
        """Compute the missing states, in float32 unless they are stored in bfloat16."""
        assert isinstance(self.stored, StatesFile)
        model = loading.place(self._model, self.context.teacher_dtype).eval()
        self.stored.fill(model, self.context.teacher_tokenizer.pad_token_id, show)
        del self._model  # perhaps rounded

    def record(self, seconds: float) -> TeacherStatesRecord:
        """Return how the teacher's outputs are obtained; `seconds` is the time to store them."""
        key, stored = self.context.plan.teacher_states_key, self.stored
        if isinstance(stored, str):
            return TeacherStatesRecord(
                key=key,
                cache="off",
                reason=stored,
                sequences=len(self.data.known_sequences()),
                readings=sum(one.sequences for one in self.data.distilled),
            )
        return TeacherStatesRecord(
            key=key,
            cache=self.context.suite.teacher.cache,
            sequences=len(stored.examples),
            readings=sum(one.sequences for one in self.data.distilled if not one.generates),
            tokens=stored.tokens,
            size=stored.bytes,
            seconds=seconds,
        )

    def _stay_with(self, known: TeacherStatesRecord) -> None:
        """Use the teacher as the earlier students of the run did."""
        if known.cache == "off":
            self.stored = known.reason
        elif isinstance(self.stored, str):
            raise AdakdError(
                f"{self.context.folder}: earlier students learned from stored hidden states of the "
                f"teacher, which is not possible now: {self.stored}; fix that, or choose another "
                "--out folder"
            )

    @cached_property
    def _model(self) -> Any:
        """The whole teacher, in float32 on the CPU."""
        return self.context.load(self.context.plan.teacher)

    @cached_property
    def live(self) -> LiveTeacher:
        """The teacher on the training device, in the training precision."""
        dtype = loading.DTYPES[self.context.suite.training.precision]
        model = self._model.requires_grad_(False).eval()
        del self._model  # on another device or rounded from here on
        if self.context.suite.training.shard and ranks.count() > 1:
            sharding.shard(model.to(dtype))
            return LiveTeacher(model)
        return LiveTeacher(loading.place(model, dtype))


def hidden_width(model: Any) -> int:
    """Return the width of the hidden states that a model's LM head takes."""
    width: int = model.get_output_embeddings().weight.shape[-1]
    return width
