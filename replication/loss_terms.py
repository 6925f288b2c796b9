"""What `losses` computes: arguments checked, each target's loss and coefficient, and their sum.

A coefficient is the weight of a target over what the reduction divides by, and 0 where the target is ignored. It is
worked out before the loss, so that autograd has a product and a sum to follow and no more.
"""

import functools
import operator
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from replication.focal import derived_by_others, focal_sum, focal_term
from replication.loss_arguments import check_range, check_tensors, check_weight

HALVES = (torch.float16, torch.bfloat16)
MANY = 2**17  # logits from which fewer passes over memory repay the calls from Python


def evaluate(
    terms: Callable,
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    gamma: float,
    reduction: str,
    ignore_index: int,
    label_smoothing: float,
) -> Tensor:
    """`terms` is `softmax` or `one_against_all`. Only if they fail is it asked whether an index was out of range."""
    check_tensors(logits, target, ignore_index)
    if logits.dtype in HALVES:
        logits = logits.float()
    weight = check_weight(weight, logits)
    if target.dtype != torch.int64 and target.ndim != logits.ndim:
        target = target.long()  # so that no ignore_index wraps to a class
    try:
        return terms(logits, target, weight, gamma, reduction, ignore_index, label_smoothing)
    except (IndexError, RuntimeError):
        check_range(target, logits, ignore_index)
        raise


def softmax(logits, target, weight, gamma, reduction, ignore_index, label_smoothing):
    """w_y (1 - p_y)^gamma (-log p_y), p = softmax(z)."""
    dense = target.ndim == logits.ndim
    if not dense and gamma == 0 and label_smoothing == 0 and (reduction == "mean" or reduction == "sum"):
        return _fused_softmax(logits, target, weight, reduction, ignore_index)
    factors = [-F.log_softmax(logits, 1)]  # (B, C, ...)
    if gamma != 0:
        factors.append(torch.exp(gamma * _log_one_minus_softmax(logits)))
    product = functools.partial(functools.reduce, operator.mul)
    if dense:
        keep = (target != ignore_index).all(1)
        target = torch.where(keep.unsqueeze(1), target, 0).to(logits.dtype)
        own = (target * _per_class(weight, logits)).sum(1)
        coefficient = own / _divisor(reduction, own, keep)
        target = _smooth(target, label_smoothing)
        share = torch.where(coefficient.unsqueeze(1) == 0, 0, target)  # none of what has weight 0
        loss = (target * product([_but_for_nothing(share, factor) for factor in factors])).sum(1)
    else:
        index, coefficient = _place(target, weight, reduction, ignore_index, logits.dtype)
        nothing = coefficient == 0  # of an ignored target: -log p of the class that stands in for it may be inf
        own = [torch.where(nothing, 0, f.gather(1, index)) for f in factors]  # gathered first: elsewhere it may be too
        coefficient, loss = coefficient.squeeze(1), product(own).squeeze(1)
        if label_smoothing != 0:
            factors = [torch.where(nothing, 0, f) for f in factors]
            loss = (1 - label_smoothing) * loss + label_smoothing * product(factors).mean(1)
    loss = coefficient * loss
    return loss if reduction == "none" else loss.sum()


def _fused_softmax(logits: Tensor, target: Tensor, weight: Tensor, reduction: str, ignore_index: int) -> Tensor:
    """torch's kernel, or `SoftmaxSum` for many logits on the CPU.

    For the mean it is the C weights that are divided, and not the sum: autograd sees one step less.  Where all is
    ignored they are divided by 0, but the kernel passes over what is ignored, and multiplies nothing.
    """
    if weight.dtype != logits.dtype:
        weight = weight.to(logits.dtype)
    if (
        logits.numel() >= MANY
        and logits.is_cpu
        and type(logits) is Tensor  # of no subclass, such as fake tensors, which hold no numbers
        and not weight.requires_grad
        and not derived_by_others()
        and not torch._C._len_torch_dispatch_stack()  # make_fx and the like, which follow each step
    ):
        return SoftmaxSum.apply(logits, target, weight, reduction, ignore_index)
    if reduction == "mean":
        weight = torch.div(weight, torch.count_nonzero(torch.ne(target, ignore_index)))
    return F.cross_entropy(logits, target, weight, None, ignore_index, reduction="sum")


class SoftmaxSum(torch.autograd.Function):
    """sum_b c_y (-log softmax(z)_y), c = w, or w / n for the mean, and its gradient c_y (softmax(z) - onehot(y)).

    The gradient takes two passes over memory.  Autograd's own, from torch's kernel, fills a tensor with zeros, puts
    -c_y in each row, and passes over it twice more.  It looks at values on the host: for the CPU only.
    """

    @staticmethod
    def forward(ctx, logits, target, weight, reduction, ignore_index):
        kept = target.numel()
        if ignore_index >= 0 or target.min().item() < 0:  # else none is ignored, which one look at the targets tells
            kept = torch.count_nonzero(torch.ne(target, ignore_index)).item()
        ctx.ignored = None if kept == target.numel() else ignore_index
        if reduction == "mean":
            weight = weight / (kept or 1)
        log_p = torch.log_softmax(logits, 1)
        ctx.save_for_backward(logits, log_p, target, weight)
        return F.nll_loss(log_p, target, weight, None, ignore_index, reduction="sum")

    @staticmethod
    def backward(ctx, grad):
        logits, log_p, index, weight = ctx.saved_tensors
        if ctx.ignored is None:
            coefficient = _of_each(weight, index)
        else:
            keep = index != ctx.ignored
            index = index * keep
            coefficient = torch.where(keep, _of_each(weight, index), 0)
        coefficient, index = (coefficient * grad).unsqueeze(1), index.unsqueeze(1)
        batched = torch._C._functorch.is_legacy_batchedtensor(grad)  # is_grads_batched=True: nothing in place
        if batched or torch.is_grad_enabled():  # create_graph=True
            return (F.softmax(logits, 1) * coefficient).scatter_add(1, index, -coefficient), None, None, None, None
        slope = torch.exp(log_p).mul_(coefficient).scatter_add_(1, index, coefficient.neg_())
        return slope, None, None, None, None


