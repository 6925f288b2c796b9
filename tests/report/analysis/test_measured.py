"""Cells, pairs and ablations from records written for the purpose, against means and differences by hand."""

import math
from dataclasses import replace

import pytest
from report_records import record, write

from replication.report.analysis import ablations, measured
from replication.report.analysis.profile import Profile, read_profiles


@pytest.fixture
def records(tmp_path):
    def read(*runs, profile="cpu"):
        return measured.profile_records(write(tmp_path, profile, runs), profile)

    return read


def lost(**fields):
    """A run that diverged."""
    return replace(record(status="diverged", **fields), error=None, best_error=None, error_per_class=None)


@pytest.mark.parametrize(
    ("seeds", "words"), [((4, 0, 1, 3, 2), "0 to 4"), ((0, 2, 3, 4), "0, 2, 3, 4"), ((1, 0), "0, 1")]
)
def test_many_seeds_in_a_row_are_a_range(records, seeds, words):
    assert measured.conditions(records(*(record(30, seed=seed) for seed in seeds)))[0] == words


def test_cells_average_the_last_epoch_over_seeds(records):
    cells = measured.cells(records(record(30, seed=0), record(33, seed=1), record(20, seed=0, beta=0.99)))
    plain = cells.set_index("beta").loc[0.0]
    assert (plain["mean"], plain["n"], plain["seeds"]) == (31.5, 2, "0 1")
    assert plain["sd"] == pytest.approx(3 / math.sqrt(2)) and math.isnan(cells.set_index("beta").loc[0.99, "sd"])


def test_a_diverged_run_is_counted_but_in_no_mean(records):
    frame = records(record(30, seed=0), lost(seed=1))
    cell = measured.cells(frame).iloc[0]
    assert (cell["mean"], cell["n"], cell["diverged"]) == (30, 1, 1)


def test_changed_runs_are_in_no_cell(records):
    frame = records(
        record(30), record(50, reduction="weighted_mean"), record(50, weight_decay=1e-3), record(50, drop_factor=0.1)
    )
    assert len(frame) == 4 and measured.cells(frame)[["mean", "n"]].values.tolist() == [[30, 1]]


def test_pairs_match_seed_loss_imbalance_and_data_set(records):
    plain = [record(30, seed=0), record(31, seed=1)]
    balanced = [record(28, seed=1, beta=0.9999), record(25, seed=2, beta=0.9999)]
    others = [record(20, seed=0, beta=0.9999, loss="sigmoid"), record(10, seed=0, beta=0.9999, imbalance_factor=10)]
    pairs = measured.pairs(records(*plain, *balanced, *others))
    assert pairs[["seed", "plain", "class_balanced", "difference"]].values.tolist() == [[1, 31, 28, -3]]


def test_pairs_do_not_join_float32_with_bfloat16(records):
    half = replace(record(25, seed=1, beta=0.9999), precision="bfloat16 autocast")
    frame = records(record(30, seed=0), record(28, seed=0, beta=0.9999), record(31, seed=1), half)
    assert measured.pairs(frame)["seed"].tolist() == [0]


def test_a_changed_run_is_not_set_against_a_run_of_another_precision(records):
    runs = [record(35, beta=0.9999, reduction="weighted_mean"), record(40)]
    runs.append(replace(record(30, beta=0.9999), precision="bfloat16 autocast"))
    assert ablations.ablations(records(*runs)).empty


def test_a_cell_is_a_mean_over_one_precision(records):
    """Two seeds in bfloat16 and one in float32: the two; one of each: float32."""
    frame = records(record(30, seed=0), record(40, seed=1), record(42, seed=2))
    mixed = frame.assign(precision=["float32", "bfloat16 autocast", "bfloat16 autocast"])
    cell = measured.cells(mixed).iloc[0]
    assert (cell["mean"], cell["n"]) == (41, 2)
    cell = measured.cells(mixed.iloc[:2]).iloc[0]
    assert (cell["mean"], cell["n"]) == (30, 1)


def test_pairs_on_unlike_hardware_are_counted(records):
    frame = records(*(record(40 - 5 * (b > 0), seed=s, beta=b) for s in (0, 1) for b in (0.0, 0.9999)))
    assert Profile("cpu", frame).paired_cells["across"].tolist() == [0]
    moved = frame.assign(device=frame["device"].where((frame["beta"] == 0) | (frame["seed"] == 0), "another"))
    assert Profile("cpu", moved).paired_cells["across"].tolist() == [1]


