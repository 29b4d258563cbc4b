"""The laws that every bridge must satisfy, built in or from a plug-in.

``adakd check bridge NAME_OR_FILE`` runs them on a user's own class.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adakd.bridges import Bridge
from adakd.data.vocabulary import Vocabulary
from adakd.divergences import forward_kl, reverse_kl
from adakd.losses.bridged import Units, bridged, unit_rows
from adakd.losses.laws import Broken, LawResult, verdict
from adakd.losses.objective import Objective

TOLERANCE = 1e-9
MODERATE = 100
"""Nats: far more than two random distributions over a dozen entries are apart."""
LETTERS = "ab c\u00e9"
"""Texts of the laws are of these: one letter has two bytes."""
Make = Callable[[], Bridge]
Array = np.ndarray[Any, Any]


def check_bridge(make: Make) -> list[LawResult]:
    """Check the bridges that `make` makes against every law; an error raised violates a law."""
    return [verdict(law, make) for law in BRIDGE_LAWS]


# --- the laws -------------------------------------------------------------------------------


def same_text(make: Make) -> None:
    """Both sides of every unit are the same text; units are ascending and do not overlap."""
    made = _connected(make)
    for student, teacher in _responses():
        units = _aligned(made, student, teacher)
        for start, stop, first, last in units.tolist():
            mine, other = student[start:stop], teacher[first:last]
            if not len(mine) or not len(other):
                raise Broken("a unit without tokens")
            texts = STUDENT.text(mine), TEACHER.text(other)
            if texts[0] != texts[1]:
                raise Broken(f"a unit of {texts[0]!r} and {texts[1]!r}")
            if (STUDENT.end in mine) != (TEACHER.end in other):
                raise Broken("an end token and text in one unit")
        for side in (units[:, :2], units[:, 2:]):
            if (np.diff(side.ravel()) < 0).any():
                raise Broken(f"units that are not ascending: {side.tolist()}")


def pure_alignment(make: Make) -> None:
    """The same tokens have the same units, in any order of calls, and are not modified."""
    made, responses = _connected(make), _responses()
    before = [one.copy() for pair in responses for one in pair]
    found = [_aligned(made, *one) for one in responses]
    again = [_aligned(made, *one) for one in responses[::-1]][::-1]
    if not all(map(np.array_equal, found, again)):
        raise Broken("a second call on the same tokens gives other units")
    if not all(map(np.array_equal, before, (one for pair in responses for one in pair))):
        raise Broken("the tokens are modified in place")


def nothing_in_common(make: Make) -> None:
    """Without a response on one side there is no unit, and none where the texts differ at once."""
    made, none = _connected(make), np.zeros(0, np.int64)
    text, other = STUDENT_IDS["a"], TEACHER_IDS["b"]
    for pair in ((none, none), (none, np.array([other])), (np.array([text]), np.array([other]))):
        if len(units := _aligned(made, *pair)):
            raise Broken(
                f"tokens {pair[0].tolist()} and {pair[1].tolist()} have {len(units)} units"
            )


def ends_meet(make: Make) -> None:
    """The end tokens are a unit where both sides end the response, and only there."""
    made = _connected(make)
    whole = np.array([STUDENT_IDS["a"], STUDENT.end]), np.array([TEACHER_IDS["a"], TEACHER.end])
    if not (_aligned(made, *whole)[-1:, [0, 2]] == 1).all():
        raise Broken("the end tokens are no unit")
    units = _aligned(made, whole[0], whole[1][:-1])
    if (units[:, 0] == 1).any():
        raise Broken("an end token is in a unit where the teacher's side is cut short")


def distributions(make: Make) -> None:
    """Both sides have rows of one shape, none sums to more than 1, and labels are entries."""
    made = _connected(make)
    for student, teacher, units in _batches(made):
        ours, theirs = unit_rows(made, student, teacher, units)
        if ours.shape != theirs.shape or len(ours) != len(units.spans):
            raise Broken(
                f"{len(units.spans)} units give {tuple(ours.shape)}, {tuple(theirs.shape)}"
            )
        for rows in (ours, theirs):
            total = float(rows.exp().sum(-1).max())
            if not 0 < total <= 1 + TOLERANCE:
                raise Broken(f"a row sums to {total:.6g}")
        labels = made.labels(units.student_ids[units.spans[:, 0]].numpy())
        if not ((labels >= 0) & (labels < ours.shape[-1])).all():
            raise Broken(f"a label among {labels.tolist()} is no entry of {ours.shape[-1]}")


def independent(make: Make) -> None:
    """A row does not depend on the units that it is computed with."""
    made = _connected(make)
    for student, teacher, units in _batches(made):
        together = unit_rows(made, student, teacher, units)
        for number in range(len(units.spans)):
            part = Units(units.spans[number : number + 1], units.student_ids, units.teacher_ids)
            for whole, alone in zip(together, unit_rows(made, student, teacher, part), strict=True):
                width = min(whole.shape[-1], alone.shape[-1])
                _equal(alone[0, :width], whole[number, :width], "a row computed alone")


def true_gradient(make: Make) -> None:
    """The gradient by the student's logits matches finite differences."""
    made, step = _connected(make), 1e-6
    for student, teacher, units in _batches(made):
        direction = torch.randn_like(student)
        student = student.requires_grad_()

        def loss(logits: Tensor, teacher: Tensor = teacher, units: Units = units) -> Tensor:
            sides = bridged(made, logits, teacher, units)
            return Objective(reverse_kl)(*sides, _labels(made, units)).loss

        (gradient,) = torch.autograd.grad(loss(student), student)
        with torch.no_grad():
            above, below = loss(student + step * direction), loss(student - step * direction)
        slope = (gradient * direction).sum()
        _equal(slope, (above - below) / (2 * step), "the slope, against finite differences,", 1e-5)


