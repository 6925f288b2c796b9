"""The effective number of samples (Section 3) and the class-balanced weights (Section 4), in float64.

A class whose data space has volume N, and whose samples each cover a volume of 1, has after n samples the expected
covered volume E_n = (1 - beta^n) / (1 - beta), with beta = (N - 1) / N. Both ends are exact: E_n = 1 for beta = 0
and n >= 1, and E_n = n for beta = 1, the limit N -> infinity.

Class counts enter the package through `check_counts` alone, whatever form they have.
"""

import math
from collections.abc import Iterable, Sequence
from numbers import Number
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

EMPTY = ("error", "zero")
MANY_A_CLASS = 25  # average samples of a class above which numbers that could be labels are taken for labels
PASSED_LABELS = "; did you pass labels? class_counts(labels) counts them, and so does ClassBalancedLoss.from_labels"


def effective_number(n: ArrayLike, beta: ArrayLike) -> np.ndarray | np.float64:
    """Compute E_n = (1 - beta^n) / (1 - beta), Proposition 1; `n` and `beta` broadcast, the result is float64.

    The result is accurate to a few units in the last place: beta^n is never formed, only expm1(n log beta), and near
    beta = 1 log beta is computed as log1p(beta - 1).

    Args:
        n: number of samples, >= 0.
        beta: in [0, 1].

    Raises:
        ValueError: an n is negative or NaN, or a beta lies outside [0, 1].

    >>> float(effective_number(3, 0.5))  # 1 + 1/2 + 1/4
    1.75
    """
    n, beta = _numbers("n", n), _numbers("beta", beta)
    _require("n", n, n >= 0, "a number of samples, >= 0")
    _require("beta", beta, (beta >= 0) & (beta <= 1), "in [0, 1]")
    gap = 1.0 - beta  # exact for beta >= 1/2; 1/N
    with np.errstate(divide="ignore", invalid="ignore"):
        log_beta = np.where(beta < 0.5, np.log(beta), np.log1p(-gap))
        covered = -np.expm1(n * log_beta) / gap
    covered = np.where(n == 0, 0.0, covered)  # 0 * log 0 is NaN, but no sample covers nothing
    return np.where(gap == 0, n, covered)[()]


def class_balanced_weights(
    class_counts: Any,
    beta: float,
    *,
    normalize: bool = True,
    empty: str = "error",
    class_names: Sequence[Any] | None = None,
) -> NDArray[np.float64]:
    """Return class weights proportional to 1 / E_n = (1 - beta) / (1 - beta^n): float64, shape (C,).

    Args:
        class_counts: (C,) training samples of each class, in any form that `check_counts` accepts: a sequence or array,
            a tensor, an iterable, or a mapping or pandas Series with the keys 0 ... C-1 or `class_names`.
        beta: 0 leaves all classes equal; 1 is inverse class frequency, the limit.
        normalize: scale the weights so that they sum to C, as the paper does; False gives 1 / E_n itself.
        empty: "error" refuses a class without samples, whose weight would be infinite; "zero" gives it weight 0 and
            leaves it out of the normalisation, so that the other weights sum to their own number.
        class_names: (C,) the keys of a mapping or Series, in the order of the classes.

    Raises:
        ValueError: counts that are negative, NaN, infinite, not one-dimensional, not in the order of the classes, or
            zero under "error"; a beta that is not one number in [0, 1]; an unknown `empty`.

    >>> class_balanced_weights([5000, 50], beta=0.999).round(3).tolist()
    [0.094, 1.906]
    """
    counts = check_counts(class_counts, empty, class_names=class_names)
    if np.ndim(beta) != 0:
        raise ValueError(f"beta must be one number in [0, 1], got shape {np.shape(beta)}")
    covered = np.asarray(effective_number(counts, beta), dtype=np.float64)
    filled = counts > 0
    weights = np.zeros_like(covered)
    unit = covered[filled].min() if normalize else 1.0  # Relative to the rarest, so equal counts give 1 exactly.
    weights[filled] = unit / covered[filled]
    return weights * (filled.sum() / weights.sum()) if normalize else weights


