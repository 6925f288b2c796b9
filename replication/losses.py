"""The class-balanced losses of Section 4, exact and finite: functions, and a module that holds the weights.

logits   (B, C) or (B, C, d1, ...), floating; halves are computed, and the loss returned, in float32.
target   class indices, integers (B,) or (B, d1, ...); or, in the logits' shape, class probabilities or a multi-hot.
weight   (C,), one a class, or None for ones. The weight of a target is that of its true class, w_y.
reduction, over the B x d1 x ... targets:
    "mean"           weighted sum / number of targets, the paper's
    "weighted_mean"  weighted sum / sum of the targets' weights, that of `torch.nn.functional.cross_entropy(weight=w)`
    "sum", "none"    weighted sum; the weighted loss of each target, in the targets' shape
ignore_index     such targets count nowhere; a batch of nothing else gives 0 with zero gradients. In a target of the
                 logits' shape it marks elements: the sigmoid losses leave these out, the softmax losses their target.
label_smoothing  e in [0, 1]: t' = (1 - e) t + e / C. The weight stays that of t.

A target t of the logits' shape weighs sum_i t_i w_i in the softmax losses, the expectation of the weights. In the
sigmoid losses, whose classes may be true together, each element has its own: t_i w_i + (1 - t_i) v, where
v = sum_i t_i w_i / sum_i t_i (1 if no class is true). A positive weighs as its class, a negative as the positives beside
it do on average; for a single true class that is w_y throughout.

Raised, in this order: TypeError for logits that are not floating, or class indices that are not integers; ValueError
for shapes that do not fit, an unknown reduction, a label_smoothing or gamma out of range, and on the CPU for a class
index outside [0, C). On a GPU that last one is the device's own assertion.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .focal import focal_sum, focal_term
from .loss_arguments import check_options, check_range, check_tensors, check_weight, warn_of_counts
from .theory.effective_number import class_balanced_weights


def softmax_cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Tensor:
    """w_y (-log softmax(z)_y), Section 4.1; arguments and errors as at the head of this module.

    >>> softmax_cross_entropy(torch.zeros(1, 2), torch.tensor([0]))  # log 2
    tensor(0.6931)
    """
    return _evaluate(_softmax, logits, target, weight, 0.0, reduction, ignore_index, label_smoothing)


def sigmoid_cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Tensor:
    """w_y sum_i log(1 + exp(-z_i^t)), z_i^t = z_i for i = y, else -z_i, Section 4.2; summed over the classes.

    >>> sigmoid_cross_entropy(torch.zeros(1, 2), torch.tensor([0]))  # 2 log 2
    tensor(1.3863)
    """
    return _evaluate(_one_against_all, logits, target, weight, 0.0, reduction, ignore_index, label_smoothing)


def sigmoid_focal_loss(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    gamma: float = 1.0,
    reduction: str = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Tensor:
    """w_y sum_i (1 - p_i^t)^gamma log(1 + exp(-z_i^t)), p_i^t = sigmoid(z_i^t), Section 4.3; gamma >= 0.

    >>> sigmoid_focal_loss(torch.zeros(1, 2), torch.tensor([0]), gamma=1)  # 2 log 2 / 2
    tensor(0.6931)
    """
    return _evaluate(_one_against_all, logits, target, weight, gamma, reduction, ignore_index, label_smoothing)


def softmax_focal_loss(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    gamma: float = 1.0,
    reduction: str = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Tensor:
    """w_y (1 - p_y)^gamma (-log p_y), p = softmax(z): what others call focal loss; not the paper's. gamma >= 0.

    >>> softmax_focal_loss(torch.zeros(1, 2), torch.tensor([0]), gamma=1)  # log 2 / 2
    tensor(0.3466)
    """
    return _evaluate(_softmax, logits, target, weight, gamma, reduction, ignore_index, label_smoothing)


LOSSES = {
    "softmax": softmax_cross_entropy,
    "sigmoid": sigmoid_cross_entropy,
    "focal": sigmoid_focal_loss,
    "softmax_focal": softmax_focal_loss,
}


class ClassBalancedLoss(nn.Module):
    """A loss of Section 4 with the weights (1 - beta) / (1 - beta^n_y), scaled to sum to C.

    class_counts: (C,) training samples of each class, of the whole training set. beta: in [0, 1], 0 for no weights.
    loss: "softmax", "sigmoid", "focal" or "softmax_focal". gamma: >= 0, required for the focal losses, refused else.
    empty: "error", or "zero" for weight 0 where a count is 0 (`class_balanced_weights`). Others: head of this module.

    The weights are the buffer `weight`, float64 until the loss casts it to the logits' type; `.float()` first where a
    device has no float64. Raises ValueError or TypeError here, not first in forward. Warns here, with UserWarning, of a
    beta > 0 that leaves different counts with equal weights (within 1 %), and of counts that look like those of a
    batch: fewer than two a class, or 16, 32, ..., 1024 altogether.

    >>> ClassBalancedLoss([5000, 50], beta=0.999)(torch.zeros(1, 2), torch.tensor([1]))  # 1.906 log 2
    tensor(1.3213)
    """

    def __init__(
        self,
        class_counts,
        beta: float,
        loss: str = "softmax",
        gamma: float | None = None,
        reduction: str = "mean",
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        empty: str = "error",
    ):
        super().__init__()
        if loss not in LOSSES:
            raise ValueError(f"loss must be one of {tuple(LOSSES)}, got {loss!r}")
        if ("focal" in loss) != (gamma is not None):
            raise ValueError(f"gamma must be given for the focal losses and no other, got {gamma!r} for {loss!r}")
        check_options(0.0 if gamma is None else gamma, reduction, ignore_index, label_smoothing)
        weight = class_balanced_weights(class_counts, beta, empty=empty)
        warn_of_counts(np.asarray(class_counts, dtype=np.float64), beta, weight)
        self.register_buffer("weight", torch.from_numpy(weight))
        self.beta, self.loss, self.gamma, self.empty = float(beta), loss, gamma, empty
        self.reduction, self.ignore_index, self.label_smoothing = reduction, ignore_index, label_smoothing

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        options = {} if self.gamma is None else {"gamma": self.gamma}
        return LOSSES[self.loss](
            logits,
            target,
            self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            **options,
        )

    def extra_repr(self) -> str:
        focal = "" if self.gamma is None else f", gamma={self.gamma}"
        return f"{len(self.weight)} classes, beta={self.beta}, loss={self.loss!r}{focal}, reduction={self.reduction!r}"


def _evaluate(
    loss: Callable,
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    gamma: float,
    reduction: str,
    ignore_index: int,
    label_smoothing: float,
) -> Tensor:
    """Check, compute, and only if that fails look whether an index was out of range."""
    check_options(gamma, reduction, ignore_index, label_smoothing)
    check_tensors(logits, target, ignore_index)
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    weight = check_weight(weight, logits)
    try:
        return loss(logits, target, weight, gamma, reduction, ignore_index, label_smoothing)
    except (IndexError, RuntimeError):
        check_range(target, logits, ignore_index)
        raise


def _softmax(logits, target, weight, gamma, reduction, ignore_index, label_smoothing):
    dense = target.ndim == logits.ndim
    if gamma == 0 and label_smoothing == 0 and not dense and reduction in ("mean", "sum"):
        return _fused_softmax(logits, target.long(), weight, reduction, ignore_index)
    terms = -F.log_softmax(logits, 1)  # (B, C, ...)
    if gamma != 0:
        terms = torch.exp(gamma * _log_one_minus_softmax(logits)) * terms
    if dense:
        keep = (target != ignore_index).all(1)
        target = torch.where(keep.unsqueeze(1), target, 0).to(logits.dtype)
        weight = (target * _per_class(weight, logits)).sum(1)
        loss = (_smooth(target, label_smoothing) * terms).sum(1)
    else:
        index, weight, keep = _index(target, weight, ignore_index, logits.dtype)
        loss = terms.gather(1, index.unsqueeze(1)).squeeze(1)
        if label_smoothing != 0:
            loss = (1 - label_smoothing) * loss + label_smoothing * terms.mean(1)
    weight = weight * keep
    return _reduce(weight * loss, weight, keep, reduction)


def _fused_softmax(logits: Tensor, target: Tensor, weight: Tensor, reduction: str, ignore_index: int) -> Tensor:
    """torch's own kernel with weights; for the mean the C weights are divided, and not the sum, before autograd."""
    if reduction == "mean":
        weight = weight / (target != ignore_index).sum().clamp(min=1)
    return F.cross_entropy(logits, target, weight.to(logits.dtype), reduction="sum", ignore_index=ignore_index)


