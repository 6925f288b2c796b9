"""Simulate the paper's covering: n draws from N equally likely prototypes (Section 3.2; the occupancy problem).

`covered_literally` draws and marks, as the paper describes it; `covered` samples the waiting times between new
prototypes instead, at a cost that does not grow with n.  The two share no code and have the same distribution.
"""

import decimal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from replication.theory.arguments import MOST, check_draws, check_replicates, check_whole, check_whole_volume

CHUNK = 2**17  # waiting times held at once: 1 MiB, which stays in the cache (at least one replicate's)


def occupancy_moments(
    volume: float, draws: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the exact mean, variance and excess kurtosis of the number of prototypes covered by n draws.

    With U the number left uncovered, E[U (U-1) ... (U-k+1)] = N (N-1) ... (N-k+1) (1 - k/N)^n, so the mean is
    N - N (1-1/N)^n = (1 - beta^n) / (1 - beta) and the variance N (N-1) (1-2/N)^n + N (1-1/N)^n - N^2 (1-1/N)^(2n).
    These cancel almost wholly when N is large, so they are evaluated with 120 decimal digits, and four more for each
    digit of N, and rounded once.

    Returns:
        Three (k,) float64 arrays; the kurtosis is NaN if the variance is 0.

    Raises:
        ValueError: volume not a whole number >= 1, or draws not whole numbers >= 0.

    >>> mean, variance, _ = occupancy_moments(2, [1, 2])
    >>> mean.tolist(), variance.tolist()
    ([1.0, 1.5], [0.0, 0.25])
    """
    prototypes, draws = check_whole_volume(volume), check_draws(draws)
    with decimal.localcontext(prec=120 + 4 * len(str(prototypes))):
        rows = [_moments(decimal.Decimal(prototypes), int(n)) for n in draws]
    mean, variance, kurtosis = np.array(rows, dtype=np.float64).T
    return mean, variance, kurtosis


def _moments(volume: decimal.Decimal, draws: int) -> tuple[float, float, float]:
    if draws == 0:
        return 0.0, 0.0, np.nan
    factorial, falling = [], decimal.Decimal(1)
    for k in range(1, 5):
        falling *= volume - (k - 1)
        factorial.append(falling * (1 - k / volume) ** draws if falling else falling)
    f1, f2, f3, f4 = factorial
    variance = f2 + f1 - f1**2
    third, fourth = f3 + 3 * f2 + f1, f4 + 6 * f3 + 7 * f2 + f1  # E[U^3], E[U^4]
    central = fourth - 4 * f1 * third + 6 * f1**2 * (f2 + f1) - 3 * f1**4
    if variance < decimal.Decimal("1e-60") / volume:  # one draw, or one prototype: 0 up to the digits
        return float(volume - f1), 0.0, np.nan
    return float(volume - f1), float(variance), float(central / variance**2 - 3)


def covered_literally(volume: float, draws: ArrayLike, replicates: int, seed: int = 0) -> NDArray[np.int64]:
    """Draw prototypes, mark them and count the marked ones: (replicates, k) int64, a column for each number of draws.

    Cost: replicates x max(draws), and a byte for each prototype.  Raises ValueError as `covered` does.

    >>> covered_literally(1, [0, 1, 5], 2).tolist()
    [[0, 1, 1], [0, 1, 1]]
    """
    prototypes, draws, seed = check_whole_volume(volume), check_draws(draws), check_whole("seed", seed, 0)
    replicates = check_replicates(replicates, len(draws))
    if prototypes > MOST:
        raise ValueError(f"volume must be at most {MOST:g}, as each prototype is marked: got {float(volume):g}")
    counts = np.empty((replicates, len(draws)), dtype=np.int64)
    for r in tqdm(range(replicates), desc="literal covering", leave=False, delay=2):
        generator = np.random.default_rng([seed, r])
        marked, done = np.zeros(prototypes, dtype=bool), 0
        for column in np.argsort(draws, kind="stable"):
            while done < draws[column]:
                size = min(int(draws[column]) - done, 2**20)
                marked[generator.integers(prototypes, size=size)] = True
                done += size
            counts[r, column] = np.count_nonzero(marked)
    return counts


def covered(volume: float, draws: ArrayLike, replicates: int, seed: int = 0) -> NDArray[np.int64]:
    """Simulate how many prototypes are covered after each number of draws, without drawing them one by one.

    While i of N are covered, a draw is new with probability 1 - i/N, so the wait for the next new one is geometric:
    1 + floor(X / -log(i/N)) with X exponential.  The cumulative waits T_k say when the k-th was covered, and the number
    covered at n is the number of T_k <= n.  Cost: replicates x min(N, max(draws)), whatever n is.

    Args:
        volume: N, whole.
        draws: n, one or several, in any order.
        replicates: R independent runs, each followed through all n (so the columns of one row belong together).
        seed: all replicates read one stream in turn, so the answer does not depend on how many are simulated at once.

    Returns:
        (replicates, k) int64.

    Raises:
        ValueError: volume, draws, replicates or seed out of range, named; volume that is not whole; volume and draws
            both above 1e8; replicates x k above 1e8.

    >>> covered(1, [0, 1, 5], 2).tolist()
    [[0, 1, 1], [0, 1, 1]]
    """
    prototypes, draws, seed = check_whole_volume(volume), check_draws(draws), check_whole("seed", seed, 0)
    replicates = check_replicates(replicates, len(draws))
    last = int(draws.max())
    waits = max(min(prototypes, last) - 1, 0)  # the first draw is always new
    if waits > MOST:
        raise ValueError(
            f"volume or draws must be at most {MOST:g}, as each prototype is simulated: got {float(volume):g}, {last:g}"
        )
    rows = max(1, min(CHUNK // max(waits, 1), 2**62 // (last + 2)))
    scale = _mean_waits(float(prototypes), waits)
    generator = np.random.default_rng(seed)
    starts = tqdm(range(0, replicates, rows), desc=f"covering N={prototypes:g}", leave=False, delay=2)
    return np.concatenate([_block(draws, scale, min(rows, replicates - start), generator) for start in starts])


def _mean_waits(volume: float, waits: int) -> NDArray[np.float64]:
    """-1 / log(i/N), the mean of the exponential behind the wait for the next prototype when i = 1, 2, ... are covered.

    log(i/N) is taken from the N - i that are left, which is exact near N, or from i itself where N - i is not exact.
    """
    seen = np.arange(1, waits + 1, dtype=np.float64)
    log_share = np.log1p(-(volume - seen) / volume) if volume <= 2**53 else np.log(seen / volume)
    return -1 / log_share


def _block(
    draws: NDArray[np.int64], scale: NDArray[np.float64], rows: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Simulate some replicates, (rows, k).  All are searched at once: row j is moved up by j (max n + 2)."""
    waits, last = len(scale), int(draws.max())
    uniform = generator.random((rows, waits))
    np.subtract(1, uniform, out=uniform)
    exponential = np.log(uniform, out=uniform)
    exponential *= -scale
    times = exponential.astype(np.int64)  # rounds down; whole numbers are also summed seven times faster
    np.cumsum(times, axis=1, out=times)
    times += np.arange(2, waits + 2)  # the 1 of each wait, and the first draw: when prototype 2, 3, ... was covered
    shift = np.arange(rows)[:, None] * (last + 2)
    if rows > 1:
        np.minimum(times, last + 1, out=times)
        times += shift
    found = np.searchsorted(times.ravel(), draws + shift, side="right") - np.arange(rows)[:, None] * waits
    counts: NDArray[np.int64] = found + (draws >= 1)
    return counts
