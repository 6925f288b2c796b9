"""Mean, spread, t-interval, paired differences, power, and the gain by chance of picking the best of k.

Functions take arrays and return numbers.  Errors and differences are in points (percent).
"""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

CONFIDENCE = 0.95
SIGNIFICANCE = 0.05
POWER = 0.8
SEEDS = 3  # fewest seeds for a cell to count as measured beside others


class Summary(NamedTuple):
    """The mean of n values, their sample standard deviation (n - 1) and the t-interval of the mean."""

    mean: float
    sd: float  # NaN for n < 2
    n: int
    low: float  # NaN for n < 2
    high: float


def summary(values, level: float = CONFIDENCE) -> Summary:
    """Return the mean, sample standard deviation, n and the two-sided Student t-interval of the mean.

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
    low, high = t_interval(values, level)
    return Summary(mean, float(values.std(ddof=1)), n, float(low), float(high))


def t_interval(values, level: float = CONFIDENCE) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds of the t-interval of the mean over the last axis: (..., n) -> two arrays (...).

    >>> [round(float(bound), 2) for bound in t_interval([1.0, 2.0, 3.0])]
    [-0.48, 4.48]
    """
    values = np.asarray(values, dtype=np.float64)
    n = values.shape[-1]
    half = stats.t.isf((1 - level) / 2, n - 1) * values.std(-1, ddof=1) / math.sqrt(n)
    return values.mean(-1) - half, values.mean(-1) + half


def _finite(name: str, values) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64).ravel()
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, got {values[~np.isfinite(values)][0]!r} among them")
    return values


def t_test(values) -> float:
    """Return the two-sided Student p-value of a mean of 0; NaN for fewer than two values.

    Values without spread give 0, or 1 if all are 0.

    >>> round(t_test([1.0, 2.0, 3.0]), 4)
    0.0742
    """
    values = _finite("values", values)
    if len(values) < 2:
        return math.nan
    return float(stats.ttest_1samp(values, 0).pvalue) if np.ptp(values) else float(values[0] == 0)


def sign_test(differences) -> float:
    """Return the two-sided exact sign test's p-value for positive and negative differences; zeros are left out.

    The smallest p that n differences can give is 2 ** (1 - n): 0.25 for three seeds.  No difference at all gives 1.

    >>> sign_test([-1.0, -2.0, -0.5])
    0.25
    """
    differences = _finite("differences", differences)
    below, above = int((differences < 0).sum()), int((differences > 0).sum())
    return float(stats.binomtest(below, below + above).pvalue) if below + above else 1.0


class Paired(NamedTuple):
    """The summary of paired differences b - a, and the smallest effect that so many of this spread can show."""

    mean: float
    sd: float
    n: int
    low: float
    high: float
    detectable: float


def paired(a, b) -> Paired:
    """Summarise b - a, pair by pair (same seed, same subset, same batches).

    Raises:
        ValueError: a and b differ in length, or hold a value that is not finite.

    >>> paired([30.0, 31.0], [28.0, 28.0])[:3]
    (-2.5, 0.7071067811865476, 2)
    """
    a, b = _finite("a", a), _finite("b", b)
    if len(a) != len(b):
        raise ValueError(f"a and b must have as many values as each other, got {len(a)} and {len(b)}")
    s = summary(b - a)
    return Paired(*s, detectable_effect(s.sd, s.n))


def detectable_effect(sd: float, n: int) -> float:
    """Return the smallest mean of n differences with standard deviation sd that a 5 % t-test shows with 80 % power.

    NaN for n < 2.

    >>> round(detectable_effect(1.0, 3), 2), round(detectable_effect(1.0, 5), 2)
    (3.26, 1.68)
    """
    return sd * _detectable_noncentrality(n) / math.sqrt(n) if n >= 2 else math.nan


@cache
def _detectable_noncentrality(n: int) -> float:
    """Return the noncentrality at which the t-test has the power; the other tail then holds less than 1e-6."""
    critical = stats.t.isf(SIGNIFICANCE / 2, n - 1)
    return float(optimize.brentq(lambda d: stats.nct.sf(critical, n - 1, d) - POWER, 1, 20))


