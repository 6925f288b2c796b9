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


def test_departures_show_every_law_in_two_dimensions_beside_its_cloud():
    failed = pd.read_csv(COMMITTED / "departures.csv")
    sketch, ratios = cf.departures_figure(failed).axes
    assert points(ratios) == (failed.d == 2).sum() and points(sketch) == 4 * 300
    assert points(cf.departures_figure(failed[failed.d == 1]).axes[1]) == (failed.d == 1).sum()


def test_near_duplicates_show_the_median_of_each_data_set():
    near = pd.concat([pd.read_csv(COMMITTED / f"{n}.csv") for n in ("near_duplicates", "random_crops")])
    axis = cf.near_duplicates_figure(near).axes[0]
    shown = {float(x) for line in axis.lines if line.get_marker() == "o" for x in line.get_xdata()}
    cifar = near[near.dataset != "digits"]
    medians = (
        cifar[cifar.radius == cifar.radius.min()]
        .groupby(["dataset", "augmentation"])
        .N.quantile(0.5, interpolation="lower")
    )
    assert len(shown) == 5 and shown == set(medians.clip(upper=cf.NO_BOUND))
    digits = cf.near_duplicates_figure(near[near.dataset == "digits"]).axes[0]  # a run without CIFAR
    assert next(tick.get_text() for tick in digits.get_yticklabels()) == "digits, images as they are"


def test_sets_wholly_inside_cover_less_in_higher_dimension():
    frame = pd.read_csv(COMMITTED / "wholly_inside.csv")
    axis = cf.wholly_inside_figure(frame).axes[0]
    assert axis.lines[1].get_ydata() == pytest.approx(frame["share"]) and points(axis) == len(frame)