def outside_of_units(make: Make) -> None:
    """Tokens that are part of no unit have no gradient; without units loss and gradient are 0."""
    made = _connected(make)
    for student, teacher, units in _batches(made):
        inside = torch.zeros(len(student), dtype=torch.bool)
        for start, stop, _, _ in units.spans.tolist():
            inside[start:stop] = True
        for given, rows in ((units, ~inside), (_no_units(units), torch.ones_like(inside))):
            leaf = student.detach().clone().requires_grad_()
            sides = bridged(made, leaf, teacher, given)
            loss = Objective(reverse_kl)(*sides, _labels(made, given)).loss
            (gradient,) = torch.autograd.grad(loss, leaf)
            if not bool(loss.isfinite()):
                raise Broken(f"a loss of {float(loss)}")
            if bool(gradient[rows].any()):
                raise Broken("a token outside of all units has a gradient")


def any_split(make: Make) -> None:
    """Loss and gradient do not depend on how the units are grouped for their computation."""
    made = _connected(make)
    for student, teacher, units in _batches(made):
        found = []
        for budget in (1, None):
            leaf = student.detach().clone().requires_grad_()
            sides = bridged(made, leaf, teacher, units)
            loss = Objective(reverse_kl, "adakd", total_steps=4, budget=budget)(
                *sides, _labels(made, units)
            ).loss
            found.append((loss.detach(), *torch.autograd.grad(loss, leaf)))
        for one, other in zip(*found, strict=True):
            _equal(one, other, "the result of one unit at a time")


def bounded(make: Make) -> None:
    """Forward and reverse KL are moderate: no entry is possible on one side alone."""
    made = _connected(make)
    for student, teacher, units in _batches(made):
        sides = bridged(made, student, teacher, units)
        for function in (forward_kl, reverse_kl):
            loss = float(Objective(function)(*sides, _labels(made, units)).loss)
            if not loss < MODERATE:
                raise Broken(f"{function.__name__} is {loss:.6g} for random logits")


def one_tokenizer(make: Make) -> None:
    """Equal outputs over one tokenizer give equal rows, and every token is part of a unit."""
    made = make()
    made.connect(STUDENT, STUDENT)
    for student, _ in _responses():
        units = _aligned(made, student, student)
        if int((units[:, 1] - units[:, 0]).sum()) != len(student):
            raise Broken(f"tokens {student.tolist()} have the units {units.tolist()}")
        logits = torch.randn(len(student), len(STUDENT), dtype=torch.float64)
        ids = torch.from_numpy(student)
        ours, theirs = unit_rows(made, logits, logits, Units(torch.from_numpy(units), ids, ids))
        _equal(ours, theirs, "the student's rows for the teacher's logits")


