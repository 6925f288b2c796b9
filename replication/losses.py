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
v = sum_i t_i w_i / sum_i t_i (1 if no class is true). A positive weighs as its class, a negative as the
positives beside it do on average; for a single true class that is w_y throughout.

Raised: TypeError for logits that are not floating, or class indices or an ignore_index that are not integers;
ValueError for shapes that do not fit (the weight's too), an unknown reduction, a label_smoothing or gamma out of range,
and on the CPU for a class index outside [0, C). On a GPU that last one is the device's own assertion.
"""

import numpy as np
import torch
from torch import Tensor, nn

from replication.loss_arguments import check_options, warn_of_counts
from replication.loss_terms import evaluate, one_against_all, softmax
from replication.theory.effective_number import class_balanced_weights


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
    check_options(0.0, reduction, ignore_index, label_smoothing)
    return evaluate(softmax, logits, target, weight, 0.0, reduction, ignore_index, label_smoothing)


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
    check_options(0.0, reduction, ignore_index, label_smoothing)
    return evaluate(one_against_all, logits, target, weight, 0.0, reduction, ignore_index, label_smoothing)


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
    check_options(gamma, reduction, ignore_index, label_smoothing)
    return evaluate(one_against_all, logits, target, weight, gamma, reduction, ignore_index, label_smoothing)


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
    check_options(gamma, reduction, ignore_index, label_smoothing)
    return evaluate(softmax, logits, target, weight, gamma, reduction, ignore_index, label_smoothing)


TERMS = {"softmax": softmax, "sigmoid": one_against_all, "focal": one_against_all, "softmax_focal": softmax}


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
    tensor(1.3214)
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
        if loss not in TERMS:
            raise ValueError(f"loss must be one of {tuple(TERMS)}, got {loss!r}")
        if ("focal" in loss) != (gamma is not None):
            raise ValueError(f"gamma must be given for the focal losses and no other, got {gamma!r} for {loss!r}")
        check_options(0.0 if gamma is None else gamma, reduction, ignore_index, label_smoothing)
        weight = class_balanced_weights(class_counts, beta, empty=empty)
        warn_of_counts(np.asarray(class_counts, dtype=np.float64), beta, weight)
        self.register_buffer("weight", torch.from_numpy(weight))
        self.beta, self.loss, self.gamma, self.empty = float(beta), loss, gamma, empty
        self.reduction, self.ignore_index, self.label_smoothing = reduction, ignore_index, label_smoothing

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return evaluate(
            TERMS[self.loss],
            logits,
            target,
            self.weight,
            self.gamma or 0.0,
            self.reduction,
            self.ignore_index,
            self.label_smoothing,
        )

    def extra_repr(self) -> str:
        focal = "" if self.gamma is None else f", gamma={self.gamma}"
        return f"{len(self.weight)} classes, beta={self.beta}, loss={self.loss!r}{focal}, reduction={self.reduction!r}"
