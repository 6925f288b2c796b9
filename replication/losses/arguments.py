"""Checks of the losses' arguments. Each error names the argument, what is allowed, and what was given."""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from replication.theory.effective_number import PASSED_LABELS, shown

REDUCTIONS = ("mean", "weighted_mean", "sum", "none")
INDEX_TYPES = {torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}
ROUNDING = 1e-3  # how far above 1 a probability may lie
HALF_PRECISION = (torch.float16, torch.bfloat16)
FEW_TARGETS = 512  # Up to this many targets, a failed first attempt wastes less than a millisecond.
FEW_SAMPLES = 4  # a class on average; fewer suggest counts of a batch


@dataclass(frozen=True)
class LossOptions:
    """All that a loss needs besides its tensors; see the contract in `replication.losses`.

    >>> LossOptions(gamma=2.0, reduction="sum")
    LossOptions(gamma=2.0, reduction='sum', ignore_index=-100, label_smoothing=0.0)
    """

    gamma: float = 0.0
    reduction: str = "mean"
    ignore_index: int = -100
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        gamma, index, smoothing = self.gamma, self.ignore_index, self.label_smoothing
        if not _is_number(gamma) or not 0 <= gamma < math.inf:
            raise ValueError(f"gamma must be a finite number >= 0, got {gamma!r}")
        if self.reduction not in REDUCTIONS:
            raise ValueError(f"reduction must be one of {REDUCTIONS}, got {self.reduction!r}")
        if not isinstance(index, (int, np.integer)) or isinstance(index, bool):
            raise TypeError(f"ignore_index must be an integer, got {index!r}")
        if not _is_number(smoothing) or not 0 <= smoothing <= 1:
            raise ValueError(f"label_smoothing must be a number in [0, 1], got {smoothing!r}")

    @property
    def is_cross_entropy(self) -> bool:
        """Whether a softmax loss with these options is the weighted cross-entropy of torch, up to a constant."""
        return self.gamma == 0 and self.label_smoothing == 0 and self.reduction in ("mean", "sum")


def check_tensors(logits: Tensor, target: Tensor, options: LossOptions) -> None:
    """Check types and shapes, which needs no value and so never waits for a GPU."""
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        raise TypeError(f"logits must be a floating-point tensor, got {_kind(logits)}")
    shape = logits.shape
    if len(shape) < 2 or shape[1] == 0:
        raise ValueError(
            f"logits must be (B, C) or (B, C, d1, ...) with C >= 1, got shape {tuple(shape)}"
            + ("; for one sample pass logits[None]" if len(shape) == 1 else "")
        )
    if not isinstance(target, Tensor):
        raise TypeError(f"target must be a tensor of class indices or probabilities, got {_kind(target)}")
    batch, _, *places = shape  # Slices of a torch.Size are slow.
    indices = (batch, *places)
    if target.shape == indices:
        if target.dtype not in INDEX_TYPES:
            raise TypeError(f"target must hold integers where it holds class indices, got {_kind(target)}")
    elif target.shape != shape:
        raise ValueError(
            f"target must have shape {indices} for class indices or {tuple(shape)} for probabilities, "
            f"as logits have shape {tuple(shape)}; got {tuple(target.shape)}"
        )
    elif target.is_complex():
        raise TypeError(f"target must be a tensor of class indices or probabilities, got {_kind(target)}")
    elif options.ignore_index in (0, 1):
        raise ValueError(
            f"ignore_index must not be 0 or 1 for a target of the logits' shape, got {options.ignore_index}"
        )


def has_one_logit(logits: Tensor) -> bool:
    """Whether these may be the logits (B,) or (B, 1, ...) of a binary head."""
    return isinstance(logits, Tensor) and logits.is_floating_point() and (logits.ndim == 1 or logits.shape[1:2] == (1,))


def check_gamma_fits(gamma: float, dtype: torch.dtype) -> None:
    """Check that gamma is small enough for its square times a logit to be finite in this dtype."""
    largest = torch.finfo(dtype).max ** 0.25
    if gamma > largest:
        raise ValueError(f"gamma must be at most {largest:.2g} for logits of {dtype}, got {gamma!r}")


def check_weight(weight: Any, logits: Tensor) -> tuple[Tensor, bool]:
    """Return the class weights as a tensor, and whether all are known to be positive."""
    if not isinstance(weight, Tensor):
        try:
            weight = torch.as_tensor(weight, device=logits.device if isinstance(logits, Tensor) else None)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"weight must be one number for each class, got {_kind(weight)}") from error
    if weight.is_complex():
        raise ValueError(f"weight must be real, finite and >= 0, got {_kind(weight)}")
    extremes = extremes_on_cpu(weight)
    if extremes is not None and not (extremes[0] >= 0 and extremes[1] < math.inf):
        wrong = extremes[1] if extremes[0] >= 0 else extremes[0]
        raise ValueError(f"weight must be finite and >= 0, got {wrong:g}")
    return weight, extremes is not None and extremes[0] > 0


