"""Counts over the printed heat maps, and luck where its size is known beforehand."""

import numpy as np
import pytest
from report_records import record, write

from replication.report.analysis import published as paper
from replication.report.analysis import selection
from replication.report.analysis.measured import profile_records


@pytest.mark.parametrize(("dataset", "counts"), [("cifar10", [11, 16, 25, 25]), ("cifar100", [12, 18, 7, 5])])
def test_cells_that_improve_at_each_beta(dataset, counts):
    """Counted by hand in Figures 8 and 10: of 25 cells, at beta 0.9, 0.99, 0.999, 0.9999."""
    rows = selection.improvements().query("dataset == @dataset")
    assert rows["improved"].tolist() == counts and (rows["of"] == 25).all()


def test_mean_difference_by_imbalance_by_hand():
    """Figure 8 at imbalance 200, beta 0.9999: five class-balanced minus five plain errors."""
    rows = selection.difference_by_imbalance().set_index(["dataset", "beta", "imbalance_factor"])["mean_difference"]
    plain, balanced = [34.32, 34.51, 36.00, 34.71, 35.12], [31.11, 31.93, 31.97, 32.06, 33.77]
    assert rows["cifar10", 0.9999, 200.0] == pytest.approx(np.mean(balanced) - np.mean(plain))


def test_rerun_sd_by_hand():
    """Pooled within the six cells that were run twice or more."""
    cells = [
        [25.19, 24.02, 22.55, 22.50],
        [21.95, 20.82],
        [23.84, 22.83],
        [21.04, 20.78],
        [23.29, 24.70],
        [20.78, 20.58],
    ]
    squares = sum(np.var(c) * len(c) for c in cells)
    assert selection.rerun_sd() == (pytest.approx(np.sqrt(squares / 8)), 8)


def test_published_luck_of_maps_that_are_pure_noise():
    """All 25 true errors equal: the whole gain is luck, and nothing is left of it beyond chance."""
    rng, left = np.random.default_rng(0), []
    for _ in range(10):
        maps = paper.heat_map("cifar10").assign(error=30 + rng.normal(0, 0.7, 125))
        luck = selection.published_luck(maps)
        assert (luck["luck_equal"] > luck["luck"]).all() and luck["sd"].mean() == pytest.approx(0.7, rel=0.35)
        left.append((luck["gain"] - luck["luck_equal"]).mean())
    assert abs(np.mean(left) + 0.7 * 1.163) < 0.25  # the best of 5 plain is lucky too: E min of 5 = -1.163 sd


def test_what_is_left_after_luck_covers_the_true_gain_as_often_as_it_says():
    """Plain 30, class-balanced 29, noise sd 0.7: what the picks differ by on a rerun is 1; 95 % intervals hold it."""
    rng, hits = np.random.default_rng(1), []
    for _ in range(12):
        maps = paper.heat_map("cifar10")
        luck = selection.published_luck(maps.assign(error=30 - (maps["beta"] > 0) + rng.normal(0, 0.7, 125)))
        hits += [*((luck["left_low"] < 1) & (luck["left_high"] > 1))]
        assert ((luck["left_low"] < luck["left"]) & (luck["left"] < luck["left_high"])).all()
    assert np.mean(hits) > 0.8  # 60 columns; the noise is estimated too


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """Six class-balanced cells of one true error (sd 1) and a plain loss 3 points worse, eight seeds."""
    rng, runs = np.random.default_rng(3), []
    for seed in range(8):
        for loss, gamma in (("softmax", None), ("sigmoid", None), ("focal", 1.0)):
            runs += [record(40 + rng.normal(), loss=loss, gamma=gamma, beta=b, seed=seed) for b in (0.999, 0.9999)]
            runs.append(record(43 + rng.normal(), loss=loss, gamma=gamma, seed=seed))
    return profile_records(write(tmp_path_factory.mktemp("r"), "cpu", runs), "cpu")


def test_measured_luck_knows_the_spread_and_the_fixed_gain(noisy):
    row = selection.measured_luck(noisy).iloc[0]
    assert row["k"] == 6 and row["sd"] == pytest.approx(1, rel=0.25)
    assert row["luck_equal"] == pytest.approx(1.2672 * row["sd"], rel=1e-3)  # E min of 6 normals (Harter)
    assert row["fixed_low"] < 3 < row["fixed_high"] and row["fixed_n"] == 8


def test_the_spread_is_that_of_the_cells_that_are_picked_from(noisy):
    """The plain losses' own spread, here made ten times as large, is not the pick's."""
    plain = noisy["beta"] == 0
    wild = noisy.assign(error=noisy["error"].where(~plain, 43 + 10 * (noisy["error"] - 43)))
    assert selection.measured_luck(wild).iloc[0]["sd"] == selection.measured_luck(noisy).iloc[0]["sd"]


def test_the_pick_of_a_seed_shrinks_on_the_others_by_about_its_luck(noisy):
    rows = selection.selected_seeds(noisy)
    assert len(rows) == 8 and (rows["of"] == 6).all()
    assert rows["shrinkage"].mean() == pytest.approx(1.27, abs=0.6)


def test_single_seeds_say_nothing_of_luck(tmp_path):
    runs = [record(40, beta=0.9999), record(43)]
    frame = profile_records(write(tmp_path, "cpu", runs), "cpu")
    row = selection.measured_luck(frame).iloc[0]
    assert np.isnan([row["sd"], row["luck"], row["fixed_low"]]).all() and row["fixed_gain"] == 3
    assert selection.selected_seeds(frame).empty


def test_no_records_no_rows(tmp_path):
    frame = profile_records(tmp_path, "cpu")
    assert selection.measured_luck(frame).empty and selection.selected_seeds(frame).empty
