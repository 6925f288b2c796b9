"""Mean, spread, t-interval; paired differences with exact p-values; how much the best of k gains by luck.

Nothing here knows of losses or data sets: arrays in, numbers out.  Errors and differences are in points (percent).
"""

import math
from functools import cache
from itertools import permutations, product
from typing import NamedTuple

import numpy as np
from scipy import integrate, stats
from scipy.special import log_ndtr

CONFIDENCE = 0.95


class Summary(NamedTuple):
    """Mean of n values, their sample standard deviation (n - 1) and the t-interval of the mean."""

    mean: float
    sd: float  # NaN for n < 2
    n: int
    low: float  # NaN for n < 2
    high: float


def summary(values, level: float = CONFIDENCE) -> Summary:
    """Mean, sample standard deviation, n and the two-sided Student t-interval: mean -+ t_{n-1} sd / sqrt(n).

    No value gives NaN and n = 0; one value has no spread and no interval (NaN).

    Raises:
        ValueError: a value that is not finite, or level outside (0, 1).

    >>> summary([1.0, 2.0, 3.0])[:3]
    (2.0, 1.0, 3)
    """
    values = _finite("values", values)
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1), got {level!r}")
    n = len(values)
    mean = float(values.mean()) if n else math.nan
    if n < 2:
        return Summary(mean, math.nan, n, math.nan, math.nan)
    sd = float(values.std(ddof=1))
    half = float(stats.t.ppf((1 + level) / 2, n - 1)) * sd / math.sqrt(n)
    return Summary(mean, sd, n, mean - half, mean + half)


def _finite(name: str, values) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64).ravel()
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, got {values[~np.isfinite(values)][0]!r} among them")
    return values


def t_test(values) -> float:
    """Two-sided Student p-value of a mean of 0: below 1 - level exactly where `summary`'s interval leaves out 0.

    NaN for fewer than two values; values without spread give 0, or 1 where all are 0.

    >>> round(t_test([1.0, 2.0, 3.0]), 4)
    0.0742
    """
    s = summary(values)
    if s.n < 2:
        return math.nan
    if s.sd == 0:
        return float(s.mean == 0)
    return float(2 * stats.t.sf(abs(s.mean) / (s.sd / math.sqrt(s.n)), s.n - 1))


def sign_test(differences) -> float:
    """Two-sided exact sign test: p-value of the split of positive and negative differences; zeros are left out.

    The smallest p that n differences can give is 2 ** (1 - n): 0.25 for three seeds.  No difference at all gives 1.
    """
    differences = _finite("differences", differences)
    below, above = int((differences < 0).sum()), int((differences > 0).sum())
    return float(stats.binomtest(below, below + above).pvalue) if below + above else 1.0


def permutation_test(differences, limit: int = 16) -> float:
    """Two-sided exact sign-flip test of paired differences: share of the 2**n sign patterns with as large a |sum|.

    Raises:
        ValueError: more than `limit` differences (2**n patterns would be too many), or none.
    """
    differences = _finite("differences", differences)
    n = len(differences)
    if not 1 <= n <= limit:
        raise ValueError(f"differences must be 1 to {limit} values, got {n}")
    sums = np.abs(np.array(list(product((-1.0, 1.0), repeat=n))) @ differences)
    return float((sums >= abs(differences.sum()) - 1e-9 * np.abs(differences).sum()).mean())


class Paired(NamedTuple):
    """Paired differences b - a: their summary, and exact two-sided p-values."""

    mean: float
    sd: float
    n: int
    low: float
    high: float
    p_sign: float
    p_permutation: float  # NaN beyond 16 pairs or with none


def paired(a, b) -> Paired:
    """b - a, pair by pair (same seed, same subset, same batches): summary, sign and sign-flip p-values.

    Raises:
        ValueError: a and b differ in length, or hold a value that is not finite.
    """
    a, b = _finite("a", a), _finite("b", b)
    if len(a) != len(b):
        raise ValueError(f"a and b must have as many values as each other, got {len(a)} and {len(b)}")
    d = b - a
    flip = permutation_test(d) if 1 <= len(d) <= 16 else math.nan
    return Paired(*summary(d), sign_test(d), flip)


@cache
def expected_minimum(k: int) -> float:
    """Expected lowest of k independent standard normals: -k * integral of x phi(x) Phi(x)^(k-1) dx, by quadrature.

    k = 1: 0; k = 2: -1 / sqrt(pi); k = 20: -1.867.  Times the standard deviation of a run, it is what the best of k
    equal settings gains by luck.

    Raises:
        ValueError: k < 1 or not whole.
    """
    if not (k == int(k) and k >= 1):
        raise ValueError(f"k must be a whole number >= 1, got {k!r}")
    value, _ = integrate.quad(
        lambda x: x * k * math.exp(-x * x / 2 + (k - 1) * log_ndtr(x)) / math.sqrt(2 * math.pi),
        -40,
        40,
        points=(0,),
        limit=200,
    )
    return -value


