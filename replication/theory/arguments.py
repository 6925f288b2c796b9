"""Checks of the arguments that the theory's functions share."""

import numpy as np


def log_grid(largest: float, points: int) -> np.ndarray:
    """Whole numbers from 1 to `largest`, at most `points` of them, evenly spaced in log n."""
    return np.unique(np.geomspace(1, min(max(largest, 1), 2.0**62), points).round().astype(np.int64))


MOST = 10**8  # prototypes or sets that one replicate may follow: gigabytes


def check_volume(volume: float, *, whole: bool = True) -> float:
    """The volume N as an int (or float where it need not be whole), or ValueError."""
    if not (np.isfinite(volume) and volume >= 1):
        raise ValueError(f"volume must be a finite number >= 1, got {volume!r}")
    if not whole:
        return float(volume)
    if volume != int(volume):
        raise ValueError(
            f"volume must be a whole number for the prototypes, got {volume!r}: with N not whole the covered "
            "volume can pass N and the paper's p = E/N passes 1 (the N of the paper's betas, 10 to 10000, are whole)"
        )
    return int(volume)


def check_draws(draws) -> np.ndarray:
    """The numbers of draws n as a (k,) int64 array, or ValueError."""
    array = np.atleast_1d(np.asarray(draws, dtype=np.float64))
    if array.ndim != 1 or array.size == 0 or not np.all(np.isfinite(array) & (array >= 0) & (array == np.floor(array))):
        raise ValueError(f"draws must be whole numbers >= 0 (one, or a list of them), got {draws!r}")
    return array.astype(np.int64)


def check_replicates(replicates: int) -> int:
    if not (np.isfinite(replicates) and replicates >= 2 and replicates == int(replicates)):
        raise ValueError(f"replicates must be a whole number >= 2 (a variance needs two), got {replicates!r}")
    return int(replicates)
