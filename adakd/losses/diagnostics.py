"""A look inside a training: what the tokens of one micro-batch are like, and who moves the student.

Nothing here takes part in the training: no random number is drawn, no weight or gradient touched.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from adakd.adaptive import TokenSelection
from adakd.adaptive.indicators import hellinger
from adakd.divergences import Divergence, Pair
from adakd.losses.blocks import (
    DEVICE_BYTES,
    DivergenceTerm,
    LogitRows,
    SelectedTokens,
    cross_entropy,
    loss_rows,
    working_dtype,
)
from adakd.losses.lm_head import HiddenStates
from adakd.losses.logits import logit_source
from adakd.losses.traced import traced
from adakd.store.records import Diagnosis, Entropies, GroupGradient, Histogram

BINS = 24
"""Of a histogram."""

Response = Tensor | HiddenStates


def diagnose(
    student: Response,
    teacher: Response,
    labels: Tensor,
    divergence: Divergence,
    selection: TokenSelection | None = None,
    layer: Sequence[Parameter] = (),
) -> tuple[Tensor, Diagnosis]:
    r"""Return how hard N tokens are, ``(N,)``, and what a loss makes of them.

    Hard is the Hellinger distance of the two models at temperature 1, in all arms. Entropies are of
    the tokens that the loss keeps, hard ones being above the lower median of these. Gradients are
    those by the student's logits, :math:`g_i` of token i, in thirds of all tokens G:

    .. math::
        share = \frac{|g_G|}{\sum_{G'} |g_{G'}|}, \quad
        sft = \frac{g_G \cdot s_G}{|g_G| |s_G|}, \quad
        whole = \frac{g_G \cdot g}{|g_G| |g|} = \frac{|g_G|}{|g|}

    with the gradient :math:`s_i` of the cross-entropy to the label. The official analysis has the
    same, but for its groups and for the loss: it leaves out temperatures and the choice of tokens.
    The gradients by the parameters of a layer are those by the logits led back to it, summed over
    the tokens of a group; these sums need not be orthogonal.

    Args:
        student: logits ``(N, V)`` or what they are made of, N at least 1.
        teacher: the same, of V words or more.
        labels: ``(N,)``, all of which count.
        divergence: what the loss takes of each token.
        selection: the selection of an adaptive method; None for all tokens, unchanged. A loss of
            hidden states plays no part here.
        layer: parameters in front of the student's response, whose graph is kept; none to leave
            them out.
    """
    with torch.no_grad(), torch.autocast(labels.device.type, enabled=False):
        columns, back = _measure(student, teacher, labels, divergence, selection, bool(layer))
    by_layer = None
    if back is not None:
        by_layer = layer_gradients(student, layer, columns[:, 0], back)
    difficulty, before, after, by_loss, by_label, product = columns.cpu().unbind(-1)
    positions = torch.arange(len(labels)) if selection is None else selection.positions.cpu()
    temperature = torch.ones(len(positions))
    if selection is not None and selection.temperature is not None:
        temperature = selection.temperature.detach().float().cpu()
    return difficulty, Diagnosis(
        tokens=len(labels),
        kept=len(positions),
        temperature=histogram(temperature),
        entropy=entropies(difficulty[positions], before[positions], after[positions]),
        gradient=gradients(difficulty, by_loss, by_label, product),
        layer_gradient=by_layer,
    )


def histogram(values: Tensor, low: float | None = None, high: float | None = None) -> Histogram:
    """Count values ``(N,)`` in bins of equal width; in one bin where all are the same.

    Args:
        values: any number of them.
        low: where the first bin begins; the least value if not given.
        high: where the last one ends; the largest value if not given.
    """
    low = float(values.min()) if low is None else low
    high = float(values.max()) if high is None else high
    if high <= low:
        return Histogram(low=low, high=low, counts=(len(values),))
    counts = torch.histc(values.double(), BINS, low, high)
    return Histogram(low=low, high=high, counts=tuple(int(count) for count in counts))


def entropies(difficulty: Tensor, before: Tensor, after: Tensor) -> dict[str, Entropies]:
    """Return the histograms of both halves of the kept tokens, all over the same bins."""
    hard = difficulty > difficulty.median()
    both = torch.cat([before, after])
    ends = float(both.min()), float(both.max())
    return {
        name: Entropies(before=histogram(before[half], *ends), after=histogram(after[half], *ends))
        for name, half in (("hard", hard), ("easy", ~hard))
    }


def gradients(
    difficulty: Tensor, by_loss: Tensor, by_label: Tensor, product: Tensor
) -> dict[str, GroupGradient]:
    r"""Return the share and the directions of each third of the tokens.

    Args:
        difficulty: of N tokens, ``(N,)``; among equals the first is the hardest.
        by_loss: :math:`|g_i|^2`.
        by_label: :math:`|s_i|^2`.
        product: :math:`g_i \cdot s_i`.
    """
    groups = thirds(difficulty)
    norms = {name: math.sqrt(by_loss[of].sum()) for name, of in groups.items()}
    total, whole = sum(norms.values()), math.sqrt(by_loss.sum())
    return {
        name: GroupGradient(
            tokens=len(of),
            share=_over(norms[name], total),
            sft=_over(float(product[of].sum()), norms[name] * math.sqrt(by_label[of].sum())),
            whole=_over(norms[name], whole) if norms[name] else None,
        )
        for name, of in groups.items()
    }


def thirds(difficulty: Tensor) -> dict[str, Tensor]:
    """Return which of N tokens are hard, mid and easy; among equals the first is the hardest."""
    order = difficulty.sort(descending=True, stable=True).indices
    return dict(zip(("hard", "mid", "easy"), order.tensor_split(3), strict=True))


def layer_gradients(
    student: Response, layer: Sequence[Parameter], difficulty: Tensor, back: Tensor
) -> dict[str, GroupGradient]:
    """Return the share and the directions of each third of the tokens, by a layer's parameters.

    Args:
        student: of N tokens, with the graph that leads back to the layer; it is tokens.
        layer: the parameters, P numbers in all.
        difficulty: ``(N,)``.
        back: gradients of the loss and of the cross-entropy by the student's hidden states, or by
            its logits where it has no others, ``(2, N, d)``.
    """
    response = student.states if isinstance(student, HiddenStates) else student

    def by_layer(rows: Tensor, of: Tensor) -> Tensor:
        part = torch.zeros_like(rows).index_copy(0, of, rows[of]).to(response.dtype)
        found = torch.autograd.grad(
            response, layer, part, retain_graph=True, materialize_grads=True
        )
        return torch.cat([one.flatten().double() for one in found])

    groups = thirds(difficulty)
    by_loss, by_label = (
        {name: by_layer(rows, of) for name, of in groups.items()} for rows in _unit(back)
    )
    norms = {name: float(part.norm()) for name, part in by_loss.items()}
    total, whole = sum(norms.values()), torch.stack(list(by_loss.values())).sum(0)
    return {
        name: GroupGradient(
            tokens=len(of),
            share=_over(norms[name], total),
            sft=_cosine(by_loss[name], by_label[name]),
            whole=_cosine(by_loss[name], whole),
        )
        for name, of in groups.items()
    }


def _unit(back: Tensor) -> Tensor:
    """Return both gradients with 1 as their largest number, which 16 bits hold on the way back."""
    return back / back.abs().amax((1, 2), keepdim=True).clamp(min=torch.finfo(back.dtype).tiny)


def _cosine(one: Tensor, other: Tensor) -> float | None:
    return _over(float(one @ other), float(one.norm() * other.norm()))


def _over(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _measure(
    student: Response,
    teacher: Response,
    labels: Tensor,
    divergence: Divergence,
    selection: TokenSelection | None,
    led_back: bool,
) -> tuple[Tensor, Tensor | None]:
    """Return six numbers a token, ``(N, 6)``: as :func:`diagnose` takes them apart.

    With them, if asked, both gradients of each token led back to what the student's logits are
    made of: ``(2, N, d)``.
    """
    ours, theirs = logit_source(student, None), logit_source(teacher, None, student.shape[-1])
    dtype, count = working_dtype(ours.dtype, theirs.dtype), len(labels)
    tau, factor = _spread(selection, count, labels.device, dtype)
    step, found = max(1, DEVICE_BYTES // (student.shape[-1] * dtype.itemsize)), []
    back = []
    for start in range(0, count, step):
        at = torch.arange(start, min(start + step, count), device=labels.device)
        tokens = SelectedTokens(
            student=LogitRows(ours.rows(at).block(slice(None), dtype)),
            teacher=LogitRows(theirs.rows(at).block(slice(None), dtype)),
            labels=labels[at],
            temperature=None if tau is None else tau[at],
            factor=factor[at],
        )
        columns, by_logits = _block(tokens, divergence, selection)
        found.append(columns)
        if led_back:
            back.append(_led_back(student, at, by_logits))
    return torch.cat(found), torch.cat(back, 1) if led_back else None


def _led_back(student: Response, at: Tensor, by_logits: Sequence[Tensor]) -> Tensor:
    """Return gradients by the logits at some tokens as those by the states these are made of."""
    if isinstance(student, Tensor):
        return torch.stack(tuple(by_logits))
    dtype, device = by_logits[0].dtype, by_logits[0].device
    with torch.enable_grad():
        states = student.states.detach()[at].to(dtype).requires_grad_()
        logits = student.head.to(device, dtype).logits(states)
    parts = [torch.autograd.grad(logits, states, g, retain_graph=True)[0] for g in by_logits]
    return torch.stack(parts)


def _spread(
    selection: TokenSelection | None, count: int, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor | None, Tensor]:
    """Return temperature, None where it is 1, and factor of all tokens; 0 for those not tokens."""
    factor = torch.ones(count, device=device, dtype=dtype)
    if selection is None:
        return None, factor
    factor.zero_()[selection.positions] = 1
    if selection.weight is not None:
        factor[selection.positions] = selection.weight.detach().to(dtype)
    if selection.temperature is None:
        return None, factor
    tau = torch.ones_like(factor)
    tau[selection.positions] = selection.temperature.detach().to(dtype)
    return tau, factor * tau.square()


def _block(
    tokens: SelectedTokens, divergence: Divergence, selection: TokenSelection | None
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return six numbers for each token of a block, ``(B, 6)``, and the gradients ``(B, V)``."""
    assert tokens.teacher is not None  # as a divergence needs
    student, teacher, labels = tokens.student.logits, tokens.teacher.logits, tokens.labels
    by_loss, trace = torch.empty_like(student), traced(divergence, selection)
    if trace is None:
        loss_rows(DivergenceTerm(divergence), tokens, LogitRows(by_loss))
    else:
        trace.rows(tokens, LogitRows(by_loss))
    pair = Pair(student, teacher)
    difficulty = hellinger(pair.log_q, pair.log_p, labels)
    by_label = cross_entropy(pair, labels, True)[1]
    assert by_label is not None  # it was asked for
    tempered = student
    if selection is not None and selection.transform is not None:
        tempered = selection.transform(student)
    if tokens.temperature is not None:
        tempered = tempered / tokens.temperature.unsqueeze(-1)
    columns = (
        difficulty,
        _entropy(student),
        _entropy(tempered),
        by_loss.square().sum(-1),
        by_label.square().sum(-1),
        (by_loss * by_label).sum(-1),
    )
    return torch.stack(columns, -1), (by_loss, by_label)


def _entropy(logits: Tensor) -> Tensor:
    by_word: Tensor = torch.special.entr(logits.softmax(-1))
    return by_word.sum(-1)