def _log_one_minus_softmax(logits: Tensor) -> Tensor:
    """log(1 - p_i): log1p(-p_i), but for the largest p_i, which may be 1 in floating point, the others' logsumexp."""
    top = logits.argmax(1, keepdim=True)
    others = logits.scatter(1, top, torch.finfo(logits.dtype).min / 4).logsumexp(1, keepdim=True)
    small = F.softmax(logits, 1).scatter(1, top, 0.0)
    return torch.log1p(-small).scatter(1, top, others - logits.logsumexp(1, keepdim=True))


def _one_against_all(logits, target, weight, gamma, reduction, ignore_index, label_smoothing):
    if target.ndim != logits.ndim:
        index, weight, keep = _index(target, weight, ignore_index, logits.dtype)
        loss = focal_sum(logits, index, gamma)
        if label_smoothing != 0:  # linear in t: part of the way to the loss of t = 1 / C
            uniform = _binary_terms(logits, 1 / logits.shape[1], gamma).sum(1)
            loss = (1 - label_smoothing) * loss + label_smoothing * uniform
        weight = weight * keep
        return _reduce(weight * loss, weight, keep, reduction)
    keep = target != ignore_index  # (B, C, ...)
    target = torch.where(keep, target, 0).to(logits.dtype)
    own, number = target * _per_class(weight, logits), target.sum(1, keepdim=True)
    average = torch.where(number > 0, own.sum(1, keepdim=True) / torch.where(number > 0, number, 1), 1)
    terms = (own + (1 - target) * average) * _binary_terms(logits, _smooth(target, label_smoothing), gamma)
    some = keep.any(1)
    return _reduce((terms * keep).sum(1), average.squeeze(1) * some, some, reduction)


