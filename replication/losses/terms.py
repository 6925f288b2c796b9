"""The formulas of the losses, each in a few lines that autograd differentiates any number of times.

A *term* is the unweighted loss of one class at one target; `functional` multiplies terms by weights and adds them up.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def softmax_factors(logits: Tensor, gamma: float) -> list[Tensor]:
    """Return the factors of the loss of a target of class i, (1 - p_i)^gamma (-log p_i), p = softmax(z).

    Args:
        logits: (B, C, ...).
        gamma: focusing parameter, >= 0; 0 gives cross-entropy.

    Returns:
        One or two tensors (B, C, ...): -log p and, unless gamma is 0, (1 - p)^gamma. They are separate because -log p
        is infinite for a masked class, and autograd must not multiply that infinity by a zero gradient.

    >>> softmax_factors(torch.zeros(1, 2), gamma=0)  # log 2
    [tensor([[0.6931, 0.6931]])]
    """
    minus_log_p = -F.log_softmax(logits, 1)
    if gamma == 0:
        return [minus_log_p]
    return [minus_log_p, torch.exp(gamma * _log_one_minus_softmax(logits))]


def focal_term(u: Tensor, gamma: float) -> Tensor:
    """f(u) = sigmoid(u)^gamma log(1 + exp(u)), elementwise (Section 4.3).

    With u = -z for the true class and u = z for the others, this is the paper's (1 - p^t)^gamma log(1 + exp(-z^t)).
    gamma = 0 gives sigmoid cross-entropy (Section 4.2). The power is taken in log space, so neither the value nor a
    derivative is NaN at any finite u.

    >>> focal_term(torch.zeros(1), gamma=1)  # log 2 / 2
    tensor([0.3466])
    """
    softplus = -F.logsigmoid(-u)
    return softplus if gamma == 0 else torch.exp(gamma * F.logsigmoid(u)) * softplus


def binary_term(logits: Tensor, target: Tensor, gamma: float) -> Tensor:
    """t f(-z) + (1 - t) f(z), elementwise: the focal term of a class that is present with probability t.

    A class whose logit is infinite and whose term has the factor 0 contributes 0.

    >>> binary_term(torch.zeros(1), torch.tensor([0.3]), gamma=0)  # log 2
    tensor([0.6931])
    """
    present, absent = finite_where_unused(target, -logits), finite_where_unused(1 - target, logits)
    return target * focal_term(present, gamma) + (1 - target) * focal_term(absent, gamma)


def finite_where_unused(factor: Tensor, x: Tensor) -> Tensor:
    """Replace an infinite x by 0 where it will be multiplied by a factor of 0, so that the product is 0 and not NaN.

    >>> finite_where_unused(torch.tensor([0.0, 1.0]), torch.tensor([torch.inf, 2.0]))
    tensor([0., 2.])
    """
    return torch.where((factor == 0) & torch.isinf(x), 0, x)


def prior_bias(num_classes: int) -> float:
    """Return -log(C - 1), the last bias that starts each class's sigmoid at probability 1 / C (Section 5.2).

    >>> round(prior_bias(10), 4)
    -2.1972
    """
    return -math.log(max(num_classes - 1, 1))


def _log_one_minus_softmax(logits: Tensor) -> Tensor:
    """log(1 - p_i) as log1p(-p_i); for the largest p_i, which may round to 1, the logsumexp of the other logits."""
    largest, top = logits.max(1, keepdim=True)
    logits = logits - largest.detach()  # A difference of two logsumexps near 1e4 would keep only three decimals.
    others = logits.scatter(1, top, torch.finfo(logits.dtype).min / 4).logsumexp(1, keepdim=True)
    small = F.softmax(logits, 1).scatter(1, top, 0.0)
    return torch.log1p(-small).scatter(1, top, others - logits.logsumexp(1, keepdim=True))
