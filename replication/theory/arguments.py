"""Checks of the arguments that the functions of the theory and the data share."""

import math
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray

# These two are defined there because the losses can be copied into another project with that file alone.
from replication.theory.effective_number import check_whole as check_whole
from replication.theory.effective_number import shown as shown

MOST = 10**8  # prototypes or sets that one replicate may follow, and results that one call may return: gigabytes
LARGEST = 2**62  # the largest number of draws, so that sums of two stay in int64


def log_grid(largest: float, points: int) -> NDArray[np.int64]:
    """Return at most `points` whole numbers from 1 to `largest`, evenly spaced in log n.

    >>> log_grid(1000, 4).tolist()
    [1, 10, 100, 1000]
    """
    return np.unique(np.geomspace(1, min(max(largest, 1), float(LARGEST)), points).round().astype(np.int64))


def check_from_one(name: str, value: object) -> float:
    """Return a finite number >= 1 as a float, or raise a ValueError that names the argument.

    >>> check_from_one("volume", 3)
    3.0
    """
    try:
        number = float(value) if isinstance(value, Real) else math.nan
    except OverflowError:  # a Python integer beyond float64
        number = math.inf
    if not 1 <= number < math.inf:
        raise ValueError(f"{name} must be a finite number >= 1, got {shown(value)}")
    return number


def check_whole_volume(volume: float) -> int:
    """Return the number of prototypes N as an int, or raise ValueError.

    >>> check_whole_volume(100.0)
    100
    """
    if check_from_one("volume", volume) != int(volume):
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
    number = check_whole("replicates", replicates, 2)  # a variance needs two
    if number * columns > MOST:
        raise ValueError(
            f"replicates must be at most {MOST // columns:g} for {columns} numbers of draws, got {shown(number)}"
        )
    return number