def _binary_terms(logits: Tensor, target: Tensor | float, gamma: float) -> Tensor:
    """One against all with any t in [0, 1]: t f(-z) + (1 - t) f(z), elementwise."""
    return target * focal_term(-logits, gamma) + (1 - target) * focal_term(logits, gamma)


def _index(target: Tensor, weight: Tensor, ignore_index: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Class index, weight and whether to keep, of each target; what is ignored stands as class 0."""
    keep = target != ignore_index
    index = torch.where(keep, target, 0).long()
    return index, weight.to(dtype)[index], keep


def _per_class(weight: Tensor, logits: Tensor) -> Tensor:
    return weight.to(logits.dtype).view(-1, *[1] * (logits.ndim - 2))  # (C, 1, ...)


def _smooth(target: Tensor, label_smoothing: float) -> Tensor:
    return target if label_smoothing == 0 else (1 - label_smoothing) * target + label_smoothing / target.shape[1]


def _reduce(loss: Tensor, weight: Tensor, keep: Tensor, reduction: str) -> Tensor:
    """loss: weighted, 0 where not kept; weight: 0 where not kept. All (B, ...)."""
    if reduction == "none":
        return loss
    total = loss.sum()
    if reduction == "mean":
        return total / keep.sum().clamp(min=1)
    if reduction == "weighted_mean":
        weights = weight.sum()
        return total / torch.where(weights > 0, weights, 1)
    return total