def test_a_pair_with_a_diverged_member_is_none(records):
    """Seed 0 is whole, seed 1 lost its plain run, seed 2 both, seed 3 its class-balanced one; seed 4 has no partner."""
    plain = [record(30, seed=0), lost(seed=1), lost(seed=2), record(30, seed=3), lost(seed=4), record(30, seed=5)]
    balanced = [record(28, seed=s, beta=0.9999) for s in (0, 1)] + [lost(seed=s, beta=0.9999) for s in (2, 3)]
    frame = records(*plain, *balanced, lost(seed=5, beta=0.9999, shortcut="subsample"))
    assert measured.pairs(frame)["seed"].tolist() == [0]


def test_seed_means_use_only_seeds_that_have_every_cell(records):
    runs = [record(30, seed=s) for s in (0, 1)] + [record(30, seed=s, loss="sigmoid") for s in (1, 2)]
    runs += [record(28 - s, seed=s, beta=0.9999) for s in (0, 1)]
    runs += [record(26 - s, seed=s, beta=0.9999, loss="sigmoid") for s in (1, 2)]
    assert measured.complete(measured.pairs(records(*runs))).mean().to_dict() == {1: -4.0}


def test_a_loss_begun_with_one_seed_does_not_hide_three_of_another(records):
    runs = [record(30 - 5 * (b > 0) - s * (b > 0), seed=s, beta=b) for s in range(3) for b in (0.0, 0.9999)]
    started = [record(40 - 20 * (b > 0), seed=0, beta=b, loss="sigmoid") for b in (0.0, 0.9999)]
    wide = measured.complete(measured.pairs(records(*runs, *started)))
    assert wide.mean().to_dict() == {0: -5.0, 1: -6.0, 2: -7.0} and set(wide.index.unique("label")) == {"softmax"}


def test_a_fourth_seed_of_one_loss_does_not_hide_three_of_another(records):
    runs = [
        record(30 - gain * (b > 0), seed=s, beta=b, loss=loss)
        for loss, gain, seeds in (("softmax", 5, 4), ("sigmoid", 7, 3))
        for s in range(seeds)
        for b in (0.0, 0.9999)
    ]
    assert measured.complete(measured.pairs(records(*runs))).mean().to_dict() == {0: -6.0, 1: -6.0, 2: -6.0}


def test_another_profiles_run_is_left_out_and_named(tmp_path):
    record(9, profile="paper").write(tmp_path / "cpu" / "runs")
    record(30).write(tmp_path / "cpu" / "runs")
    with pytest.warns(UserWarning, match="budget of profile paper, not cpu: left out"):
        assert measured.profile_records(tmp_path, "cpu")["error"].tolist() == [30]


def test_no_records(tmp_path):
    empty = measured.profile_records(tmp_path, "cpu")
    assert measured.cells(empty).empty and measured.pairs(empty).empty
    assert Profile("cpu", empty).paired_cells.empty
    assert read_profiles(tmp_path) == {}


def test_a_run_with_two_switches_changed_is_no_ablation(records):
    assert ablations.changed(records(record(30, reduction="weighted_mean", drop_factor=0.1))).empty


def test_a_drop_of_a_tenth_is_the_protocol_of_balanced_runs_and_an_ablation_of_others(records):
    frame = records(*(record(30, imbalance_factor=f, drop_factor=d) for f in (1, 100) for d in (0.1, 0.01)))
    kept, switched = measured.reference(frame), ablations.changed(frame).set_index("imbalance_factor")
    assert dict(zip(kept["imbalance_factor"], kept["drop_factor"], strict=True)) == {1: 0.1, 100: 0.01}
    assert switched["value"].to_dict() == {1: "0.01", 100: "0.1"} and set(switched["switch"]) == {"drop_factor"}


def test_every_ablation_of_the_grid_has_its_words():
    from replication.experiments.experiment import Experiment, paper_setting
    from replication.experiments.grids import GRIDS

    for fields in GRIDS["controls"]:
        row = Experiment(**fields)
        away = [
            (s, str(getattr(row, s)))
            for s in measured.PROTOCOL
            if getattr(row, s) != paper_setting(s, row.imbalance_factor)
        ]
        assert len(away) == 1 and away[0] in ablations.WORDS