class Luck(NamedTuple):
    """What picking the lowest of k noisy errors gains beyond what a rerun of the pick would give (points, >= 0)."""

    mean: float
    low: float  # central 95 % of the simulated selections
    high: float


def luck_of_the_best(means, sd: float, draws: int = 20000, seed: int = 0) -> Luck:
    """Parametric bootstrap of the winner's curse: errors ~ N(means, sd^2), pick the lowest, compare with its own mean.

    Equal means give -sd * expected_minimum(k); one setting far below the rest gives 0.

    Raises:
        ValueError: no means, sd < 0, or values that are not finite.
    """
    return _luck(_picks(means, sd, draws, np.random.default_rng(seed)), CONFIDENCE)


def luck_beyond(means, others, sd: float, level: float = CONFIDENCE, draws: int = 20000, seed: int = 0) -> Luck:
    """Luck of picking the lowest of `means` beyond that of picking the lowest of `others`, both with noise sd.

    Taken off the difference of the two picks, its mean leaves what a rerun of both would give, its bounds (central
    `level` of the simulated selections) the interval of that.  Raises as luck_of_the_best.
    """
    rng = np.random.default_rng(seed)
    return _luck(_picks(means, sd, draws, rng) - _picks(others, sd, draws, rng), level)


def _picks(means, sd: float, draws: int, rng: np.random.Generator) -> np.ndarray:
    """How far the lowest of noisy errors lies below its own mean, one value per simulated selection: (draws,)."""
    means = _finite("means", means)
    if not len(means):
        raise ValueError("means must hold at least one value, got none")
    if not (math.isfinite(sd) and sd >= 0):
        raise ValueError(f"sd must be a finite number >= 0, got {sd!r}")
    errors = means + sd * rng.standard_normal((draws, len(means)))
    pick = errors.argmin(1)
    return means[pick] - errors[np.arange(draws), pick]


def _luck(gain: np.ndarray, level: float) -> Luck:
    low, high = np.quantile(gain, [(1 - level) / 2, (1 + level) / 2])
    return Luck(float(gain.mean()), float(low), float(high))


def pooled_sd(groups) -> tuple[float, int]:
    """Standard deviation within groups, pooled over them, and its degrees of freedom; (NaN, 0) without a repeat."""
    squares, freedom = 0.0, 0
    for group in groups:
        group = _finite("groups", group)
        if len(group):
            squares += float(((group - group.mean()) ** 2).sum())
            freedom += len(group) - 1
    return (math.sqrt(squares / freedom), freedom) if freedom else (math.nan, 0)


def additive_residual_sd(table) -> tuple[float, int]:
    """Residual standard deviation of a complete (r, c) table after row and column effects; (r - 1)(c - 1) degrees.

    Holds run-to-run noise and whatever interaction there is, so it bounds the noise from above on average.

    Raises:
        ValueError: fewer than two rows or columns, or a missing value.
    """
    table = np.asarray(table, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2 or not np.isfinite(table).all():
        raise ValueError(f"table must be complete with two rows and columns at least, got shape {table.shape}")
    residual = table - additive_fit(table)
    freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
    return math.sqrt(float((residual**2).sum()) / freedom), freedom


def additive_fit(table) -> np.ndarray:
    """Row mean + column mean - grand mean, (r, c): the least-squares additive fit of a complete table."""
    table = np.asarray(table, dtype=np.float64)
    return table.mean(1, keepdims=True) + table.mean(0, keepdims=True) - table.mean()


def trend_test(table) -> tuple[float, float]:
    """Do values rise from column to column?  Mean Kendall tau of the rows, exact p-value over column orders.

    The p-value is two-sided: the share of the c! common reorderings of the columns with as large a |mean tau|.

    Raises:
        ValueError: fewer than three or more than seven columns.
    """
    table = np.asarray(table, dtype=np.float64)
    if table.ndim != 2 or not 3 <= table.shape[1] <= 7:
        raise ValueError(f"table must have 3 to 7 columns, got shape {table.shape}")
    c = table.shape[1]
    signs = np.sign(table[:, None, :] - table[:, :, None]).mean(0)  # (c, c): sign of column j minus column i
    upper = np.triu_indices(c, 1)
    taus = np.array([signs[np.ix_(order, order)][upper].mean() for order in map(list, permutations(range(c)))])
    return float(taus[0]), float((np.abs(taus) >= abs(taus[0]) - 1e-12).mean())


SEEDS = 3  # fewest seeds for a verdict from runs
SIGNIFICANCE = 0.05
