"""Token diagnostics of one micro-batch: difficulty, entropy and gradient contributions.

The training is not affected: no random number is drawn, no weight or gradient changed.
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
from adakd.losses.logits import GradientBuffer, Outputs, SourcedRows, logit_source
from adakd.losses.traced import traced
from adakd.store.records import Diagnosis, Entropies, GroupGradient, Histogram

BINS = 24
"""Number of bins in a histogram."""

Response = Outputs


def diagnose(
    student: Response,
    teacher: Response,
    labels: Tensor,
    divergence: Divergence,
    selection: TokenSelection | None = None,
    layer: Sequence[Parameter] = (),
) -> tuple[Tensor, Diagnosis]:
    r"""Return the difficulty of N tokens, ``(N,)``, and the diagnostics of a loss on them.

    Difficulty is the Hellinger distance between the two models at temperature 1, in all arms.
    Entropies cover the selected tokens; hard ones lie above the lower median of their difficulty.
    Gradients are taken with respect to the student's logits, :math:`g_i` for token i, and summed
    over each third G of all tokens, ordered by difficulty:

    .. math::
        share = \frac{|g_G|}{\sum_{G'} |g_{G'}|}, \quad
        sft = \frac{g_G \cdot s_G}{|g_G| |s_G|}, \quad
        whole = \frac{g_G \cdot g}{|g_G| |g|} = \frac{|g_G|}{|g|}

    with the gradient :math:`s_i` of the cross-entropy to the label. The reference implementation
    differs in its groups and in the loss: it leaves out temperatures and token selection. The
    gradients with respect to a layer's parameters are backpropagated from those of the logits and
    summed over the tokens of a group; these sums need not be orthogonal.

    Args:
        student: logits ``(N, V)`` or hidden states with their LM head, N at least 1.
        teacher: the same for the teacher; the larger vocabulary is cut to the other.
        labels: ``(N,)``, all of them valid.
        divergence: the divergence of the loss.
        selection: the selection of an adaptive method; None for all tokens, unchanged. A loss on
            hidden states is ignored.
        layer: parameters of a layer below the student's output, whose graph is retained; empty for
            no layer gradients.
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
    """Count values ``(N,)`` in bins of equal width; in a single bin where all are equal.

    Args:
        values: the values, at least one.
        low: lower edge of the first bin; the minimum if None.
        high: upper edge of the last bin; the maximum if None.
    """
    low = float(values.min()) if low is None else low
    high = float(values.max()) if high is None else high
    if high <= low:
        return Histogram(low=low, high=low, counts=(len(values),))
    counts = torch.histc(values.double(), BINS, low, high)
    return Histogram(low=low, high=high, counts=tuple(int(count) for count in counts))


