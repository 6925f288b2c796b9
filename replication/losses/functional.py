"""The losses as functions. See the contract in `replication.losses` for arguments, defaults and errors."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from replication.losses.arguments import (
    HALF_PRECISION,
    LossOptions,
    check_gamma_fits,
    check_indices,
    check_probabilities,
    check_tensors,
    check_weight,
    check_weight_shape,
    extremes_on_cpu,
    has_one_logit,
    may_try_first,
)
from replication.losses.kernels import focal_sum
from replication.losses.targets import coefficients, divisor, over_number, per_class, place, two_classes
from replication.losses.terms import binary_term, finite_where_unused, softmax_factors
from replication.theory.effective_number import check_counts

NO_LABEL = -(2**62) - 1  # an ignore_index that no label equals; NaN cast to int64 gives -2**63


def softmax_cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Compute softmax cross-entropy, w_y (-log softmax(z)_y) (Section 4.1).

    >>> softmax_cross_entropy(torch.zeros(1, 2), torch.tensor([0]))  # log 2
    tensor(0.6931)
    """
    return evaluate(softmax_loss, logits, target, weight, LossOptions(0.0, reduction, ignore_index, label_smoothing))


def sigmoid_cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Compute sigmoid cross-entropy, w_y sum_i log(1 + exp(-z_i^t)), summed over the classes (Section 4.2).

    Here z_y^t = z_y for the true class y, and z_i^t = -z_i for the others.

    >>> sigmoid_cross_entropy(torch.zeros(1, 2), torch.tensor([0]))  # 2 log 2
    tensor(1.3863)
    """
    return evaluate(sigmoid_loss, logits, target, weight, LossOptions(0.0, reduction, ignore_index, label_smoothing))


def sigmoid_focal_loss(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    gamma: float = 1.0,
    reduction: str = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Compute focal loss, w_y sum_i (1 - p_i^t)^gamma log(1 + exp(-z_i^t)), summed over the classes (Section 4.3).

    Here p_i^t = sigmoid(z_i^t), with z_i^t as in `sigmoid_cross_entropy`, which gamma = 0 gives. gamma >= 0 is the
    focusing parameter.

    >>> sigmoid_focal_loss(torch.zeros(1, 2), torch.tensor([0]), gamma=1)  # 2 log 2 / 2
    tensor(0.6931)
    """
    return evaluate(sigmoid_loss, logits, target, weight, LossOptions(gamma, reduction, ignore_index, label_smoothing))