def check_weight_shape(weight: Tensor, logits: Tensor) -> None:
    """Check that there is one weight per class."""
    classes = logits.shape[1]
    if weight.shape != (classes,):
        hint = PASSED_LABELS if weight.ndim and len(weight) >= FEW_SAMPLES * classes else ""
        raise ValueError(
            f"weight must be one number for each of the {classes} classes of logits, shape ({classes},), got shape "
            f"{tuple(weight.shape)}{hint}"
        )


def check_probabilities(target: Tensor) -> None:
    """Check that the elements of a target of the logits' shape lie in [0, 1]."""
    extremes = extremes_on_cpu(target)
    if extremes is None or (extremes[0] >= 0 and extremes[1] <= 1 + ROUNDING):
        return
    wrong = extremes[1] if extremes[0] >= 0 else extremes[0]
    cure = "; divide a mask of 0 and 255 by 255" if wrong == 255 else ""
    raise ValueError(f"target must lie in [0, 1] where it has the logits' shape, got {wrong:g}{cure}")


def check_indices(target: Tensor, logits: Tensor, ignore_index: int) -> None:
    """Raise ValueError for a class index outside [0, C). Called only after a loss has failed, to save time."""
    if target.ndim == logits.ndim or target.device.type != "cpu":
        return
    wrong = target[((target < 0) | (target >= logits.shape[1])) & (target != ignore_index)]
    if len(wrong):
        raise ValueError(
            f"target must hold class indices in [0, {logits.shape[1] - 1}], or ignore_index = {ignore_index}, "
            f"got {wrong[0].item()}"
        )


def none_ignored(target: Tensor, ignore_index: int) -> bool:
    """Whether it is known, without waiting for a device, that no class index is `ignore_index`.

    >>> none_ignored(torch.tensor([0, 2]), ignore_index=-100)
    True
    """
    if not _may_look(target) or target.numel() == 0:
        return False
    try:
        return bool(target.min().item() >= 0 if ignore_index < 0 else (target != ignore_index).all().item())
    except RuntimeError:
        return False


def may_try_first(logits: Tensor, target: Tensor, weight: Tensor, options: LossOptions) -> bool:
    """Whether torch's cross-entropy gives this loss for these tensors, and raises an error if a target is ignored.

    The checks can then wait until it raises. This holds for a small batch of class indices on the CPU, but not under a
    tracer, which would record a graph in which no target may be ignored.

    >>> may_try_first(torch.zeros(2, 3), torch.tensor([0, 2]), torch.ones(3), LossOptions())
    True
    """
    try:
        return (
            options.is_cross_entropy
            and options.ignore_index < 0
            and _may_look(target)
            and target.dtype is torch.int64
            and target.ndim == 1
            and 0 < target.numel() <= FEW_TARGETS
            and logits.ndim == 2
            and logits.dtype is weight.dtype
            and logits.dtype not in HALF_PRECISION
            and not weight.requires_grad
            and torch.equal(target, target)  # These two read no value, but raise where values cannot be read.
            and not torch.equal(logits, weight)
        )
    except (AttributeError, RuntimeError):
        return False


def extremes_on_cpu(x: Tensor) -> tuple[float, float] | None:
    """Return the smallest and the largest element, NaN if there is one; None if reading values would wait or fail.

    >>> extremes_on_cpu(torch.tensor([2, 3, 5]))
    (2, 5)
    """
    if not _may_look(x):
        return None
    if x.numel() == 0:
        return 0, 0
    try:
        smallest, largest = torch.aminmax(x)
        return smallest.item(), largest.item()
    except RuntimeError:
        return None


def is_traced() -> bool:
    """Whether a compiler, `torch.export` or `torch.jit.trace` records this call.

    >>> is_traced()
    False
    """
    return torch.compiler.is_compiling() or bool(torch.jit.is_tracing())  # type: ignore[no-untyped-call]


def _may_look(x: Tensor) -> bool:
    """False on accelerators and in tracers. vmap, fake tensors and make_fx raise RuntimeError when values are read."""
    return x.is_cpu and not is_traced()


def warn_of_counts(class_counts: NDArray[np.float64], beta: float, weight: NDArray[np.float64]) -> None:
    """Warn the caller of the constructor if the weights balance nothing, or the counts look like those of a batch."""
    filled = weight[weight > 0]
    if beta > 0 and np.ptp(class_counts) > 0 and filled.max() <= 1.01 * filled.min():
        warnings.warn(
            f"beta = {beta} re-balances nothing here: at counts from {class_counts.min():g} to "
            f"{class_counts.max():g} all weights are equal within 1 %; the nearer to 1, the more it re-balances",
            stacklevel=3,
        )
    classes, total = len(class_counts), class_counts.sum()
    if total < FEW_SAMPLES * classes:
        warnings.warn(
            f"class_counts of {total:g} samples for {classes} classes look like those of a batch: give those of the "
            f"whole training set{PASSED_LABELS}",
            stacklevel=3,
        )


def _is_number(value: object) -> bool:
    if isinstance(value, float):  # the usual case first, as every call of a loss passes here
        return True
    return isinstance(value, (int, np.integer, np.floating)) and not isinstance(value, bool)


def _kind(value: object) -> str:
    return f"a tensor of {value.dtype}" if isinstance(value, Tensor) else shown(value)