def class_counts(labels: Any, num_classes: int | None = None) -> NDArray[np.int64]:
    """Count the labels of each class: int64, shape (C,).

    Args:
        labels: (n,) class indices >= 0, as an array, tensor, Series or iterable, or a data set that has `targets`.
        num_classes: C; one more than the largest label by default, which misses classes at the end without samples.

    Raises:
        ValueError: labels that are not whole numbers in [0, num_classes), or not one-dimensional.

    >>> class_counts([0, 2, 2, 0, 0], num_classes=4).tolist()
    [3, 0, 2, 0]
    """
    array = _numbers("labels", getattr(labels, "targets", labels), "; give the class index of each sample")
    if array.ndim != 1:
        raise ValueError(f"labels must be one class index per sample, shape (n,), got shape {array.shape}")
    classes = 0 if num_classes is None else check_whole("num_classes", num_classes, 1)
    if array.size == 0 and num_classes is None:
        raise ValueError("labels must hold at least one label where num_classes is not given, got none")
    _require("labels", array, (array >= 0) & (array < 2**31) & (array == np.floor(array)), "class indices >= 0")
    if num_classes is not None:
        _require("labels", array, array < classes, f"class indices below num_classes = {classes}")
    return np.bincount(array.astype(np.int64), minlength=classes)


def beta_from_volume(volume: ArrayLike) -> np.ndarray | np.float64:
    """Return beta = (N - 1) / N for a class of volume N >= 1; an infinite volume gives 1.

    Raises:
        ValueError: a volume is below 1 or NaN.

    >>> float(beta_from_volume(1000))
    0.999
    """
    volume = _numbers("volume", volume)
    _require("volume", volume, volume >= 1, ">= 1, the volume of one sample")
    return np.where(np.isinf(volume), 1.0, (np.fmin(volume, np.finfo(float).max) - 1.0) / volume)[()]


def volume_from_beta(beta: ArrayLike) -> np.ndarray | np.float64:
    """Return N = 1 / (1 - beta), the volume that a beta stands for; beta = 1 gives infinity.

    Raises:
        ValueError: a beta lies outside [0, 1].

    >>> float(volume_from_beta(0.75))
    4.0
    """
    beta = _numbers("beta", beta)
    _require("beta", beta, (beta >= 0) & (beta <= 1), "in [0, 1]")
    with np.errstate(divide="ignore"):
        return np.divide(1.0, 1.0 - beta)[()]


def check_counts(
    class_counts: Any, empty: str = "error", *, class_names: Sequence[Any] | None = None
) -> NDArray[np.float64]:
    """Return the class counts as float64 (C,), in the order of the classes.

    Args:
        class_counts: numbers as a sequence, array, tensor on any device, or iterable; or a mapping or pandas Series,
            whose keys must be 0 ... C-1 in any order, or `class_names`.
        empty: "error" refuses counts of 0; "zero" accepts them.
        class_names: (C,) the keys in the order of the classes.

    Raises:
        ValueError: the counts have another form, or they are recognised as labels: whole numbers from 0 or 1 on, at
            least half of those up to the largest, each 25 times or more on average. A dict is never taken for labels.

    >>> check_counts({1: 50, 0: 5000}).tolist()
    [5000.0, 50.0]
    """
    if empty not in EMPTY:
        raise ValueError(f"empty must be one of {EMPTY}, got {empty!r}")
    by_class = isinstance(class_counts, dict)
    if hasattr(class_counts, "keys") and hasattr(class_counts, "items"):
        class_counts = _in_class_order(class_counts, class_names)
    counts = _numbers("class_counts", class_counts, PASSED_LABELS)
    if counts.ndim != 1 or counts.size == 0:
        hint = PASSED_LABELS if counts.ndim > 1 else ""
        raise ValueError(
            f"class_counts must be one number per class, shape (C,) with C >= 1, got shape {counts.shape}{hint}"
        )
    if class_names is not None and len(class_names) != counts.size:
        raise ValueError(f"class_counts must be one number per class name, {len(class_names)}, got {counts.size}")
    whole_and_small = counts.max() < counts.size and (counts == np.floor(counts)).all()
    hint = PASSED_LABELS if whole_and_small and not by_class else ""
    _require("class_counts", counts, (counts >= 0) & np.isfinite(counts), "finite and >= 0", hint)
    vacant = np.flatnonzero(counts == 0).tolist()
    if len(vacant) == counts.size:
        raise ValueError(f"class_counts must hold at least one class with samples, got {counts.size} empty classes")
    if hint and _are_labels(counts):
        raise ValueError(
            f"class_counts must be samples per class, got {counts.size} numbers from {counts.min():g} to "
            f"{counts.max():g}{hint}; if these are counts, pass a dict of class to count"
        )
    if vacant and empty == "error":
        raise ValueError(
            f"class_counts must be > 0, got 0 for classes {shown(vacant)}: without samples a class has no effective "
            f'number to divide by; empty="zero" gives it weight 0{hint}'
        )
    return counts


