"""Does a random covering cover E_n = (1 - beta^n) / (1 - beta) on average (Proposition 1)?  Simulate and compare.

`verify` simulates and tabulates, `check` judges the table by a rule fixed beforehand, and `rescored` compares the same
simulations with another N, which shows that the check can fail.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from replication.theory import torus
from replication.theory.arguments import check_draws, check_from_one, log_grid
from replication.theory.effective_number import beta_from_volume, effective_number
from replication.theory.occupancy import covered, occupancy_moments

COLUMNS = ["geometry", "d", "N", "n", "replicates", "mean", "standard_error", "E_n", "exact_sd", "z"]
TABLE_LEVEL = 1e-4  # of the whole table
SMALL_INFORMATION = 30  # replicates x variance below which the mean is too skewed for a normal bound
FOR_VARIANCE = 1000  # the same, for the variance of the variance


class Case(NamedTuple):
    """One setting of a battery; n runs from 1 to `reach` times N on a logarithmic grid of `points` values.

    >>> Case("cubes", 2, 100, replicates=50).reach
    10
    """

    geometry: str
    d: int  # 0 for prototypes
    volume: float
    replicates: int
    reach: float = 10
    points: int = 40


PROTOTYPES = (
    Case("prototypes", 0, 1, 400_000),
    Case("prototypes", 0, 2, 400_000),
    Case("prototypes", 0, 10, 400_000),
    Case("prototypes", 0, 100, 200_000),
    Case("prototypes", 0, 1_000, 40_000),
    Case("prototypes", 0, 10_000, 10_000),
    Case("prototypes", 0, 1_000_000, 100),
)
SETS = tuple(
    Case(geometry, d, volume, 1000 if volume == 100 else 400, 5, 14)
    for volume in (100, 1000)
    for geometry, dimensions in (("cubes", range(1, 7)), ("balls", range(2, 7)))
    for d in dimensions
)
COMMITTED = (*PROTOTYPES, *SETS)
QUICK = (
    *(case._replace(replicates=max(50, case.replicates // 40), points=20) for case in PROTOTYPES[:-1]),
    Case("prototypes", 0, 1_000_000, 10, 10, 20),
    *(
        Case(geometry, d, 100, 100, 3, 8)
        for geometry, d in (("cubes", 1), ("cubes", 2), ("cubes", 3), ("balls", 2), ("balls", 6))
    ),
)


def verify(
    geometry: str = "prototypes",
    d: int = 0,
    volume: float = 100,
    draws: ArrayLike | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Simulate one covering many times and compare its mean with E_n.

    Args:
        geometry: prototypes (the paper's process), cubes or balls (volume 1 each, partial overlap, on a torus).
        d: dimension of the torus, 1 to 6; 0 for prototypes.
        volume: N >= 1, whole for prototypes.
        draws: n, one or several; by default 1 to 10 N on a log grid.
        replicates: R >= 2.

    Returns:
        One row per n: geometry, d, N, n, replicates, mean, standard_error (observed, so with the error of the probes),
        E_n (the paper's formula), exact_sd of one replicate (NaN if unknown), z = (mean - E_n) / standard error, with
        the exact standard error if it is known and the observed one otherwise.

    Raises:
        ValueError: an argument out of range, named.

    >>> verify(volume=2, draws=[1, 2], replicates=100)["E_n"].tolist()
    [1.0, 1.5]
    """
    draws = log_grid(10 * check_from_one("volume", volume), 40) if draws is None else check_draws(draws)
    if geometry == "prototypes":
        d, volumes = 0, covered(volume, draws, replicates, seed).astype(np.float64)
        exact_sd = np.sqrt(occupancy_moments(volume, draws)[1])
    else:
        volumes = torus.covered_volume(geometry, d, volume, draws, replicates, seed)
        exact_sd = torus.exact_sd(geometry, d, volume, draws, torus.default_probes(geometry, d, draws))
    mean, standard_error = volumes.mean(0), volumes.std(0, ddof=1) / np.sqrt(len(volumes))
    columns = dict(geometry=geometry, d=d, N=float(volume), n=draws, replicates=len(volumes), mean=mean)
    return rescored(pd.DataFrame(columns | dict(standard_error=standard_error, exact_sd=exact_sd)))


def battery(cases: Iterable[Case] = QUICK, seed: int = 0) -> pd.DataFrame:
    """Run `verify` for each Case and return one table; QUICK takes seconds, COMMITTED minutes.

    >>> len(battery([Case("prototypes", 0, 1, 100), Case("cubes", 1, 10, 50, reach=3, points=5)]))
    15
    """
    frames = [
        verify(c.geometry, c.d, c.volume, log_grid(c.reach * c.volume, c.points), c.replicates, seed + k)
        for k, c in enumerate(cases)
    ]
    return pd.concat(frames, ignore_index=True)


def rescored(frame: pd.DataFrame, volume_factor: float = 1.0) -> pd.DataFrame:
    """Compare the same simulations with E_n of volume_factor x N; 1.01 stands for an N that is 1 % too large.

    >>> frame = verify(volume=100, draws=[200], replicates=50)
    >>> bool(rescored(frame, 2.0)["E_n"].iloc[0] > frame["E_n"].iloc[0])
    True
    """
    expected = effective_number(frame["n"], beta_from_volume(frame["N"] * volume_factor))
    standard_error = (frame["exact_sd"] / np.sqrt(frame["replicates"])).fillna(frame["standard_error"])
    difference, negligible = frame["mean"] - expected, 1e-9 * expected  # the rounding of E_n and of a table on file
    with np.errstate(divide="ignore", invalid="ignore"):
        no_spread = np.where(np.abs(difference) <= negligible, 0.0, np.copysign(np.inf, difference))  # exact or wrong
        z = np.where(standard_error > negligible, difference / standard_error, no_spread)
    return frame.assign(E_n=expected, z=z)[COLUMNS]


