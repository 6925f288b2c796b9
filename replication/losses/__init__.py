"""The class-balanced losses of Section 4 and their relatives, as functions and as a module. This is their contract.

Arguments:
    logits: (B, C) or (B, C, d1, ...), floating point. Half precision is computed, and the loss returned, in float32.
    target: class indices, integers of shape (B,) or (B, d1, ...); or a tensor of the logits' shape with elements in
        [0, 1]: class probabilities for the softmax losses, independent labels (multi-hot) for the sigmoid losses.
    weight: (C,), finite and >= 0, or None for ones. A target is weighted by its true class, w_y.
    reduction: how the losses of the B x d1 x ... targets are combined.
        "mean": the weighted sum divided by the number of targets, as in the paper.
        "weighted_mean": the weighted sum divided by the sum of the targets' weights, as in torch.
        "sum", "none": the weighted sum; the weighted loss of each target, in the targets' shape.
    ignore_index: targets with this value are left out: value and gradients are as if they were not there, even if
        their logits are NaN. If all are left out, the loss is 0 with zero gradients. In a target of the logits' shape
        it marks elements: the sigmoid losses leave out the element, the softmax losses the whole target.
    label_smoothing: e in [0, 1]. The target t is replaced by (1 - e) t + e / C; its weight does not change.

Targets of the logits' shape:
    The softmax losses are linear in t: sum_i t_i w_i l_i, where l_i is the loss of class index i. So the loss of mixed
    labels is the mix of their losses, and targets that do not sum to 1 count by their sum.
    In the sigmoid losses element i has the weight t_i w_i + (1 - t_i) v, where v = sum_i t_i w_i / sum_i t_i, and 1 if
    no class is present: a positive is weighted by its class, a negative like the average positive of its target.

One logit for two classes: with two class weights the sigmoid losses accept logits (B,), (B, 1) or (B, 1, d1, ...) of
class 1, and targets 0 and 1 of either shape, integers or probabilities of class 1.

Differences from `torch.nn.functional.cross_entropy`:
    reduction "mean" divides by the number of targets, not by the sum of their weights; "weighted_mean" is torch's.
    With label smoothing torch weights the uniform part by each class's own weight, not by the weight of the true class.
    A batch whose targets are all ignored gives 0, not NaN.
    Unbatched logits (C,) are refused; write logits[None].

Raises:
    TypeError: logits that are not floating point, class indices or an ignore_index that are not integers.
    ValueError: shapes that do not fit, an unknown reduction, an option out of range. Values are checked on the CPU
        only, where this does not wait for a device: class indices outside [0, C), target elements outside [0, 1],
        weights that are negative or not finite.
"""

from replication.losses.functional import (
    balanced_softmax_loss,
    sigmoid_cross_entropy,
    sigmoid_focal_loss,
    softmax_cross_entropy,
    softmax_focal_loss,
)
from replication.losses.module import ClassBalancedLoss
from replication.theory.effective_number import class_balanced_weights, class_counts

__all__ = [
    "ClassBalancedLoss",
    "balanced_softmax_loss",
    "class_balanced_weights",
    "class_counts",
    "sigmoid_cross_entropy",
    "sigmoid_focal_loss",
    "softmax_cross_entropy",
    "softmax_focal_loss",
]
