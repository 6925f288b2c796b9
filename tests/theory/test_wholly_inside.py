"""Cubes wholly inside S: the closed form against an integral by hand, a sum of powers, and the simulation."""

import math

import numpy as np
import pytest

from replication.theory.effective_number import beta_from_volume, effective_number
from replication.theory.wholly_inside import expected_volume, simulated_volume, wholly_inside


@pytest.mark.parametrize(("d", "volume", "n"), [(1, 100, 8), (2, 100, 8), (3, 50, 6), (6, 100, 8), (30, 100, 8)])
def test_expected_volume_is_the_sum_over_powers(d, volume, n):
    """N - N E[(1 - p)^n] expanded in powers of p: along one axis E[p^k] is known, and the axes are independent."""
    side = volume ** (1 / d)
    room = side - 1
    if room >= 1:  # p = 1/room in the middle, u/room within 1 of an edge
        moment = [((side - 2) + 2 / (k + 1)) / side / room**k for k in range(n + 1)]
    else:  # p = 1 in the middle, u/room within `room` of an edge
        moment = [((1 - room) + 2 * room / (k + 1)) / side for k in range(n + 1)]
    expected = -volume * sum(math.comb(n, k) * (-1) ** k * moment[k] ** d for k in range(1, n + 1))
    assert expected_volume(d, volume, n) == pytest.approx(expected, rel=1e-8)


def test_one_cube_covers_one_and_a_space_of_volume_one_is_covered_at_once():
    assert expected_volume(5, 100, 1) == pytest.approx(1)
    assert expected_volume(3, 1, 4) == pytest.approx(1)


@pytest.mark.parametrize("d", [1, 3, 10])
def test_simulation_agrees_within_five_standard_errors(d):
    volumes = simulated_volume(d, 100, 100, 100, seed=1)
    assert abs(volumes.mean() - expected_volume(d, 100, 100)) < 5 * volumes.std(ddof=1) / 10


def test_the_share_of_the_formula_falls_with_the_dimension():
    frame = wholly_inside((1, 2, 3, 6, 10, 30), replicates=20)
    assert frame["share"].round(2).tolist() == [1.0, 0.95, 0.84, 0.54, 0.41, 0.33]
    assert frame["E_n"].iloc[0] == effective_number(100, beta_from_volume(100))
    assert np.isfinite(frame["z"]).all()


@pytest.mark.parametrize("d", [0, 1.5, -2])
def test_dimension_out_of_range(d):
    with pytest.raises(ValueError, match="d must be a whole number >= 1, got"):
        expected_volume(d, 100, 10)
