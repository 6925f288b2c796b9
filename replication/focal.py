"""The one-against-all focal term, summed over classes, with class indices as targets: fast, lean, never NaN.

With u_i = z_i, but u_y = -z_y for the true class y (the negative of the paper's z_i^t), a class's term is

    f(u)  = sigmoid(u)^gamma softplus(u)                                    gamma = 0: sigmoid cross entropy
    f'(u) = sigmoid(u)^gamma (gamma sigmoid(-u) softplus(u) + sigmoid(u))

Every factor is bounded by 1 or grows like u, so that no finite logit gives NaN or infinity, in the value or in the
gradient. `focal_term` is f in differentiable steps. `FocalSum` sums f over the classes without ever building a one-hot
target, and takes f' along on the forward pass, in pieces of the batch, so that it holds two tensors of the logits'
size at most.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

EXACT = 40.0  # softplus(u) and u agree in float64 from here on
SMALLEST_PIECE = {"cpu": 2**16, "cuda": 2**22}  # elements: what a cache holds; what a GPU fills in one launch
PIECES = 8


def focal_term(u: Tensor, gamma: float) -> Tensor:
    """f(u), elementwise; differentiable any number of times, since the power is taken in log space."""
    softplus = -F.logsigmoid(-u)
    return softplus if gamma == 0 else torch.exp(gamma * F.logsigmoid(u)) * softplus


def focal_slope(u: Tensor, gamma: float) -> Tensor:
    """f'(u), elementwise; differentiable like `focal_term`."""
    if gamma == 0:
        return torch.sigmoid(u)
    return torch.exp(gamma * F.logsigmoid(u)) * (-gamma * torch.sigmoid(-u) * F.logsigmoid(-u) + torch.sigmoid(u))


def focal_sum(logits: Tensor, index: Tensor, gamma: float) -> Tensor:
    """Sum over classes of f: logits (B, C, ...), index (B, ...) int64 in [0, C); returns (B, ...)."""
    if torch.compiler.is_compiling():  # a compiler fuses the plain form, and derives its gradient, by itself
        return focal_term(_negate_true_class(logits, index), gamma).sum(1)
    wanted = torch.is_grad_enabled() and logits.requires_grad
    return FocalSum.apply(logits, index, gamma, wanted)[0]


class FocalSum(torch.autograd.Function):
    """(logits, index, gamma, with_slope) -> (loss (B, ...), its slope in the logits, or an empty tensor)."""

    @staticmethod
    def forward(logits, index, gamma, with_slope):
        slope = torch.empty_like(logits) if with_slope else logits.new_empty(0)
        rows = _rows_a_piece(logits)
        pieces = zip(logits.split(rows), index.split(rows), strict=True)
        slopes = slope.split(rows) if with_slope else None
        losses = [_in_place(z, y, gamma, slopes[k] if with_slope else None) for k, (z, y) in enumerate(pieces)]
        return losses[0] if len(losses) == 1 else torch.cat(losses), slope

    @staticmethod
    def setup_context(ctx, inputs, output):
        logits, index, ctx.gamma, ctx.with_slope = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(logits, index, output[1])
        ctx.save_for_forward(logits, index)

    @staticmethod
    def backward(ctx, grad, _):
        logits, index, slope = ctx.saved_tensors
        if torch.is_grad_enabled() or not ctx.with_slope:  # to be differentiated again
            slope = _slope(logits, index, ctx.gamma)
        return slope * grad.unsqueeze(1), None, None, None

    @staticmethod
    def jvp(ctx, tangent, *_):
        logits, index = ctx.saved_tensors
        return (_slope(logits, index, ctx.gamma) * tangent).sum(1), None

    @staticmethod
    def vmap(info, in_dims, logits, index, gamma, with_slope):
        logits, index = (
            x.movedim(d, 0) if d is not None else x.expand(info.batch_size, *x.shape)
            for x, d in zip((logits, index), in_dims[:2], strict=True)
        )
        lead = logits.shape[:2]
        loss, slope = FocalSum.apply(logits.flatten(0, 1), index.flatten(0, 1), gamma, with_slope)
        return (loss.unflatten(0, lead), slope.unflatten(0, lead) if with_slope else slope), (0, 0 if with_slope else None)


def _in_place(logits: Tensor, index: Tensor, gamma: float, slope: Tensor | None) -> Tensor:
    """The sum of f over classes (B, ...); its slope in the logits is written to `slope`, if there is one."""
    u = _negate_true_class(logits, index)
    softplus = F.softplus(u, threshold=EXACT)
    sigmoid = u.sigmoid_()
    if gamma == 0:
        slope = slope if slope is None else slope.copy_(sigmoid)
    else:
        if slope is not None:
            torch.neg(softplus, out=slope).exp_().mul_(softplus).mul_(gamma).add_(sigmoid)
        power = sigmoid if gamma == 1 else sigmoid.pow_(gamma)
        softplus.mul_(power)
        slope = slope if slope is None else slope.mul_(power)
    if slope is not None:
        at = index.unsqueeze(1)
        slope.scatter_(1, at, slope.gather(1, at).neg_())
    return softplus.sum(1)


def _slope(logits: Tensor, index: Tensor, gamma: float) -> Tensor:
    return _negate_true_class(focal_slope(_negate_true_class(logits, index), gamma), index)


def _negate_true_class(x: Tensor, index: Tensor) -> Tensor:
    at = index.unsqueeze(1)  # (B, 1, ...)
    return x.scatter(1, at, -x.gather(1, at))


def _rows_a_piece(logits: Tensor) -> int:
    smallest = SMALLEST_PIECE.get(logits.device.type, SMALLEST_PIECE["cuda"])
    elements = max(smallest, logits.numel() // PIECES)
    return max(1, elements * len(logits) // max(1, logits.numel()))
