"""Decide which targets count and by how much: ignored targets, weights over the divisor, binary heads."""

import torch
from torch import Tensor

from replication.losses.arguments import INDEX_TYPES, LossOptions, check_probabilities, none_ignored

MOST_SCALARS = 1000
_SCALARS: dict[tuple[int, torch.dtype], Tensor] = {}


def place(
    logits: Tensor, target: Tensor, weight: Tensor, positive: bool, options: LossOptions
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Find the true class of each target and the weights by which the losses are multiplied.

    Args:
        target: class indices, int64 (B, ...).
        weight: (C,) in the logits' dtype.
        positive: whether all weights are known to be positive.

    Returns:
        index: (B, ...), the true class of each target, 0 for those that are excluded.
        weight: (C,), the class weights divided by the divisor of the reduction.
        excluded: bool (B, 1, ...), true for targets that are ignored, and for those of weight 0 whose loss may be
            infinite because their class is masked. None if it is known that there are none.
    """
    index, excluded = target, None
    if not (positive and none_ignored(target, options.ignore_index)):
        kept = target != options.ignore_index
        index, excluded = torch.where(kept, target, 0), ~kept.unsqueeze(1)
        if not positive:
            masked = torch.isinf(logits.gather(1, index.unsqueeze(1)))
            excluded = excluded | (masked & (coefficients(weight, index.unsqueeze(1), None) == 0))
    if options.reduction == "mean":
        if excluded is None:
            weight = over_number(weight, target.numel())
        else:
            weight = weight / torch.count_nonzero(kept).clamp(min=1)
    elif options.reduction == "weighted_mean":
        weight = weight / _one_if_zero(coefficients(weight, index.unsqueeze(1), excluded).sum())
    return index, weight, excluded


def coefficients(weight: Tensor, index: Tensor, excluded: Tensor | None) -> Tensor:
    """weight[index], or 0 where the target is excluded; `index` and the result have shape (B, 1, ...)."""
    flat = weight.index_select(0, index.flatten())  # faster than weight[index]
    chosen = flat.view(index.shape)
    return chosen if excluded is None else torch.where(excluded, 0, chosen)


def divisor(reduction: str, own: Tensor, kept: Tensor) -> Tensor | int:
    """Return what the sum over dense targets is divided by, given each target's weight and whether it counts."""
    if reduction == "mean":
        return torch.count_nonzero(kept).clamp(min=1)
    return _one_if_zero(own.sum()) if reduction == "weighted_mean" else 1


def per_class(weight: Tensor, logits: Tensor) -> Tensor:
    """Return the class weights in a shape that broadcasts against the logits."""
    return weight.view(-1, *[1] * (logits.ndim - 2))  # (C, 1, ...)


def two_classes(logits: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Return logits (-z, z) of classes 0 and 1 and their target, from logits z and targets (B, ...) or (B, 1, ...)."""
    z = logits if logits.ndim == 1 else logits.squeeze(1)
    column = z.unsqueeze(1).shape
    if not isinstance(target, Tensor) or target.shape not in (z.shape, column):
        raise ValueError(
            f"target must be a tensor of shape {tuple(z.shape)} or {tuple(column)} for one logit of two classes, "
            f"got {tuple(target.shape) if isinstance(target, Tensor) else type(target)}"
        )
    target = target.reshape(z.shape)
    if target.dtype not in INDEX_TYPES:  # probabilities of class 1
        target = target if target.is_floating_point() else target.to(z.dtype)
        ignored = target == ignore_index
        check_probabilities(torch.where(ignored, 0, target))
        both = torch.stack([1 - target, target], 1)
        target = torch.where(ignored.unsqueeze(1), ignore_index, both)
    return torch.stack([-z, z], 1), target


def _one_if_zero(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 1)


def over_number(weight: Tensor, number: int) -> Tensor:
    """Return weight / number, with the number kept as a tensor, which is faster.

    >>> over_number(torch.tensor([2.0, 4.0]), 2)
    tensor([1., 2.])
    """
    return torch.div(weight, _scalar(number, weight.dtype))


def _scalar(number: int, dtype: torch.dtype) -> Tensor:
    """The number as a tensor () on the CPU. It is kept: dividing by a Python number costs a sixth of a small loss."""
    kept = _SCALARS.get((number, dtype))
    if kept is not None:
        return kept
    scalar = torch.tensor(number, dtype=dtype, device="cpu")
    if len(_SCALARS) < MOST_SCALARS and _outlives_this_call(scalar):
        _SCALARS[number, dtype] = scalar
    return scalar


def _outlives_this_call(x: Tensor) -> bool:
    """False for fake and inference tensors, and for those of torch.func, which have no memory of their own."""
    try:
        return type(x) is Tensor and not x.is_inference() and x.data_ptr() != 0
    except RuntimeError:
        return False