def check_whole(name: str, value: Any, least: int, most: float = math.inf) -> int:
    """Return a whole number as an int, or raise a ValueError that names the argument.

    >>> check_whole("d", 3.0, 1, 6)
    3
    """
    try:
        whole = int(value)
        allowed = whole == value and least <= whole <= most
    except (TypeError, ValueError, OverflowError):
        allowed = False
    if not allowed:
        limits = f"from {least} to {most}" if most < math.inf else f">= {least}"
        raise ValueError(f"{name} must be a whole number {limits}, got {shown(value)}")
    return whole


def shown(value: object) -> str:
    """Return a value as an error message repeats it, in one line of at most 80 characters.

    >>> shown("svhn"), shown(10**5000)
    ("'svhn'", 'a value of type int')
    """
    try:
        text = " ".join(repr(value).split())
    except (ValueError, RecursionError):  # an integer of thousands of digits, a deep list
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."


def _in_class_order(class_counts: Any, class_names: Sequence[Any] | None) -> list[Any]:
    """Return the values of a mapping or Series in the order of the classes that its keys name."""
    items = list(class_counts.items())
    wanted = list(range(len(items))) if class_names is None else list(class_names)
    try:
        by_key = dict(items)
        if len(by_key) == len(items) == len(wanted):
            return [by_key[name] for name in wanted]
    except (KeyError, TypeError):
        pass
    allowed = "0 ... C-1" if class_names is None else f"the class_names {shown(wanted)}"
    cure = "; give class_names, or a count of 0 for a class without samples" if class_names is None else ""
    raise ValueError(f"class_counts must have the keys {allowed}, got {shown([key for key, _ in items])}{cure}")


def _are_labels(counts: NDArray[np.float64]) -> bool:
    """Return whether these whole numbers look like labels, not counts; see `check_counts`."""
    classes, largest = len(np.unique(counts)), counts.max()
    return bool(counts.min() <= 1 < classes and largest <= 2 * classes and counts.size >= MANY_A_CLASS * largest)


def _numbers(name: str, value: Any, cure: str = "") -> NDArray[np.float64]:
    """Convert a sequence, array, tensor or iterable of real numbers to a float64 array."""
    cause: Exception | None = None
    try:
        array = np.asarray(_on_host(value))
        if np.ma.is_masked(value):
            raise ValueError("masked elements have no value")
        texts = array.dtype == object and any(isinstance(item, (str, bytes)) for item in array.flat)
        if array.dtype.kind in "iufbO" and not texts:  # O: Python integers beyond 64 bits.
            return array.astype(np.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:  # RuntimeError: a meta tensor has no values.
        cause = error
    cure = "" if hasattr(value, "detach") else cure
    raise ValueError(f"{name} must be real numbers, got {shown(value)}{cure}") from cause


def _on_host(value: Any) -> Any:
    """Convert to a form that NumPy takes: tensors are detached and copied from their device, iterables become lists."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        return value.float() if value.is_floating_point() and value.itemsize < 4 else value  # NumPy has no bfloat16.
    if hasattr(value, "__array__") or isinstance(value, (str, bytes, Number)):
        return value
    if isinstance(value, (set, frozenset)) or not isinstance(value, Iterable):
        raise TypeError("no numbers in an order")  # NumPy would read every sample of a data set.
    return [_on_host(item) if hasattr(item, "detach") else item for item in value]


def _require(name: str, value: NDArray[np.float64], holds: NDArray[np.bool_], allowed: str, cure: str = "") -> None:
    """Raise a ValueError that names the first offending value; NaN always offends."""
    if not np.all(holds):
        wrong = np.broadcast_to(value, np.shape(holds))[~holds].flat[0] if np.ndim(holds) else value
        raise ValueError(f"{name} must be {allowed}, got {wrong}{cure}")
