"""The focal term summed over classes for class indices, faster and with less memory than autograd would need.

With u_i = z_i, and u_y = -z_y for the true class y, the term of a class is `terms.focal_term`,

    f(u)  = sigmoid(u)^gamma softplus(u)
    f'(u) = sigmoid(u)^gamma (gamma sigmoid(-u) softplus(u) + sigmoid(u))

No one-hot target is built. f' is computed in the forward pass, in pieces of the batch that fit a cache, so that at most
two tensors of the logits' size exist beside the logits: f' and the gradient. Compilers, tracers, torch.func and
learnable weights differentiate the formula itself.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from replication.losses.arguments import is_traced
from replication.losses.targets import coefficients
from replication.losses.terms import focal_term

EXACT = 40.0  # From here on softplus(u) and u are the same number in float64.
PIECE_PER_CORE = 2**16  # elements of a piece: small enough for a core's cache, large enough to be worth sharing
SMALLEST_PIECE_ON_GPU = 2**22  # elements: enough to keep a GPU busy for longer than a kernel launch takes
PIECES = 8


def focal_sum(
    logits: Tensor, index: Tensor, weight: Tensor, excluded: Tensor | None, gamma: float, total: bool
) -> Tensor:
    """Return weight[index] * sum_i f(u_i) for each target, (B, ...), or the sum of these over the targets, ().

    Args:
        logits: (B, C, ...).
        index: true classes, int64 (B, ...), in [0, C).
        weight: (C,), already divided by the divisor of the reduction.
        excluded: bool (B, 1, ...), true for targets that contribute nothing, or None if all contribute.
        gamma: focusing parameter, >= 0.
        total: whether to sum over the targets.

    >>> focal_sum(torch.zeros(1, 2), torch.tensor([0]), torch.ones(2), None, gamma=1.0, total=True)  # log 2
    tensor(0.6931)
    """
    loss: Tensor
    if not (is_traced() or weight.requires_grad):
        try:
            loss, slope = _FocalSlope.apply(logits, index, weight, excluded, gamma, total)
            return loss if slope is None else _FocalValue.apply(logits, (loss, slope), total)
        except RuntimeError:  # A Function that torch.func and forward mode accept costs a fifth of a small loss.
            pass
    index = index.unsqueeze(1)  # (B, 1, ...)
    terms = focal_term(_signed_logits(logits, index, excluded), gamma)
    loss = (coefficients(weight, index, excluded) * terms).sum(1)
    return loss.sum() if total else loss


class _FocalSlope(torch.autograd.Function):
    """The value of `focal_sum`, and as a second output its derivative in the logits, which is differentiable.

    The derivative is None if no gradient is wanted. `_FocalValue` keeps the derivative and not the logits, so that
    the logits may be edited in place after the loss, as `torch.nn.functional.cross_entropy` allows too.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, index: Tensor, weight: Tensor, excluded: Tensor | None, gamma: float, total: bool
    ) -> tuple[Tensor, Tensor | None]:
        slope = torch.empty_like(logits) if ctx.needs_input_grad[0] else None
        index = index.unsqueeze(1)
        value = _in_pieces(logits, index, coefficients(weight, index, excluded), excluded, slope, gamma, total)
        if slope is not None:
            ctx.gamma = gamma
            ctx.save_for_backward(logits, index, weight, excluded)
            ctx.mark_non_differentiable(value)
            ctx.set_materialize_grads(False)
        return value, slope

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        grad = gradients[1]
        if grad is None:
            return (None,) * 6
        logits, index, weight, excluded = ctx.saved_tensors
        curvature = _focal_curvature(_signed_logits(logits, index, excluded), ctx.gamma)
        return grad * coefficients(weight, index, excluded) * curvature, *(None,) * 5


class _FocalValue(torch.autograd.Function):
    """Return the value that `_FocalSlope` computed, with its slope as the gradient."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, parts: tuple[Tensor, Tensor], total: bool) -> Tensor:
        value, slope = parts
        ctx.total = total
        ctx.save_for_backward(slope)
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        grad = gradients[0] if ctx.total else gradients[0].unsqueeze(1)
        return slope * grad, None, None


def _focal_curvature(u: Tensor, gamma: float) -> Tensor:
    """f''(u) = s^gamma (1 - s) (gamma softplus(u) (gamma (1 - s) - s) + (2 gamma + 1) s), s = sigmoid(u)."""
    s, rest = torch.sigmoid(u), torch.sigmoid(-u)
    if gamma == 0:
        return s * rest
    power, softplus = torch.exp(gamma * F.logsigmoid(u)), -F.logsigmoid(-u)
    return power * rest * (gamma * softplus * (gamma * rest - s) + (2 * gamma + 1) * s)


def _signed_logits(logits: Tensor, index: Tensor, excluded: Tensor | None) -> Tensor:
    """Return u: the logits, negated for the true class, and 0 for excluded targets, whose logits may be NaN."""
    u = logits.scatter(1, index, -logits.gather(1, index))
    return u if excluded is None else torch.where(excluded, 0, u)


def _in_pieces(
    logits: Tensor,
    index: Tensor,
    coefficient: Tensor,
    excluded: Tensor | None,
    slope: Tensor | None,
    gamma: float,
    total: bool,
) -> Tensor:
    rows = _rows_per_piece(logits)
    if rows >= len(logits):
        return _one_piece(logits, index, coefficient, excluded, slope, gamma, total)
    losses = []
    for start in range(0, len(logits), rows):
        part = slice(start, start + rows)
        skipped, derivative = (None if x is None else x[part] for x in (excluded, slope))
        losses.append(_one_piece(logits[part], index[part], coefficient[part], skipped, derivative, gamma, total))
    return torch.stack(losses).sum() if total else torch.cat(losses)


def _one_piece(
    logits: Tensor,
    index: Tensor,
    coefficient: Tensor,
    excluded: Tensor | None,
    slope: Tensor | None,
    gamma: float,
    total: bool,
) -> Tensor:
    """Return the weighted loss of a piece, and write its derivative in the logits to `slope` unless that is None."""
    u = _signed_logits(logits, index, excluded)
    softplus = F.softplus(u, threshold=EXACT)
    if gamma == 0:
        if slope is not None:
            torch.sigmoid(u, out=slope).mul_(coefficient)
        softplus.mul_(coefficient)
    else:
        if slope is not None:
            torch.neg(u, out=slope).sigmoid_()  # sigmoid(-u), without the cancellation of 1 - sigmoid(u)
        power = u.sigmoid_()
        if slope is not None:
            torch.addcmul(power, slope, softplus, value=gamma, out=slope)
        if gamma != 1:
            power.pow_(gamma)
        softplus.mul_(power.mul_(coefficient))
        if slope is not None:
            slope.mul_(power)
    if slope is not None:
        slope.scatter_(1, index, -slope.gather(1, index))
    return softplus.sum() if total else softplus.sum(1)


def _rows_per_piece(logits: Tensor) -> int:
    smallest = PIECE_PER_CORE * torch.get_num_threads() if logits.is_cpu else SMALLEST_PIECE_ON_GPU
    return max(1, max(smallest, logits.numel() // PIECES) * len(logits) // max(1, logits.numel()))
