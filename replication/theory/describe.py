"""What each beta would do to the weights of given classes, to help choose one."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from replication.theory.effective_number import check_counts, class_balanced_weights, effective_number


class WeightSummary(NamedTuple):
    """The effect of one beta on given class counts: a row of `describe_weights`."""

    beta: float
    smallest: float  # effective number of the smallest class
    largest: float  # effective number of the largest class
    weight_ratio: float  # largest weight over smallest weight
    mean_weight: float  # mean weight of a training sample
    remark: str  # empty, or why this beta may not be the one to choose


def describe_weights(class_counts: Any, betas: Iterable[float] = (0.9, 0.99, 0.999, 0.9999)) -> list[WeightSummary]:
    """Show what each beta would do to the weights of these classes, to help choose one.

    The mean weight of a training sample is sum_c n_c w_c / sum_c n_c for weights that sum to C. With
    reduction="mean", the loss and its gradient are about this many times those of the unweighted loss.

    Args:
        class_counts: (C,) training samples of each class, > 0, in any form that `check_counts` accepts.
        betas: values in [0, 1] to compare; by default those of the paper.

    Returns:
        One `WeightSummary` for each beta. Its remark says when the weights are equal within 1 %, so that beta has no
        effect, and when their ratio is within 10 % of the ratio of the counts, which is inverse class frequency.

    Raises:
        ValueError: counts or a beta that `class_balanced_weights` refuses.

    >>> [row] = describe_weights([5000, 500, 50], [0.999])
    >>> round(row.smallest, 1), round(row.largest, 1), round(row.weight_ratio, 1), round(row.mean_weight, 3)
    (48.8, 993.3, 20.4, 0.165)
    """
    counts = check_counts(class_counts)
    return [_summary(counts, float(beta)) for beta in betas]


def _summary(counts: np.ndarray, beta: float) -> WeightSummary:
    weights, covered = class_balanced_weights(counts, beta), np.asarray(effective_number(counts, beta))
    ratio, imbalance = float(weights.max() / weights.min()), float(counts.max() / counts.min())
    remark = ""
    if ratio <= 1.01:
        remark = "no effect: all weights are equal within 1 %"
    elif ratio >= imbalance / 1.1:
        remark = "close to inverse class frequency"
    mean = float(counts @ weights / counts.sum())
    return WeightSummary(beta, float(covered.min()), float(covered.max()), ratio, mean, remark)
