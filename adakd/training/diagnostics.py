"""Diagnostics of some steps of a training, recorded while it runs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.nn import Parameter

from adakd.adaptive import TokenSelection
from adakd.config import Diagnostics
from adakd.config.hashing import digest
from adakd.data.example import IGNORED
from adakd.divergences import Divergence
from adakd.losses.diagnostics import Response, diagnose
from adakd.losses.objective import Loss, next_token_labels
from adakd.models.loading import trained_layer
from adakd.planning import ResolvedAssignment
from adakd.store.records import DiagnosticRecord, MarkedToken
from adakd.training.crossing import Crossing

LONGEST = 160
"""Most tokens of the response shown."""
LISTED = 8
"""Number of hardest and of easiest tokens listed."""

Compute = Callable[[Response, Response | None, Tensor], Loss]
"""The call of an objective."""


class DiagnosticsRecorder:
    """Records diagnostics of the first micro-batch of the first, the last and every k-th step.

    Args:
        settings: k, and the layer whose gradients are analysed, if any.
        assignment: the training.
        student: its model.
        divergence: that of its loss.
        tokenizer: decodes tokens for display.
        crossing: the units that stand in for tokens; None where the teacher has the same tokenizer.
        keep: called with each record.
    """

    def __init__(
        self,
        settings: Diagnostics,
        assignment: ResolvedAssignment,
        student: Any,
        divergence: Divergence,
        tokenizer: Any,
        keep: Callable[[DiagnosticRecord], None],
        crossing: Crossing | None = None,
    ) -> None:
        self.every, self.steps, self.cell = settings.every, assignment.steps, assignment.cell
        self.divergence, self.tokenizer, self.keep = divergence, tokenizer, keep
        self.crossing = crossing
        self._captured: Callable[[], None] | None = None
        self._layer: int | None = None
        self._parameters: Sequence[Parameter] = ()
        if settings.layer is not None:
            self._layer, self._parameters = trained_layer(student, settings.layer)

    def capturing(self, objective: Compute, batch: Mapping[str, Tensor], step: int) -> Compute:
        """Return an objective that, in a step to be diagnosed, also captures its inputs."""
        if step not in (1, self.steps) and step % self.every:
            return objective

        def capture(student: Response, teacher: Response | None, labels: Tensor) -> Loss:
            loss = objective(student, teacher, labels)
            if teacher is not None and loss.selected:
                texts, last = self._texts(batch)
                self._captured = lambda: self.diagnose(
                    step, student, teacher, labels, loss.selection, texts, last
                )
            return loss

        return capture

    def _texts(self, batch: Mapping[str, Tensor]) -> tuple[Sequence[str], int]:
        """Return the text of every token (or unit) of a batch, and how many the last row has."""
        if self.crossing is not None:
            own = batch["unit_sequence"] == len(batch["labels"]) - 1
            return self.crossing.texts(batch), int(own.sum())
        labels = next_token_labels(batch["labels"])
        ids = labels[labels != IGNORED].tolist()
        return token_texts(ids, self.tokenizer), int((labels[-1] != IGNORED).sum())

    def record(self) -> None:
        """Diagnose the captured inputs, if any, before the backward pass frees the graph."""
        captured, self._captured = self._captured, None
        if captured is not None:
            captured()

    def diagnose(
        self,
        step: int,
        student: Response,
        teacher: Response,
        labels: Tensor,
        selection: TokenSelection | None,
        texts: Sequence[str],
        last: int,
    ) -> None:
        """Diagnose a micro-batch, and keep the record.

        Args:
            step: the step.
            student: its output.
            teacher: likewise.
            labels: the label of each row.
            selection: the selection of an adaptive method.
            texts: the text of each row.
            last: rows of the last response, whose text is shown.
        """
        divergence, layer = self.divergence, self._parameters
        difficulty, found = diagnose(student, teacher, labels, divergence, selection, layer)
        order = difficulty.sort(descending=True, stable=True).indices

        def marked(places: Sequence[int]) -> tuple[MarkedToken, ...]:
            hard = [round(float(difficulty[place]), 4) for place in places]
            pairs = zip([texts[place] for place in places], hard, strict=True)
            return tuple(MarkedToken(text=text, difficulty=value) for text, value in pairs)

        self.keep(
            DiagnosticRecord(
                **dict(found),
                key=digest("diagnostic", self.cell.key, step),
                cell=self.cell,
                step=step,
                layer=self._layer,
                text=marked(range(len(labels))[len(labels) - last :][:LONGEST]),
                hardest=marked(order[:LISTED].tolist()),
                easiest=marked(order.flip(0)[:LISTED].tolist()),
            )
        )


def token_texts(ids: Sequence[int], tokenizer: Any) -> list[str]:
    """Return the text of each token by itself, with its leading space if it has one."""
    pieces = tokenizer.convert_ids_to_tokens(list(ids))
    texts = [tokenizer.decode([token]) for token in ids]
    return [
        f" {text}" if str(piece).startswith("\u2581") and not text.startswith(" ") else text
        for piece, text in zip(pieces, texts, strict=True)
    ]