@cache
def expected_minimum(k: int) -> float:
    """Return the expected minimum of k independent standard normals.

    Times the standard deviation of a run, it is what the best of k equal settings gains by chance.

    Raises:
        ValueError: k < 1 or not whole.

    >>> round(expected_minimum(20), 3)
    -1.867
    """
    if not (k == int(k) and k >= 1):
        raise ValueError(f"k must be a whole number >= 1, got {k!r}")
    return float(stats.order_statistic(stats.Normal(), r=1, n=int(k)).mean())


class SelectionBias(NamedTuple):
    """How far the lowest of k noisy errors lies below what a rerun of the pick would give (points, >= 0)."""

    mean: float
    low: float  # central share, `level`, of the simulated selections
    high: float


def selection_bias(
    means, sd: float, others=None, level: float = CONFIDENCE, draws: int = 20000, seed: int = 0
) -> SelectionBias:
    """Bootstrap the winner's curse: draw errors ~ N(means, sd^2), pick the lowest, compare with its own mean.

    Equal means give -sd * expected_minimum(k); one setting far below the rest gives 0.  With `others`, the bias
    of the pick among `means` minus the bias of the pick among `others`; adding its mean to the difference of the two
    picks gives what a rerun of both would show.

    Raises:
        ValueError: no means, sd < 0, or values that are not finite.
    """
    rng = np.random.default_rng(seed)
    bias = _picks(means, sd, draws, rng) - (0 if others is None else _picks(others, sd, draws, rng))
    low, high = np.quantile(bias, [(1 - level) / 2, (1 + level) / 2])
    return SelectionBias(float(bias.mean()), float(low), float(high))


def _picks(means, sd: float, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Simulate how far the lowest of noisy errors lies below its own mean, one value per selection: (draws,)."""
    means = _finite("means", means)
    if not len(means):
        raise ValueError("means must hold at least one value, got none")
    if not (math.isfinite(sd) and sd >= 0):
        raise ValueError(f"sd must be a finite number >= 0, got {sd!r}")
    errors = means + sd * rng.standard_normal((draws, len(means)))
    pick = errors.argmin(1)
    return means[pick] - errors[np.arange(draws), pick]


def same_pick(table, sd: float, draws: int = 100_000, seed: int = 0) -> float:
    """Return the probability that two noisy readings of the same settings, each with noise sd, have the same minimum.

    The true errors are taken to be the additive fit of the (r, c) table plus the share of its residuals that noise of
    this size does not explain.

    >>> round(same_pick([[10.0, 20.0], [30.0, 40.0]], 0.1), 2)
    1.0
    """
    table = np.asarray(table, dtype=np.float64)
    fit, residual_sd = additive_fit(table), additive_residual_sd(table)[0]
    keep = max(0.0, 1 - (sd / residual_sd) ** 2) if residual_sd else 0.0
    means = (fit + keep * (table - fit)).ravel()
    lowest = (means + sd * np.random.default_rng(seed).standard_normal((draws, means.size))).argmin(1)
    return float(((np.bincount(lowest, minlength=means.size) / draws) ** 2).sum())


def pooled_sd(groups) -> tuple[float, int]:
    """Return the standard deviation within groups, pooled, and its degrees of freedom; (NaN, 0) without a repeat.

    >>> pooled_sd([[1.0, 3.0], [5.0]])
    (1.4142135623730951, 1)
    """
    groups = [values for group in groups if len(values := _finite("groups", group))]
    freedom = sum(len(group) - 1 for group in groups)
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    return (math.sqrt(squares / freedom), freedom) if freedom else (math.nan, 0)


def additive_residual_sd(table) -> tuple[float, int]:
    """Return the residual sd of a complete (r, c) table after row and column effects; it has (r - 1)(c - 1) degrees.

    It contains run-to-run noise and any interaction, so it bounds the noise from above on average.

    Raises:
        ValueError: fewer than two rows or columns, or a missing value.
    """
    table = np.asarray(table, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2 or not np.isfinite(table).all():
        raise ValueError(f"table must be complete with two rows and columns at least, got shape {table.shape}")
    freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
    return math.sqrt(float(((table - additive_fit(table)) ** 2).sum()) / freedom), freedom


def additive_fit(table) -> np.ndarray:
    """Return row mean + column mean - grand mean, (r, c): the least-squares additive fit of a complete table."""
    table = np.asarray(table, dtype=np.float64)
    return table.mean(1, keepdims=True) + table.mean(0, keepdims=True) - table.mean()
