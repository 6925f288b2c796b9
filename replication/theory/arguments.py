"""Checks of the arguments that the theory's functions share."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

MOST = 10**8  # prototypes or sets that one replicate may follow, and results that one call may return: gigabytes
LARGEST = 2**62  # the largest number of draws, so that sums of two stay in int64


def log_grid(largest: float, points: int) -> NDArray[np.int64]:
    """Return at most `points` whole numbers from 1 to `largest`, evenly spaced in log n.

    >>> log_grid(1000, 4).tolist()
    [1, 10, 100, 1000]
    """
    return np.unique(np.geomspace(1, min(max(largest, 1), float(LARGEST)), points).round().astype(np.int64))


def check_volume(volume: float) -> float:
    """Return the volume N as a float, or raise ValueError.

    >>> check_volume(2.5)
    2.5
    """
    number = _number(volume)
    if not 1 <= number < math.inf:
        raise ValueError(f"volume must be a finite number >= 1, got {shown(volume)}")
    return number


def check_whole_volume(volume: float) -> int:
    """Return the number of prototypes N as an int, or raise ValueError.

    >>> check_whole_volume(100.0)
    100
    """
    if check_volume(volume) != int(volume):
        raise ValueError(
            f"volume must be a whole number for the prototypes, got {volume!r}: with N not whole the covered "
            "volume can pass N and the paper's p = E/N passes 1 (the N of the paper's betas, 10 to 10000, are whole)"
        )
    return int(volume)


def check_draws(draws: ArrayLike) -> NDArray[np.int64]:
    """Return the numbers of draws n as a (k,) int64 array, or raise ValueError.

    >>> check_draws(5)
    array([5])
    """
    try:
        array = np.atleast_1d(np.asarray(draws, dtype=np.float64))
    except (TypeError, ValueError, OverflowError):
        array = np.array([np.nan])
    whole = (array >= 0) & (array <= LARGEST) & (array == np.floor(array))
    if array.ndim != 1 or array.size == 0 or not whole.all():
        raise ValueError(f"draws must be whole numbers >= 0 and <= 2**62 (one, or a list of them), got {shown(draws)}")
    return array.astype(np.int64)


def check_replicates(replicates: int, columns: int = 1) -> int:
    """Return the number of replicates R as an int, or raise ValueError; each replicate gives `columns` results.

    >>> check_replicates(1000, columns=40)
    1000
    """
    number = _number(replicates)
    if not (number >= 2 and number == np.floor(number)):
        raise ValueError(f"replicates must be a whole number >= 2 (a variance needs two), got {shown(replicates)}")
    if number * columns > MOST:
        raise ValueError(
            f"replicates must be at most {MOST // columns:g} for {columns} numbers of draws, got {number:g}"
        )
    return int(number)


def check_seed(seed: int) -> int:
    """Return the seed as an int, or raise ValueError.

    >>> check_seed(0)
    0
    """
    try:
        whole = int(seed)
        allowed = whole >= 0 and whole == seed
    except (TypeError, ValueError, OverflowError):
        allowed = False
    if not allowed:
        raise ValueError(f"seed must be a whole number >= 0, got {shown(seed)}")
    return whole


def _number(value: object) -> float:
    """Return a real number as a float, infinite beyond float64; NaN if the value is not a number."""
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):
        return math.nan


def shown(value: object) -> str:
    """Return a value as an error message repeats it, in at most 80 characters.

    >>> shown("svhn"), shown(10**5000)
    ("'svhn'", 'a value of type int')
    """
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, a deep list
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."