def _log_one_minus_softmax(logits: Tensor) -> Tensor:
    """log(1 - p_i): log1p(-p_i), but for the largest p_i, which may round to 1, from the logsumexp of the others."""
    largest, top = logits.max(1, keepdim=True)
    logits = logits - largest.detach()  # a difference of logsumexps of 1e4 would keep three decimals
    others = logits.scatter(1, top, torch.finfo(logits.dtype).min / 4).logsumexp(1, keepdim=True)
    small = F.softmax(logits, 1).scatter(1, top, 0.0)
    return torch.log1p(-small).scatter(1, top, others - logits.logsumexp(1, keepdim=True))


def one_against_all(logits, target, weight, gamma, reduction, ignore_index, label_smoothing):
    """w_y sum_i (1 - p_i^t)^gamma log(1 + exp(-z_i^t)), p = sigmoid(z)."""
    if target.ndim == logits.ndim:
        loss = _dense_one_against_all(logits, target, weight, gamma, reduction, ignore_index, label_smoothing)
        return loss if reduction == "none" else loss.sum()
    place = functools.partial(_place, reduction=reduction, ignore_index=ignore_index, dtype=logits.dtype)
    loss = focal_sum(logits, target, weight, gamma, place, total=reduction != "none")
    if label_smoothing == 0:
        return loss
    uniform = _binary_terms(logits, 1 / logits.shape[1], gamma).sum(1)  # the loss of t = 1 / C
    uniform = place(target, weight)[1].squeeze(1) * uniform
    return (1 - label_smoothing) * loss + label_smoothing * (uniform if reduction == "none" else uniform.sum())


def _dense_one_against_all(logits, target, weight, gamma, reduction, ignore_index, label_smoothing):
    keep = target != ignore_index  # (B, C, ...)
    target = torch.where(keep, target, 0).to(logits.dtype)
    own, positives = target * _per_class(weight, logits), target.sum(1)
    average = torch.where(positives > 0, own.sum(1) / torch.where(positives > 0, positives, 1), 1)  # (B, ...)
    some = keep.any(1)
    element = keep * (own + (1 - target) * average.unsqueeze(1))
    terms = element * _binary_terms(_but_for_nothing(element, logits), _smooth(target, label_smoothing), gamma)
    return terms.sum(1) / _divisor(reduction, average * some, some)


def _binary_terms(logits: Tensor, target: Tensor | float, gamma: float) -> Tensor:
    """One against all with any t in [0, 1]: t f(-z) + (1 - t) f(z), elementwise."""
    off = 1 - target
    yes, no = _but_for_nothing(target, -logits), _but_for_nothing(off, logits)
    return target * focal_term(yes, gamma) + off * focal_term(no, gamma)


def _but_for_nothing(share: Tensor | float, x: Tensor) -> Tensor:
    """x, but 0 where it is infinite and has no share: a class masked with -inf that is not the target."""
    return torch.where((share == 0) & torch.isinf(x), 0, x)


def _place(
    target: Tensor, weight: Tensor, reduction: str, ignore_index: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Of each target its class and what its loss is multiplied by, (B, 1, ...); what is ignored: class 0, times 0."""
    keep = target != ignore_index
    index = target * keep
    weight = _of_each(weight.to(dtype), index) * keep
    return index.unsqueeze(1), (weight / _divisor(reduction, weight, keep)).unsqueeze(1)


def _of_each(weight: Tensor, index: Tensor) -> Tensor:
    """weight[index], quicker."""
    if index.ndim == 1:  # flatten and view take as long as the rest of this, even where they do nothing
        return weight.index_select(0, index)
    return weight.index_select(0, index.flatten()).view(index.shape)


def _divisor(reduction: str, weight: Tensor, keep: Tensor) -> Tensor | int:
    """What the sum is divided by; `weight` is that of each target, 0 where it is not kept."""
    if reduction == "mean":
        return torch.count_nonzero(keep).clamp(min=1)
    if reduction == "weighted_mean":
        total = weight.sum()
        return torch.where(total > 0, total, 1)
    return 1


def _per_class(weight: Tensor, logits: Tensor) -> Tensor:
    return weight.to(logits.dtype).view(-1, *[1] * (logits.ndim - 2))  # (C, 1, ...)


def _smooth(target: Tensor, label_smoothing: float) -> Tensor:
    return target if label_smoothing == 0 else (1 - label_smoothing) * target + label_smoothing / target.shape[1]
