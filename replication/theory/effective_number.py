"""The effective number of samples (Section 3) and the class-balanced weights (Section 4), in float64.

A class whose data space has volume N, and whose samples each cover a volume of 1, has after n samples the expected
covered volume E_n = (1 - beta^n) / (1 - beta), with beta = (N - 1) / N. Both ends are exact: E_n = 1 for beta = 0
and n >= 1, and E_n = n for beta = 1, the limit N -> infinity.
"""

import numpy as np
from numpy.typing import ArrayLike

EMPTY = ("error", "zero")


def effective_number(n: ArrayLike, beta: ArrayLike) -> np.ndarray | np.float64:
    """E_n = (1 - beta^n) / (1 - beta), Proposition 1; `n` and `beta` broadcast, the result is float64.

    The result is right to a few units in the last place: beta^n is never formed, only expm1(n log beta), and
    log beta is computed as log1p(beta - 1) if beta is near 1.

    Raises ValueError if an n is negative or NaN, or a beta lies outside [0, 1].

    >>> float(effective_number(3, 0.5))  # 1 + 1/2 + 1/4
    1.75
    """
    n, beta = _real("n", n), _real("beta", beta)
    _require("n", n, n >= 0, "a number of samples, >= 0")
    _require("beta", beta, (beta >= 0) & (beta <= 1), "in [0, 1]")
    gap = 1.0 - beta  # exact for beta >= 1/2; 1/N
    with np.errstate(divide="ignore", invalid="ignore"):
        log_beta = np.where(beta < 0.5, np.log(beta), np.log1p(-gap))
        covered = -np.expm1(n * log_beta) / gap
    covered = np.where(n == 0, 0.0, covered)  # 0 * log 0 is NaN, but no sample covers nothing
    return np.where(gap == 0, n, covered)[()]


def class_balanced_weights(
    class_counts: ArrayLike, beta: float, *, normalize: bool = True, empty: str = "error"
) -> np.ndarray:
    """The weight of each class, proportional to 1 / E_n = (1 - beta) / (1 - beta^n): float64, shape (C,).

    class_counts: (C,) training samples of each class.
    beta: 0 leaves all classes equal; 1 is inverse class frequency, the limit.
    normalize: scale the weights so that they sum to C, as the paper does; False gives 1 / E_n itself.
    empty: "error" refuses a class without samples, whose weight would be infinite; "zero" gives it weight 0 and
        leaves it out of the normalisation, so that the other weights sum to their own number.

    Raises ValueError for counts that are negative, NaN, infinite, not one-dimensional, or zero under "error"; for
    a beta that is not one number in [0, 1]; for an unknown `empty`.

    >>> class_balanced_weights([5000, 50], beta=0.999).round(3).tolist()
    [0.094, 1.906]
    """
    counts = _check_counts(class_counts, empty)
    if np.ndim(beta) != 0:
        raise ValueError(f"beta must be one number in [0, 1], got shape {np.shape(beta)}")
    covered = np.asarray(effective_number(counts, beta))
    filled = counts > 0
    weights = np.zeros_like(covered)
    if not normalize:
        weights[filled] = 1.0 / covered[filled]
        return weights
    weights[filled] = covered[filled].min() / covered[filled]  # relative to the rarest: equal counts give 1 exactly
    normalised: np.ndarray = weights * (filled.sum() / weights.sum())
    return normalised


def beta_from_volume(volume: ArrayLike) -> np.ndarray | np.float64:
    """beta = (N - 1) / N for a class of volume N >= 1; an infinite volume gives 1. ValueError for N < 1 or NaN.

    >>> float(beta_from_volume(1000))
    0.999
    """
    volume = _real("volume", volume)
    _require("volume", volume, volume >= 1, ">= 1, the volume of one sample")
    return np.where(np.isinf(volume), 1.0, (np.fmin(volume, np.finfo(float).max) - 1.0) / volume)[()]


def volume_from_beta(beta: ArrayLike) -> np.ndarray | np.float64:
    """N = 1 / (1 - beta), the volume a beta stands for; beta = 1 gives infinity. ValueError outside [0, 1].

    >>> float(volume_from_beta(0.75))
    4.0
    """
    beta = _real("beta", beta)
    _require("beta", beta, (beta >= 0) & (beta <= 1), "in [0, 1]")
    with np.errstate(divide="ignore"):
        return np.divide(1.0, 1.0 - beta)[()]


def _check_counts(class_counts: ArrayLike, empty: str) -> np.ndarray:
    """The counts as float64 (C,), or an error that says which are wrong."""
    if empty not in EMPTY:
        raise ValueError(f"empty must be one of {EMPTY}, got {empty!r}")
    counts = _real("class_counts", class_counts)
    if counts.ndim != 1 or counts.size == 0:
        raise ValueError(f"class_counts must be one number per class, shape (C,) with C >= 1, got shape {counts.shape}")
    _require("class_counts", counts, (counts >= 0) & np.isfinite(counts), "finite and >= 0")
    vacant = np.flatnonzero(counts == 0).tolist()
    if len(vacant) == counts.size:
        raise ValueError(f"class_counts must hold at least one class with samples, got {counts.size} empty classes")
    if vacant and empty == "error":
        raise ValueError(
            f"class_counts must be > 0, got 0 for classes {vacant}: without samples a class has no effective number "
            'to divide by; empty="zero" gives it weight 0'
        )
    return counts


def _real(name: str, value: ArrayLike) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "iufbO":  # O: Python integers beyond 64 bits
        raise TypeError(f"{name} must be real numbers, got {value!r}")
    return array.astype(np.float64)


def _require(name: str, value: np.ndarray, holds: np.ndarray, allowed: str) -> None:
    """ValueError that names the first offending value; a NaN holds nowhere."""
    if not np.all(holds):
        wrong = np.broadcast_to(value, np.shape(holds))[~holds].flat[0] if np.ndim(holds) else value
        raise ValueError(f"{name} must be {allowed}, got {wrong}")