def softmax_focal_loss(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    gamma: float = 1.0,
    reduction: str = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Compute the focal loss of a softmax, w_y (1 - p_y)^gamma (-log p_y) with p = softmax(z).

    It is not in the paper, but other packages mean it by "focal loss" (Lin et al. 2017 for several classes). gamma is
    the focusing parameter, >= 0; 0 gives `softmax_cross_entropy`.

    >>> softmax_focal_loss(torch.zeros(1, 2), torch.tensor([0]), gamma=1)  # log 2 / 2
    tensor(0.3466)
    """
    return evaluate(softmax_loss, logits, target, weight, LossOptions(gamma, reduction, ignore_index, label_smoothing))


def balanced_softmax_loss(
    logits: Tensor,
    target: Tensor,
    class_counts: Any,
    reduction: str = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Compute balanced softmax, the softmax cross-entropy of z + log n (Ren et al. 2020, Equation 4).

    Args:
        class_counts: (C,) training samples of each class, > 0: whatever `class_balanced_weights` accepts. A tensor on
            the logits' device is the fastest, and the one to use in compiled code; on a GPU its values are not checked.

    >>> balanced_softmax_loss(torch.zeros(1, 2), torch.tensor([1]), [3, 1])  # log 4
    tensor(1.3863)
    """
    options = LossOptions(0.0, reduction, ignore_index, label_smoothing)
    check_tensors(logits, target, options)
    if logits.dtype in HALF_PRECISION:
        logits = logits.float()
    log_prior = per_class(_log_counts(class_counts, logits), logits)
    return evaluate(softmax_loss, logits + log_prior, target, None, options)


def _log_counts(class_counts: Any, logits: Tensor) -> Tensor:
    """Return log n minus its maximum, (C,): the softmax is the same, and more digits are kept."""
    if isinstance(class_counts, Tensor) and class_counts.device == logits.device:
        extremes = extremes_on_cpu(class_counts)
        if extremes is not None and not 0 < extremes[0] <= extremes[1] < math.inf:
            check_counts(class_counts)  # raises an error that names what is wrong
    else:
        class_counts = torch.as_tensor(check_counts(class_counts))
    if class_counts.shape != (logits.shape[1],):
        raise ValueError(
            f"class_counts must be one number for each of the {logits.shape[1]} classes of logits, got shape "
            f"{tuple(class_counts.shape)}"
        )
    counts: Tensor = class_counts.to(logits)
    return (counts / counts.max()).log()


LossFunction = Callable[[Tensor, Tensor, Tensor, bool, LossOptions], Tensor]


def evaluate(
    loss: LossFunction, logits: Tensor, target: Tensor, weight: Any, options: LossOptions, positive: bool | None = None
) -> Tensor:
    """Check the arguments and compute `loss`: `softmax_loss` or `sigmoid_loss`.

    `positive` says whether all weights are, if their values have been checked before; None checks them.
    """
    if positive and loss is softmax_loss and may_try_first(logits, target, weight, options):
        try:
            divided = weight if options.reduction == "sum" else over_number(weight, target.numel())
            return F.cross_entropy(logits, target, divided, None, NO_LABEL, reduction="sum")
        except (AssertionError, IndexError, RuntimeError, ValueError):  # A target is ignored, or an argument is wrong.
            pass
    if weight is not None:
        if positive is None:
            weight, positive = check_weight(weight, logits)
        if loss is sigmoid_loss and weight.numel() == 2 and has_one_logit(logits):
            logits, target = two_classes(logits, target, options.ignore_index)
            return evaluate(loss, logits, target, weight, options, positive) / 2  # Both classes have the same term.
    check_tensors(logits, target, options)
    if logits.dtype in HALF_PRECISION:
        logits = logits.float()
    if weight is None:
        weight, positive = logits.new_ones(logits.shape[1]), True
    check_weight_shape(weight, logits)
    if options.gamma != 0:
        check_gamma_fits(options.gamma, logits.dtype)
    if weight.dtype != logits.dtype:
        weight = weight.to(logits.dtype)
    if target.dtype != torch.int64 and target.ndim != logits.ndim:
        target = target.long()  # In a smaller type ignore_index could wrap around to a class.
    try:
        return loss(logits, target, weight, bool(positive), options)
    except (IndexError, RuntimeError):
        check_indices(target, logits, options.ignore_index)
        raise


def softmax_loss(logits: Tensor, target: Tensor, weight: Tensor, positive: bool, options: LossOptions) -> Tensor:
    """Return sum_i t_i w_i (1 - p_i)^gamma (-log p_i), p = softmax(z), reduced.

    `positive` says that all weights are known to be positive.
    """
    e, reduction = options.label_smoothing, options.reduction
    if target.ndim == logits.ndim:
        return _dense_softmax_loss(logits, target, weight, options)
    index, weight, excluded = place(logits, target, weight, positive, options)
    logits = logits if excluded is None else torch.where(excluded, 0, logits)
    if options.is_cross_entropy and not weight.requires_grad:
        return F.cross_entropy(logits, target, weight, None, options.ignore_index, reduction="sum")
    factors = softmax_factors(logits, options.gamma)
    # Gathered before they are multiplied, because other classes may be masked and their -log p infinite.
    index = index.unsqueeze(1)
    loss = _product([factor.gather(1, index) for factor in factors])  # (B, 1, ...)
    if e != 0:
        loss = (1 - e) * loss + e * _product(factors).mean(1, keepdim=True)
    return _total((coefficients(weight, index, excluded) * loss).squeeze(1), reduction)


def _dense_softmax_loss(logits: Tensor, target: Tensor, weight: Tensor, options: LossOptions) -> Tensor:
    e = options.label_smoothing
    kept = (target != options.ignore_index).all(1, keepdim=True)  # (B, 1, ...)
    target = torch.where(kept, target, 0).to(logits.dtype)
    check_probabilities(target)
    share = target * per_class(weight, logits)  # (B, C, ...)
    own = share.sum(1, keepdim=True)
    if e != 0:
        share = (1 - e) * share + e * own / logits.shape[1]
    minus_log_p, *power = softmax_factors(torch.where(kept, logits, 0), options.gamma)
    loss = share * _product([finite_where_unused(share, minus_log_p), *power])
    return _total(loss.sum(1) / divisor(options.reduction, own, kept), options.reduction)


def sigmoid_loss(logits: Tensor, target: Tensor, weight: Tensor, positive: bool, options: LossOptions) -> Tensor:
    """Return w_y sum_i (1 - p_i^t)^gamma log(1 + exp(-z_i^t)), p = sigmoid(z), reduced; see `softmax_loss`."""
    e, gamma, reduction = options.label_smoothing, options.gamma, options.reduction
    if target.ndim == logits.ndim:
        return _dense_sigmoid_loss(logits, target, weight, options)
    index, weight, excluded = place(logits, target, weight, positive, options)
    loss = focal_sum(logits, index, weight, excluded, gamma, reduction != "none")
    if e == 0:
        return loss
    logits = logits if excluded is None else torch.where(excluded, 0, logits)
    uniform = binary_term(logits, torch.full_like(logits, 1 / logits.shape[1]), gamma).sum(1)  # (B, ...)
    uniform = coefficients(weight, index.unsqueeze(1), excluded).squeeze(1) * uniform
    return (1 - e) * loss + e * _total(uniform, reduction)


def _dense_sigmoid_loss(logits: Tensor, target: Tensor, weight: Tensor, options: LossOptions) -> Tensor:
    e = options.label_smoothing
    kept = target != options.ignore_index  # (B, C, ...)
    target = torch.where(kept, target, 0).to(logits.dtype)
    check_probabilities(target)
    own, positives = target * per_class(weight, logits), target.sum(1, keepdim=True)
    average = torch.where(positives > 0, own.sum(1, keepdim=True) / torch.where(positives > 0, positives, 1), 1)
    element = kept * (own + (1 - target) * average)
    if e != 0:
        target = (1 - e) * target + e / logits.shape[1]
    logits = finite_where_unused(element, torch.where(kept, logits, 0))
    loss = (element * binary_term(logits, target, options.gamma)).sum(1)
    some = kept.any(1, keepdim=True)
    return _total(loss / divisor(options.reduction, average * some, some), options.reduction)


def _product(factors: list[Tensor]) -> Tensor:
    return factors[0] if len(factors) == 1 else factors[0] * factors[1]


def _total(loss: Tensor, reduction: str) -> Tensor:
    return loss if reduction == "none" else loss.sum()