def entropies(difficulty: Tensor, before: Tensor, after: Tensor) -> dict[str, Entropies]:
    """Return the histograms of both halves of the selected tokens, over common bins."""
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
    r"""Return the gradient share and directions of each third of the tokens.

    Args:
        difficulty: difficulty of N tokens, ``(N,)``; among equals the first is the hardest.
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
    """Split N tokens into hard, mid and easy ones; among equals the first is the hardest."""
    order = difficulty.sort(descending=True, stable=True).indices
    return dict(zip(("hard", "mid", "easy"), order.tensor_split(3), strict=True))


def layer_gradients(
    student: Response, layer: Sequence[Parameter], difficulty: Tensor, back: Tensor
) -> dict[str, GroupGradient]:
    """Return gradient share and directions of each third of the tokens for a layer's parameters.

    Args:
        student: output for N tokens, with the graph down to the layer; it is retained.
        layer: the parameters.
        difficulty: ``(N,)``.
        back: gradients of the loss and of the cross-entropy with respect to the student's hidden
            states, or to its logits if these are given, ``(2, n, d)``: of N tokens, or of the n
            tokens that N rows over units are computed from.
    """
    response = _response(student)

    def by_layer(rows: Tensor, of: Tensor) -> Tensor:
        if isinstance(student, SourcedRows):
            of = student.parts(of)
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


def _response(student: Response) -> Tensor:
    """Return the tensor that a graph leads from down to the layers."""
    if isinstance(student, SourcedRows):
        response = student.source.inputs[0]
        assert response is not None  # hidden states or logits
        return response
    return student.states if isinstance(student, HiddenStates) else student


def _unit(back: Tensor) -> Tensor:
    """Scale both gradients to a maximum of 1, so that 16 bits hold them in the backward pass."""
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
    """Return the six columns that :func:`diagnose` unpacks, ``(N, 6)``.

    If asked, also return both gradients with respect to the student's hidden states (or its logits
    if these are given), ``(2, n, d)``: of each token, or of those that the rows are computed from.
    """
    shared = min(student.shape[-1], teacher.shape[-1])
    ours, theirs = (logit_source(given, None, shared) for given in (student, teacher))
    dtype, count = working_dtype(ours.dtype, theirs.dtype), len(labels)
    tau, factor = _spread(selection, count, labels.device, dtype)
    step, found = max(1, DEVICE_BYTES // (shared * dtype.itemsize)), []
    back, buffers = list[Tensor](), list[GradientBuffer]()
    if led_back and isinstance(student, SourcedRows):
        needed = tuple(place == 0 for place in range(len(ours.inputs)))
        buffers = [ours.gradient(needed, count) for _ in range(2)]
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
        for buffer, gradient in zip(buffers, by_logits, strict=False):
            rows = ours.rows(at)
            buffer.rows(at, rows).write(slice(None), gradient, gradient.new_ones(len(at)))
            buffer.add(at, len(at), rows)
        if led_back and not buffers:
            back.append(_led_back(student, at, by_logits))
    totals = [total for buffer in buffers if (total := buffer.total()[0]) is not None]
    if led_back:
        return torch.cat(found), torch.stack(totals) if totals else torch.cat(back, 1)
    return torch.cat(found), None


def _led_back(student: Response, at: Tensor, by_logits: Sequence[Tensor]) -> Tensor:
    """Backpropagate gradients by the logits of some tokens to their hidden states."""
    if isinstance(student, Tensor):  # no gradient at entries that the teacher's vocabulary lacks
        more = student.shape[-1] - by_logits[0].shape[-1]
        return torch.nn.functional.pad(torch.stack(tuple(by_logits)), (0, more))
    assert not isinstance(student, SourcedRows)
    dtype, device = by_logits[0].dtype, by_logits[0].device
    with torch.enable_grad():
        states = student.states.detach()[at].to(dtype).requires_grad_()
        logits = student.head.to(device, dtype).logits(states)[:, : by_logits[0].shape[-1]]
    parts = [torch.autograd.grad(logits, states, g, retain_graph=True)[0] for g in by_logits]
    return torch.stack(parts)


def _spread(
    selection: TokenSelection | None, count: int, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor | None, Tensor]:
    """Return the temperature (None for 1) and the factor of all tokens, 0 if not selected."""
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
    """Return the six columns of a block, ``(B, 6)``, and both gradients ``(B, V)``."""
    assert tokens.teacher is not None  # every divergence has one
    student, teacher = tokens.student.whole().logits, tokens.teacher.whole().logits
    labels = tokens.labels
    by_loss, trace = torch.empty_like(student), traced(divergence, selection)
    if trace is None:
        loss_rows(DivergenceTerm(divergence), tokens, LogitRows(by_loss))
    else:
        trace.rows(tokens, LogitRows(by_loss))
    pair = Pair(student, teacher)
    difficulty = hellinger(pair.log_q, pair.log_p, labels)
    by_label = cross_entropy(pair, labels, True)[1]
    assert by_label is not None  # it was requested
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
    by_entry: Tensor = torch.special.entr(logits.softmax(-1))
    return by_entry.sum(-1)
