"""Mean, spread, t-interval, power, and the gain by chance of picking the best of k.

Functions take arrays and return numbers.  Errors and differences are in points (percent).
"""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

SIGNIFICANCE = 0.05  # level of tests; intervals hold the rest
POWER = 0.8
SEEDS = 3  # fewest seeds for a cell to count as measured beside others


class Summary(NamedTuple):
    """The mean of n values, its t-interval, and the smallest mean that n values of this spread can show."""

    mean: float
    sd: float  # sample standard deviation (n - 1); for n < 2 it and the fields below are NaN
    n: int
    low: float
    high: float
    detectable: float


def summary(values) -> Summary:
    """Summarise values, such as paired differences: one has no spread (NaN), none has no mean either.

    Raises:
        ValueError: a value that is not finite.

    >>> summary([1.0, 2.0, 3.0])[:3]
    (2.0, 1.0, 3)
    """
    values = _finite("values", values)
    n = len(values)
    if n < 2:
        return Summary(float(values[0]) if n else math.nan, math.nan, n, math.nan, math.nan, math.nan)
    sd = float(values.std(ddof=1))
    low, high = t_interval(values)
    return Summary(float(values.mean()), sd, n, float(low), float(high), detectable_effect(sd, n))


def t_interval(values) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds of the 95 % t-interval of the mean over the last axis: (..., n) -> two arrays (...).

    >>> [round(float(bound), 2) for bound in t_interval([1.0, 2.0, 3.0])]
    [-0.48, 4.48]
    """
    values = np.asarray(values, dtype=np.float64)
    n = values.shape[-1]
    half = stats.t.isf(SIGNIFICANCE / 2, n - 1) * values.std(-1, ddof=1) / math.sqrt(n)
    return values.mean(-1) - half, values.mean(-1) + half


def _finite(name: str, values) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64).ravel()
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, got {values[~np.isfinite(values)][0]!r} among them")
    return values


def detectable_effect(sd: float, n: int) -> float:
    """Return the smallest mean of n >= 2 differences of that sd that a 5 % t-test shows with 80 % power.

    >>> round(detectable_effect(1.0, 3), 2), round(detectable_effect(1.0, 5), 2)
    (3.26, 1.68)
    """
    return sd * _detectable_noncentrality(n) / math.sqrt(n)


@cache
def _detectable_noncentrality(n: int) -> float:
    """Return the noncentrality at which the t-test has the power; the other tail then holds less than 1e-6."""
    critical = stats.t.isf(SIGNIFICANCE / 2, n - 1)
    return float(optimize.brentq(lambda d: stats.nct.sf(critical, n - 1, d) - POWER, 1, 20))


@cache
def expected_minimum(k: int) -> float:
    """Return the expected minimum of k independent standard normals, which is the gain of picking the best of k equals.

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
    low: float  # the central 95 % of the simulated selections
    high: float


def selection_bias(means, sd: float, others=None, draws: int = 20000, seed: int = 0) -> SelectionBias:
    """Bootstrap the winner's curse: draw errors ~ N(means, sd^2), pick the lowest, compare with its own mean.

    With `others`, the bias of the pick among `means` minus that among `others`; the difference of the two picks plus
    its mean is what a rerun of both would show.

    Raises:
        ValueError: no means, sd < 0, or values that are not finite.

    >>> selection_bias([10.0, 90.0], 1.0).mean < 0.1 < selection_bias([10.0, 10.0], 1.0).mean
    True
    """
    if not (math.isfinite(sd) and sd >= 0):
        raise ValueError(f"sd must be a finite number >= 0, got {sd!r}")
    picks = [tuple(_finite("means", settings)) for settings in (means, others) if settings is not None]
    if not all(picks):
        raise ValueError("means must hold at least one value, got none")
    return _simulated_bias(tuple(picks), sd, draws, seed)


@cache
def _simulated_bias(picks: tuple[tuple[float, ...], ...], sd: float, draws: int, seed: int) -> SelectionBias:
    rng, bias = np.random.default_rng(seed), np.zeros(draws)
    for sign, settings in zip((1, -1), map(np.array, picks), strict=False):
        errors = settings + sd * rng.standard_normal((draws, len(settings)))
        pick = errors.argmin(1)
        bias += sign * (settings[pick] - errors[np.arange(draws), pick])
    low, high = np.quantile(bias, [SIGNIFICANCE / 2, 1 - SIGNIFICANCE / 2])
    return SelectionBias(float(bias.mean()), float(low), float(high))


def same_pick(table, sd: float, draws: int = 100_000, seed: int = 0) -> float:
    """Return the probability that two noisy readings of the same settings, each with noise sd, have the same minimum.

    The true errors are taken to be the additive fit of the (r, c) table plus the share of its residuals that noise of
    this size does not explain.

    >>> round(same_pick([[10.0, 20.0], [30.0, 40.0]], 0.1), 2)
    1.0
    """
    table, (fit, spread) = np.asarray(table, dtype=np.float64), additive_fit(table)
    keep = max(0.0, 1 - (sd / spread) ** 2) if spread else 0.0
    means = (fit + keep * (table - fit)).ravel()
    lowest = (means + sd * np.random.default_rng(seed).standard_normal((draws, means.size))).argmin(1)
    return float(((np.bincount(lowest, minlength=means.size) / draws) ** 2).sum())


def additive_fit(table) -> tuple[np.ndarray, float]:
    """Return row + column - grand mean of a complete (r, c) table, its least-squares fit, and the residual sd.

    The sd has (r - 1)(c - 1) degrees of freedom.  It contains run-to-run noise and any interaction, so it bounds the
    noise from above on average.

    Raises:
        ValueError: fewer than two rows or columns, or a missing value.

    >>> additive_fit([[1.0, 2.0], [3.0, 6.0]])[1]
    1.0
    """
    table = np.asarray(table, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2 or not np.isfinite(table).all():
        raise ValueError(f"table must be complete with two rows and columns at least, got shape {table.shape}")
    fit = table.mean(1, keepdims=True) + table.mean(0, keepdims=True) - table.mean()
    freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
    return fit, math.sqrt(float(((table - fit) ** 2).sum()) / freedom)
