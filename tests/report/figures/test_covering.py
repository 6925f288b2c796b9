"""Figures of notebook 02 show what the tables hold."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from replication.report.figures import covering as cf
from replication.theory.covering import check

COMMITTED = Path(__file__).parents[3] / "results" / "covering"


@pytest.fixture(scope="module")
def verified():
    return pd.read_csv(COMMITTED / "verify.csv")


def points(axis) -> int:
    """Data points drawn with a marker."""
    return sum(len(line.get_xdata()) for line in axis.lines if line.get_marker() not in ("None", None, ""))


def test_every_mean_is_a_point(verified):
    axis = cf.effective_number_figure(verified).axes[0]
    assert points(axis) == (verified.geometry == "prototypes").sum()
    assert cf.effective_number_figure(verified).axes[0].get_xscale() == "log"


def test_every_z_is_a_point_inside_the_drawn_bound(verified):
    axis = cf.z_scores(verified).axes[0]
    assert points(axis) == len(verified)
    bounds = [line.get_ydata()[0] for line in axis.lines if line.get_linestyle() == "--"]
    assert sorted(bounds) == pytest.approx([-check(verified).bound, check(verified).bound])


def test_picture_states_the_area_it_shows():
    """Squares at n = 5: the titled area is that of the union, which the exact method gives too."""
    from replication.theory.torus import union_of_squares

    title = cf.picture().axes[0].get_title()
    centres = np.random.default_rng(3).random((75, 2)) * 5
    stated = float(title.split("covered ")[1].split(",")[0])
    assert stated == pytest.approx(union_of_squares(centres[:5], 5.0), abs=0.05)


def test_points_of_the_spread_lie_on_their_lines(verified):
    """Each simulated standard deviation, without the probes' part, within a quarter of the largest of its curve."""
    figure = cf.spread(verified)
    for axis in figure.axes:
        for line, dots in zip(axis.lines[0::2], axis.lines[1::2], strict=True):
            expected = np.interp(dots.get_xdata(), line.get_xdata(), line.get_ydata())
            assert np.abs(dots.get_ydata() - expected).max(initial=0) < 0.25 * line.get_ydata().max()
            assert len(dots.get_xdata()) or "6" in line.get_label()  # in d = 6 the probes hide it


def test_departures_and_near_duplicates_have_a_panel_each():
    failed = pd.read_csv(COMMITTED / "departures.csv")
    assert len(cf.departures_figure(failed).axes) == 2 * failed.d.nunique()
    near = pd.concat([pd.read_csv(COMMITTED / f"{n}.csv") for n in ("near_duplicates", "random_crops")])
    assert len(cf.near_duplicates_figure(near).axes) == 4
    titles = [axis.get_title() for axis in cf.near_duplicates_figure(near).axes]
    assert [title.split(",")[0] for title in titles] == ["digits", "digits", "CIFAR-10", "CIFAR-10"]
    only = cf.near_duplicates_figure(near[near.dataset == "digits"])
    assert len(only.axes) == 2


def test_not_whole_ends_at_the_next_whole_number():
    line = cf.not_whole(volumes=(2.5,), largest=200).axes[0].lines[0]
    assert line.get_ydata()[-1] == pytest.approx(3 / 2.5, rel=1e-6)
