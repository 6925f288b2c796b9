"""Against scipy's own functions, closed forms and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from replication.report.analysis import statistics as s

RNG = np.random.default_rng(1)


def test_summary_against_scipy():
    values = RNG.normal(25, 1, 7)
    got = s.summary(values)
    assert (got.mean, got.sd, got.n) == (pytest.approx(np.mean(values)), pytest.approx(stats.tstd(values)), 7)
    low, high = stats.t.interval(0.95, 6, loc=values.mean(), scale=stats.sem(values))
    assert (got.low, got.high) == (pytest.approx(low), pytest.approx(high))
    assert got.detectable == s.detectable_effect(got.sd, 7)


def test_interval_covers_the_mean_as_often_as_it_says():
    hits = [(t := s.summary(RNG.normal(3, 2, 3))).low < 3 < t.high for _ in range(3000)]
    assert abs(np.mean(hits) - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 3000)


def test_one_value_has_no_spread_and_none_no_mean():
    one, none = s.summary([4.0]), s.summary([])
    assert (one.mean, one.n) == (4.0, 1) and np.isnan(one[3:]).all() and math.isnan(one.sd)
    assert none.n == 0 and math.isnan(none.mean)


@pytest.mark.parametrize("bad", [[1, math.nan], [math.inf]])
def test_values_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="values must be finite"):
        s.summary(bad)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_detectable_effect_is_shown_in_80_percent_of_experiments(n):
    true = s.detectable_effect(0.7, n)
    low, high = s.t_interval(RNG.normal(true, 0.7, (40_000, n)))
    assert ((low > 0) | (high < 0)).mean() == pytest.approx(0.8, abs=4 * math.sqrt(0.8 * 0.2 / 40_000))


@pytest.mark.parametrize(
    ("k", "value"),
    [(1, 0), (2, -1 / math.sqrt(math.pi)), (3, -1.5 / math.sqrt(math.pi)), (5, -1.16296447), (20, -1.86747506)],
)
def test_expected_minimum_closed_forms_and_tables(k, value):
    """Closed forms for k = 2, 3; Harter (1961) for 5 and 20."""
    assert s.expected_minimum(k) == pytest.approx(value, abs=1e-7)


@pytest.mark.parametrize("k", [0, 2.5, -1])
def test_expected_minimum_range(k):
    with pytest.raises(ValueError, match="k must be a whole number >= 1"):
        s.expected_minimum(k)


def test_bias_of_equals_is_the_order_statistic_and_of_one_runaway_nothing():
    assert s.selection_bias([25.0] * 20, 0.7).mean == pytest.approx(0.7 * 1.86747506, rel=0.01)
    assert abs(s.selection_bias([10.0] + [25.0] * 19, 0.7).mean) < 0.02
    assert s.selection_bias([1.0, 2.0], 0.0) == (0, 0, 0)


def test_bias_beyond_that_of_a_smaller_choice():
    """Of equals: sd times the difference of order statistics (Harter), 1.867 - 1.163; of one each, N(0, 2 sd^2)."""
    assert s.selection_bias([25.0] * 20, 0.7, [25.0] * 5).mean == pytest.approx(
        0.7 * (1.86747506 - 1.16296447), rel=0.03
    )
    one = s.selection_bias([25.0], 1.0, [30.0])
    bound = stats.norm.ppf(0.975) * math.sqrt(2)
    assert (one.mean, one.low, one.high) == tuple(pytest.approx(x, abs=0.1) for x in (0, -bound, bound))


@pytest.mark.parametrize(
    ("means", "sd", "word"), [([], 1, "means"), ([1], -1, "sd"), ([1], math.nan, "sd"), ([math.nan], 1, "means")]
)
def test_selection_bias_bad_input(means, sd, word):
    with pytest.raises(ValueError, match=word):
        s.selection_bias(means, sd)


def test_the_same_pick_twice_among_equals_has_chance_one_in_k():
    """Without any effect the additive fit of noise is all that is left of the table; a far lowest is always picked."""
    assert s.same_pick(np.full((4, 5), 30.0), 0.5) == pytest.approx(1 / 20, rel=0.02)
    assert s.same_pick([[10.0, 30.0], [30.0, 30.0]], 0.5) == pytest.approx(1)


def test_additive_fit_is_least_squares_with_dummies():
    table = RNG.normal(size=(5, 4))
    rows, columns = np.indices(table.shape)
    design = np.column_stack([rows.ravel() == i for i in range(5)] + [columns.ravel() == j for j in range(4)]).astype(
        float
    )
    fit = design @ np.linalg.lstsq(design, table.ravel(), rcond=None)[0]
    assert s.additive_fit(table)[0].ravel() == pytest.approx(fit)
    assert s.additive_fit(table)[1] == pytest.approx(math.sqrt(((table.ravel() - fit) ** 2).sum() / 12))


def test_additive_residual_recovers_the_noise():
    base = np.arange(5)[:, None] + np.arange(4)[None, :] ** 2
    variances = [s.additive_fit(base + RNG.normal(0, 0.7, (5, 4)))[1] ** 2 for _ in range(500)]
    assert math.sqrt(np.mean(variances)) == pytest.approx(0.7, rel=0.06)
    with pytest.raises(ValueError, match="table must be complete"):
        s.additive_fit([[1, math.nan], [1, 2]])