class Check(NamedTuple):
    """The verdict of `check` on a table: whether it passed, a sentence, and the numbers behind it."""

    passed: bool
    message: str
    bound: float  # for |z|
    largest_z: float
    smallest_p: float  # of the variance chi-squares, multiplied by their number
    variances: int  # how many rows the variance was checked on
    known: int  # how many rows have an exact variance above 0


def check(frame: pd.DataFrame, level: float = TABLE_LEVEL) -> Check:
    """Judge a table of `verify`: means by z, variances by chi-square, both at `level` for the whole table (Bonferroni).

    Means: |z| at most the normal quantile at level / rows.  Where replicates x variance is below 30 a count is too
    skewed for that, and the row is held to Bernstein's inequality instead (an occupancy count is a sum of independent
    indicators). Variances: (R - 1) s^2 / sd^2 against chi-square with 2 / (2/(R-1) + kurtosis/R) degrees, the count's
    exact excess kurtosis for prototypes, 0 for the torus; on rows where replicates x variance is at least 1000, and for
    the torus sd at least 1 and 0 and N at least 3 sd away, so that kurtosis can be neglected.  Which rows these are
    follows from exact values alone, so a simulation cannot choose the rows on which it is judged.

    Raises:
        ValueError: a table without rows or without the columns of `verify`.

    >>> frame = verify(volume=10, draws=[5, 20], replicates=500)
    >>> check(frame).passed, check(rescored(frame, 2.0)).passed
    (True, False)
    """
    missing = [name for name in COLUMNS if name not in frame]
    if missing or frame.empty:
        raise ValueError(f"frame must have rows and the columns of verify, lacks {missing or 'rows'}")
    bound = float(stats.norm.isf(level / (2 * len(frame))))
    largest = float(frame["z"].abs().max())
    within = frame["z"].abs() <= _bounds(frame, level, bound)  # NaN is not
    p = _variance_p(frame)
    smallest = min(1.0, float(p.min() * len(p))) if len(p) else 1.0
    known = int((frame["exact_sd"] > 0).sum())
    passed = bool(within.all() and smallest >= level)
    message = (
        f"{'passed' if passed else 'FAILED'}: largest |z| {largest:.2f} of {len(frame)} rows, bound {bound:.2f} at "
        f"level {level:g}; {int((~within).sum())} means out of bounds; {len(p)} of {known} known variances tested"
        + (f", smallest corrected p {smallest:.2g}" if len(p) else "")
    )
    return Check(passed, message, bound, largest, smallest, len(p), known)


def _bounds(frame: pd.DataFrame, level: float, bound: float) -> NDArray[np.float64]:
    """Return each row's bound: normal, or Bernstein's z^2 / (2 (1 + z / (3 sqrt(R var)))) = log(2 rows / level)."""
    information = (frame["replicates"] * frame["exact_sd"].fillna(np.inf) ** 2).to_numpy()
    log_level = np.log(2 * len(frame) / level)
    with np.errstate(divide="ignore"):
        skew = log_level / (3 * np.sqrt(information))
    bernstein = skew + np.sqrt(skew**2 + 2 * log_level)
    return np.where((information > 0) & (information < SMALL_INFORMATION), bernstein, bound)


def variance_rows(frame: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Return two masks: rows whose variance can be tested, and rows whose mean is away from both ends.

    Near 0 or N few probes decide, and the kurtosis on the torus is large.  For prototypes it is known: all rows count.

    >>> enough, smooth = variance_rows(verify(volume=100, draws=[1, 200], replicates=200))
    >>> enough.tolist(), smooth.tolist()
    ([False, True], [True, True])
    """
    enough = frame["replicates"] * frame["exact_sd"] ** 2 >= FOR_VARIANCE
    to_edge = np.minimum(frame["E_n"], frame["N"] - frame["E_n"])
    smooth = (frame["exact_sd"] >= 1) & (to_edge >= 3 * frame["exact_sd"])
    return enough, (frame["geometry"] == "prototypes") | smooth


def _variance_p(frame: pd.DataFrame) -> NDArray[np.float64]:
    """Two-sided p of the observed variance, for the rows to which the chi-square applies."""
    enough, smooth = variance_rows(frame)
    rows = frame[enough & smooth]
    r, kurtosis = rows["replicates"], pd.Series(0.0, rows.index)
    for volume, group in rows[rows["geometry"] == "prototypes"].groupby("N"):
        kurtosis[group.index] = occupancy_moments(volume, group["n"])[2]
    degrees = 2 / (2 / (r - 1) + kurtosis / r)
    ratio = r * rows["standard_error"] ** 2 / rows["exact_sd"] ** 2
    tail = np.minimum(stats.chi2.cdf(ratio * degrees, degrees), stats.chi2.sf(ratio * degrees, degrees))
    p: NDArray[np.float64] = np.minimum(1, 2 * tail)[kurtosis > -1.9]  # a fair coin's is not chi-square at any size
    return p
