"""The one-against-all focal term, and its sum over classes for class indices: fast, lean, never NaN.

With u_i = z_i, but u_y = -z_y for the true class y (so u_i = -z_i^t in the paper's notation), a class's term is

    f(u)  = sigmoid(u)^gamma softplus(u)                                    gamma = 0: sigmoid cross entropy
    f'(u) = sigmoid(u)^gamma (gamma sigmoid(-u) softplus(u) + sigmoid(u))

Every factor lies in [0, 1] or grows like u, so no finite logit gives NaN or infinity, in value or gradient.
`focal_term` is f in steps that autograd can follow. `focal_sum` adds f over the classes without ever building a one-hot
target: it works out f' on the way forward, in pieces of the batch, so that of many logits it holds two tensors of their
size at most.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

EXACT = 40.0  # from here on softplus(u) and u are one number in float64
PIECE_A_CORE = 2**16  # elements: what a core's cache holds, and enough for torch to give each core a share
SMALLEST_PIECE_ELSEWHERE = 2**22  # what fills a GPU for longer than a launch takes
PIECES = 8


def focal_term(u: Tensor, gamma: float) -> Tensor:
    """f(u), elementwise; differentiable any number of times, since the power is taken in log space."""
    softplus = -F.logsigmoid(-u)
    return softplus if gamma == 0 else torch.exp(gamma * F.logsigmoid(u)) * softplus


def focal_slope(u: Tensor, gamma: float) -> Tensor:
    """f'(u), elementwise; differentiable like `focal_term`."""
    if gamma == 0:
        return torch.sigmoid(u)
    return torch.exp(gamma * F.logsigmoid(u)) * (torch.sigmoid(u) - gamma * torch.sigmoid(-u) * F.logsigmoid(-u))


def derived_by_others() -> bool:
    """Whether a compiler, torch.func or forward-mode differentiation is at work: they want steps that they know."""
    return (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or torch.autograd.forward_ad._current_level >= 0
    )


def focal_sum(
    logits: Tensor,
    target: Tensor,
    weight: Tensor,
    gamma: float,
    place: Callable[..., tuple[Tensor, Tensor]],
    total: bool,
) -> Tensor:
    """coefficient * sum_i f(u_i), (B, ...), or its `total` over the targets, ().

    logits (B, C, ...); place(target, weight) gives the true class of each target, int64 in [0, C), and its coefficient,
    a constant, both (B, 1, ...).
    """
    if derived_by_others() or weight.requires_grad:
        index, coefficient = place(target, weight)
        loss = (coefficient * focal_term(_negate_true_class(logits, index, _sign(coefficient)), gamma)).sum(1)
        return loss.sum() if total else loss
    with_slope = torch.is_grad_enabled() and logits.requires_grad
    return FocalSum.apply(logits, target, weight, gamma, place, total, with_slope)


class FocalSum(torch.autograd.Function):
    """`focal_sum` with its gradient kept from the forward pass, or worked out again to be differentiated once more.

    Nothing else is kept but what the caller holds anyway; what `place` makes is made again where it is wanted again.
    """

    @staticmethod
    def forward(ctx, logits, target, weight, gamma, place, total, with_slope):
        slope = torch.empty_like(logits) if with_slope else None
        ctx.gamma, ctx.place, ctx.total = gamma, place, total
        ctx.save_for_backward(logits, target, weight, slope)
        index, coefficient = place(target, weight)
        rows = _rows_a_piece(logits)
        if rows >= len(logits):
            return _in_place(logits, index, coefficient, slope, gamma, total)
        slopes = slope.split(rows) if with_slope else [None] * len(logits)
        pieces = zip(logits.split(rows), index.split(rows), coefficient.split(rows), slopes, strict=False)
        losses = [_in_place(*piece, gamma, total) for piece in pieces]
        return torch.stack(losses).sum() if total else torch.cat(losses)

    @staticmethod
    def backward(ctx, grad):
        logits, target, weight, slope = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True
            index, coefficient = ctx.place(target, weight)
            sign = _sign(coefficient)
            slope = focal_slope(_negate_true_class(logits, index, sign), ctx.gamma)
            slope = _negate_true_class(slope, index, sign) * coefficient
        return slope * (grad if ctx.total else grad.unsqueeze(1)), None, None, None, None, None, None


def _in_place(
    logits: Tensor, index: Tensor, coefficient: Tensor, slope: Tensor | None, gamma: float, total: bool
) -> Tensor:
    """The weighted loss of a piece; its derivative in the logits is written to `slope`, if there is one."""
    sign = _sign(coefficient)
    u = _negate_true_class(logits, index, sign)
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
        slope.scatter_(1, index, sign * slope.gather(1, index))
    return softplus.sum() if total else softplus.sum(1)


def _sign(coefficient: Tensor) -> Tensor:
    """-1, but 1 where nothing counts: the class that stands in for an ignored one may be masked, and -(-inf) be inf."""
    return torch.where(coefficient == 0, 1.0, -1.0).to(coefficient.dtype)


def _negate_true_class(x: Tensor, index: Tensor, sign: Tensor) -> Tensor:
    return x.scatter(1, index, sign * x.gather(1, index))


def _rows_a_piece(logits: Tensor) -> int:
    smallest = PIECE_A_CORE * torch.get_num_threads() if logits.is_cpu else SMALLEST_PIECE_ELSEWHERE
    return max(1, max(smallest, logits.numel() // PIECES) * len(logits) // max(1, logits.numel()))
