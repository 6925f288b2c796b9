"""Section 3 and 4: E_n, its limits, beta <-> N, class-balanced weights. References: mpmath, exact fractions, limits."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest

from replication import beta_from_volume, class_balanced_weights, effective_number, volume_from_beta

BETAS = [1e-300, 1e-9, 0.1, 0.49, 0.5, 0.51, 0.9, 0.9999, 1 - 1e-9, 1 - 1e-12, float(np.nextafter(1, 0))]


@pytest.mark.parametrize("beta", BETAS)
def test_closed_form_to_1e_12_relative(beta):
    """Proposition 1 at 60 digits: 1 - beta^n is where float64 would lose everything."""
    for n in (1, 2, 3, 17, 5000, 10**6, 10**12, 10**15):
        with mpmath.workdps(60):
            exact = (1 - mpmath.mpf(beta) ** n) / (1 - mpmath.mpf(beta))
            assert abs(mpmath.mpf(float(effective_number(n, beta))) / exact - 1) < 1e-12, n


def test_recursion_of_proposition_1_in_exact_fractions():
    """E_1 = 1, E_n = 1 + beta E_{n-1} (the induction of Proposition 1)."""
    beta, covered = Fraction(7, 8), Fraction(0)
    for n in range(1, 40):
        covered = 1 + beta * covered
        assert effective_number(n, 0.875) == pytest.approx(float(covered), rel=1e-15)


def test_limits_are_exact():
    """Implication 1: N = 1 gives 1, N -> infinity gives n; no samples cover nothing; all of them cover N."""
    n = np.array([0.0, 1, 2, 5000, 1e12])
    assert effective_number(n, 0.0).tolist() == [0, 1, 1, 1, 1]
    assert effective_number(n, 1.0).tolist() == n.tolist()
    assert effective_number(0, 0.5) == 0
    assert effective_number(np.inf, 0.75) == 4


def test_nth_sample_adds_beta_to_the_n_minus_1():
    """Equation 3: the j-th sample adds beta^(j-1)."""
    added = np.diff(effective_number(np.arange(60), 0.9))
    np.testing.assert_allclose(added, 0.9 ** np.arange(59), rtol=1e-12)


def test_scalar_in_scalar_out_and_broadcast():
    assert isinstance(effective_number(3, 0.5), np.float64)
    assert effective_number([[1], [2]], [0.0, 0.5, 1.0]).tolist() == [[1, 1, 1], [1, 1.5, 2]]


def test_volume_and_beta_are_inverse():
    """beta = (N - 1) / N and N = 1 / (1 - beta), exact for powers of two, infinity included."""
    volume = np.array([1, 2, 4, 2.0**40, np.inf])
    assert beta_from_volume(volume).tolist() == [0, 0.5, 0.75, 1 - 2.0**-40, 1]
    assert volume_from_beta(beta_from_volume(volume)).tolist() == volume.tolist()
    assert beta_from_volume(10_000) == pytest.approx(0.9999, rel=1e-15)


@pytest.mark.parametrize("beta", [0, 0.9, 0.9999, 1 - 1e-12, 1])
def test_weights_sum_to_the_number_of_classes_and_order_by_rarity(beta):
    counts = [5000, 2997, 50, 50, 1]
    weights = class_balanced_weights(counts, beta)
    assert weights.dtype == np.float64 and weights.sum() == pytest.approx(5, rel=1e-15)
    assert weights[2] == weights[3] and (np.diff(weights) >= 0).all()


def test_both_ends_of_beta():
    """Section 4: beta = 0 re-weights nothing, exactly 1; beta = 1 is inverse frequency; not normalised, 1 / E_n."""
    assert class_balanced_weights([7, 70, 700], 0).tolist() == [1, 1, 1]
    inverse = np.array([1 / 7, 1 / 70, 1 / 700])
    np.testing.assert_allclose(class_balanced_weights([7, 70, 700], 1), inverse * 3 / inverse.sum(), rtol=1e-15)
    np.testing.assert_allclose(class_balanced_weights([7, 70, 700], 1, normalize=False), inverse, rtol=1e-15)


@pytest.mark.parametrize("beta", [0.9, 0.9999, 1 - 1e-12])
@pytest.mark.parametrize("classes", [1, 7, 10, 100])
def test_balanced_counts_give_exactly_one(classes, beta):
    """Table 2: at imbalance 1 the loss is the plain one, so the weights are 1 to the bit."""
    assert (class_balanced_weights([500] * classes, beta) == 1).all()


def test_empty_class_weighs_nothing_and_stays_out_of_the_normalisation():
    weights = class_balanced_weights([100, 0, 10], 0.99, empty="zero")
    assert weights[1] == 0
    assert weights[[0, 2]].tolist() == class_balanced_weights([100, 10], 0.99).tolist()


def test_counts_beyond_64_bits():
    assert class_balanced_weights([1, 10**30], 1) == pytest.approx([2, 2e-30], rel=1e-15)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: effective_number(-1, 0.5), ValueError, r"n must be .*>= 0, got -1"),
        (lambda: effective_number([1, np.nan], 0.5), ValueError, r"n must be .*got nan"),
        (lambda: effective_number(1, 1.5), ValueError, r"beta must be in \[0, 1\], got 1.5"),
        (lambda: effective_number("three", 0.5), TypeError, r"n must be real numbers, got 'three'"),
        (lambda: beta_from_volume(0.5), ValueError, r"volume must be >= 1.*got 0.5"),
        (lambda: beta_from_volume(np.nan), ValueError, r"volume must be >= 1.*got nan"),
        (lambda: volume_from_beta(-0.1), ValueError, r"beta must be in \[0, 1\], got -0.1"),
        (lambda: class_balanced_weights([3, 0, 5, 0], 0.9), ValueError, r"class_counts .*0 for classes \[1, 3\]"),
        (lambda: class_balanced_weights([3, -2], 0.9), ValueError, r"class_counts must be finite and >= 0, got -2"),
        (lambda: class_balanced_weights([3, np.nan], 0.9), ValueError, r"class_counts .*got nan"),
        (lambda: class_balanced_weights([3, np.inf], 0.9), ValueError, r"class_counts .*got inf"),
        (lambda: class_balanced_weights([], 0.9), ValueError, r"class_counts .*shape \(0,\)"),
        (lambda: class_balanced_weights([[3, 4]], 0.9), ValueError, r"class_counts .*shape \(1, 2\)"),
        (lambda: class_balanced_weights([0, 0], 0.9, empty="zero"), ValueError, r"at least one class with samples"),
        (lambda: class_balanced_weights([3, 4], [0.9, 0.9]), ValueError, r"beta must be one number"),
        (lambda: class_balanced_weights([3, 4], 0.9, empty="drop"), ValueError, r"empty must be one of .*'drop'"),
    ],
)
def test_guards_name_argument_value_and_range(call, error, says):
    with pytest.raises(error, match=says):
        call()
