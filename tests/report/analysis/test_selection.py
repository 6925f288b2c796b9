"""Counts over the printed heat maps, and selection bias where its size is known beforehand."""

import numpy as np
import pytest
from report_records import record, write

from replication.report.analysis import published as paper
from replication.report.analysis import selection
from replication.report.analysis.measured import profile_records
from replication.report.analysis.statistics import expected_minimum


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
    assert rows["cifar100", 0.9999].round(1).loc[[20, 50, 100, 200]].tolist() == [1.3, 1.3, 3.6, 11.2]


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


def test_replicate_sd_by_hand():
    """Two runs of one loss differ by sqrt(2) sd: the fifteen differences between beta 0.9 and plain, Figure 8."""
    differences = [0.51, 0.29, 0.0, 0.07, -0.33, -0.17, 0.35, -0.38, -0.70, 0.59, -0.65, -0.13, 0.08, 0.01, 0.02]
    assert selection.replicate_sd() == (pytest.approx(np.sqrt(np.mean(np.square(differences)) / 2)), 15)


def test_ten_validation_picks_would_hardly_ever_all_be_the_best_on_the_test_set():
    """At the paper's own noise at most 5e-5; without any noise the pick is always the same."""
    assert selection.agreement_probability(selection.replicate_sd()[0]) == pytest.approx(5e-5, rel=0.2)
    assert selection.agreement_probability(1e-9) == pytest.approx(1)


def test_published_selection_bias_of_maps_that_are_pure_noise():
    """All 25 true errors equal: the whole change is bias, and nothing is left of it beyond chance."""
    rng, left = np.random.default_rng(0), []
    for _ in range(10):
        maps = paper.heat_map("cifar10").assign(error=30 + rng.normal(0, 0.7, 125))
        bias = selection.published_selection_bias(maps)
        equal = -bias["sd"] * expected_minimum(20)
        assert (equal > bias["bias"]).all() and bias["sd"].mean() == pytest.approx(0.7, rel=0.35)
        left.append((bias["change"] + equal).mean())
    assert abs(np.mean(left) - 0.7 * 1.163) < 0.25  # the best of 5 plain is picked too: E min of 5 = -1.163 sd


def test_the_corrected_change_covers_the_true_one_as_often_as_it_says():
    """Plain 30, class-balanced 29, noise sd 0.7: the picks differ by -1 on a rerun; 95 % intervals hold it."""
    rng, hits = np.random.default_rng(1), []
    for _ in range(12):
        maps = paper.heat_map("cifar10")
        bias = selection.published_selection_bias(maps.assign(error=30 - (maps["beta"] > 0) + rng.normal(0, 0.7, 125)))
        low, mean, high = (bias[f"change_corrected{end}"] for end in ("_low", "", "_high"))
        hits += [*((low < -1) & (high > -1))]
        assert ((low < mean) & (mean < high)).all()
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


def test_measured_bias_knows_the_spread_and_the_fixed_change(noisy):
    row = selection.measured_selection_bias(noisy).iloc[0]
    assert row["k"] == 6 and row["sd"] == pytest.approx(1, rel=0.25)
    assert row["bias"] == pytest.approx(1.2672, rel=0.3)  # E min of 6 normals of sd 1 (Harter), of equals
    assert row["fixed_low"] < -3 < row["fixed_high"] and row["fixed_n"] == 8
    assert row["shrinkage"] == pytest.approx(1.27, abs=0.6)


def test_the_spread_is_that_of_the_cells_that_are_picked_from(noisy):
    """The plain losses' own spread, here made ten times as large, is not the pick's."""
    plain = noisy["beta"] == 0
    wild = noisy.assign(error=noisy["error"].where(~plain, 43 + 10 * (noisy["error"] - 43)))
    ours = (selection.measured_selection_bias(frame).iloc[0]["sd"] for frame in (wild, noisy))
    assert next(ours) == next(ours)


def test_single_seeds_say_nothing_of_the_bias(tmp_path):
    frame = profile_records(write(tmp_path, "cpu", [record(40, beta=0.9999), record(43)]), "cpu")
    row = selection.measured_selection_bias(frame).iloc[0]
    assert np.isnan([row["sd"], row["bias"], row["fixed_low"], row["shrinkage"]]).all() and row["fixed_change"] == -3
    assert selection.measured_selection_bias(profile_records(tmp_path / "none", "cpu")).empty
