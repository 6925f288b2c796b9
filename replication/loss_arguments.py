"""What the losses accept, and what they say to anything else: the argument, its value, and what is allowed."""

import math
import warnings

import numpy as np
import torch
from torch import Tensor

REDUCTIONS = ("mean", "weighted_mean", "sum", "none")
INDICES = {torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}
BATCH_SIZES = {2**k for k in range(4, 11)}  # 16 to 1024


def check_options(gamma: float, reduction: str, ignore_index: int, label_smoothing: float) -> None:
    """The options of a loss, all but its tensors; the usual types first, since every call of a loss comes by here."""
    if not (type(gamma) is float or _is_number(gamma)) or not 0 <= gamma < math.inf:
        raise ValueError(f"gamma must be a finite number >= 0, got {gamma!r}")
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {REDUCTIONS}, got {reduction!r}")
    if type(ignore_index) is not int and (
        not isinstance(ignore_index, (int, np.integer)) or isinstance(ignore_index, bool)
    ):
        raise TypeError(f"ignore_index must be an integer, got {ignore_index!r}")
    if not (type(label_smoothing) is float or _is_number(label_smoothing)) or not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be a number in [0, 1], got {label_smoothing!r}")


def check_tensors(logits: Tensor, target: Tensor, ignore_index: int) -> None:
    """Types and shapes; not the values, which a GPU would have to be waited for."""
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        raise TypeError(f"logits must be a floating-point tensor, got {_kind(logits)}")
    shape = logits.shape
    if len(shape) < 2 or shape[1] == 0:
        raise ValueError(f"logits must be (B, C) or (B, C, d1, ...) with C >= 1, got shape {tuple(shape)}")
    if not isinstance(target, Tensor):
        raise TypeError(f"target must be a tensor of class indices or probabilities, got {_kind(target)}")
    batch, _, *places = shape  # not a slice, which torch.Size is slow to make
    indices = (batch, *places)
    if target.shape == indices:
        if target.dtype not in INDICES:
            raise TypeError(f"target must hold integers where it holds class indices, got {_kind(target)}")
    elif target.shape != shape:
        raise ValueError(
            f"target must have shape {indices} for class indices or {tuple(shape)} for probabilities, "
            f"as logits have shape {tuple(shape)}; got {tuple(target.shape)}"
        )
    elif target.is_complex():
        raise TypeError(f"target must be a tensor of class indices or probabilities, got {_kind(target)}")
    elif ignore_index in (0, 1):
        raise ValueError(f"ignore_index must not be 0 or 1 for a target of the logits' shape, got {ignore_index}")


def check_weight(weight: Tensor | None, logits: Tensor) -> Tensor:
    """The class weights (C,), ones for None, in their own precision; an array goes to the logits' device."""
    if weight is None:
        return logits.new_ones(logits.shape[1])
    if not isinstance(weight, Tensor):
        weight = torch.as_tensor(weight, device=logits.device)
    if weight.shape != (logits.shape[1],):
        raise ValueError(
            f"weight must be one number for each of the {logits.shape[1]} classes of logits, shape "
            f"({logits.shape[1]},), got shape {tuple(weight.shape)}"
        )
    return weight


def check_range(target: Tensor, logits: Tensor, ignore_index: int) -> None:
    """Class indices outside [0, C); asked only once a loss has failed on the CPU, so that it costs nothing before."""
    if target.ndim == logits.ndim or target.device.type != "cpu":
        return
    wrong = target[((target < 0) | (target >= logits.shape[1])) & (target != ignore_index)]
    if len(wrong):
        raise ValueError(
            f"target must hold class indices in [0, {logits.shape[1] - 1}], or ignore_index = {ignore_index}, "
            f"got {wrong[0].item()}"
        )


def warn_of_counts(class_counts: np.ndarray, beta: float, weight: np.ndarray) -> None:
    """UserWarning, at who made the loss, for weights that re-balance nothing and counts that seem those of a batch."""
    filled = weight[weight > 0]
    if beta > 0 and np.ptp(class_counts) > 0 and filled.max() <= 1.01 * filled.min():
        warnings.warn(
            f"beta = {beta} re-balances nothing here: at counts from {class_counts.min():g} to "
            f"{class_counts.max():g} all weights are equal within 1 %; the nearer to 1, the more it re-balances",
            stacklevel=3,
        )
    total = class_counts.sum()
    if total in BATCH_SIZES or total < 2 * len(class_counts):
        warnings.warn(
            f"class_counts of {total:g} samples altogether look like those of a batch: the class-balanced loss wants "
            "those of the whole training set",
            stacklevel=3,
        )


def _is_number(value: object) -> bool:
    return isinstance(value, (float, int, np.integer, np.floating)) and not isinstance(value, bool)


def _kind(value: object) -> str:
    return f"a tensor of {value.dtype}" if isinstance(value, Tensor) else repr(value)