def underflow(make: Make) -> None:
    """If probabilities underflow to 0, loss and gradient are finite."""
    made = _connected(make)
    for student, teacher, units in _batches(made):
        leaf = (300 * student.detach()).float().requires_grad_()
        sides = bridged(made, leaf, 300 * teacher.float(), units)
        loss = Objective(reverse_kl)(*sides, _labels(made, units)).loss
        (gradient,) = torch.autograd.grad(loss, leaf)
        if not bool(loss.isfinite()) or not bool(gradient.isfinite().all()):
            raise Broken("loss or gradient is not finite where probabilities underflow")


BRIDGE_LAWS = (
    same_text,
    pure_alignment,
    nothing_in_common,
    ends_meet,
    distributions,
    independent,
    true_gradient,
    outside_of_units,
    any_split,
    bounded,
    one_tokenizer,
    underflow,
)


# --- two small tokenizers -------------------------------------------------------------------


def _vocabulary(words: list[str], end: int) -> Vocabulary:
    texts = [word.encode() for word in words]
    texts[end] = b""
    return Vocabulary(tuple(words), tuple(texts), frozenset({end}), end)


STUDENT = _vocabulary(["</s>", "a", "b", " ", "c", "\u00e9", "ab", "a b", " c", "xyz"], 0)
TEACHER = _vocabulary(["c", "\u00e9", "ab", "b", "ba", " ", "<end>", "a", " a", "b c", "q"], 6)
STUDENT_IDS = {name: number for number, name in enumerate(STUDENT.names)}
TEACHER_IDS = {name: number for number, name in enumerate(TEACHER.names)}


def _connected(make: Make) -> Bridge:
    made = make()
    made.connect(STUDENT, TEACHER)
    return made


def _responses() -> list[tuple[Array, Array]]:
    """Return the same random texts in both vocabularies, cut into tokens at random."""
    made = []
    for length in (1, 2, 5, 9, 14):
        places = torch.randint(len(LETTERS), (length,)).tolist()
        text = "".join(LETTERS[place] for place in places)
        sides = (_cut(text, STUDENT), _cut(text, TEACHER))
        made.append((np.array([*sides[0], STUDENT.end]), np.array([*sides[1], TEACHER.end])))
    return made


def _cut(text: str, vocabulary: Vocabulary) -> list[int]:
    ids = []
    while text:
        fitting = [
            number
            for number, name in enumerate(vocabulary.names)
            if number not in vocabulary.special and text.startswith(name)
        ]
        ids.append(fitting[int(torch.randint(len(fitting), ()))])
        text = text[len(vocabulary.names[ids[-1]]) :]
    return ids


def _aligned(made: Bridge, student: Array, teacher: Array) -> Array:
    units = made.align(student, teacher)
    if units.dtype != np.int64 or units.ndim != 2 or units.shape[1] != 4:
        raise Broken(f"units of {units.dtype} and shape {units.shape}, not int64 and (M, 4)")
    return units


def _batches(made: Bridge) -> Iterator[tuple[Tensor, Tensor, Units]]:
    """Yield random logits of both models for some responses, with their units if there are any."""
    for student, teacher in _responses():
        units = _aligned(made, student, teacher)
        logits = [
            torch.randn(len(ids), len(of), dtype=torch.float64)
            for ids, of in ((student, STUDENT), (teacher, TEACHER))
        ]
        if len(units):
            yield logits[0], logits[1], Units(*map(torch.from_numpy, (units, student, teacher)))


def _no_units(units: Units) -> Units:
    return Units(units.spans[:0], units.student_ids, units.teacher_ids)


def _labels(made: Bridge, units: Units) -> Tensor:
    return torch.from_numpy(made.labels(units.student_ids[units.spans[:, 0]].numpy()))


def _equal(values: Tensor, wanted: Tensor, what: str, tolerance: float = TOLERANCE) -> None:
    if not torch.allclose(values, wanted, rtol=tolerance, atol=tolerance):
        far = (values - wanted).abs().argmax()
        got, right = float(values.flatten()[far]), float(wanted.flatten()[far])
        raise Broken(f"{what} is {got:.9g}, not {right:.9g}")
