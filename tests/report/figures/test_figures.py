"""Figures: what is drawn is what the records and the printed numbers say."""

import numpy as np
import pytest
from report_records import record, write

from replication.data.long_tail import long_tailed_counts
from replication.experiments.experiment import loss_label
from replication.report.analysis import published as paper
from replication.report.analysis.measured import profile_records
from replication.report.figures import data as data_figures
from replication.report.figures import heat_maps
from replication.report.figures import training as training_figures
from replication.report.figures.style import LOSS_COLOURS


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Softmax, plain and 0.9999, seeds 0 and 1, at imbalance 100; one control with a drop of 0.1."""
    runs = [record(40 + s - 4 * (b > 0), seed=s, beta=b) for s in (0, 1) for b in (0.0, 0.9999)]
    return profile_records(write(tmp_path_factory.mktemp("r"), "cpu", [*runs, record(41, drop_factor=0.1)]), "cpu")


def texts(axis):
    return [t.get_text() for t in axis.texts]


def test_figure_4_plots_the_counts():
    axis = data_figures.class_counts_figure().axes[0]
    drawn = {line.get_label(): line.get_ydata().tolist() for line in axis.lines}
    assert drawn["imbalance 100: 10,847 images"] == long_tailed_counts(500, 100, 100)
    assert len(drawn) == 5


@pytest.mark.parametrize("dataset", paper.HEAT_MAPS)
def test_published_heat_maps_hold_every_printed_error(dataset):
    figure = heat_maps.heat_map_figure(None, dataset)
    cells = {t.split("  ")[0] for t in texts(figure.axes[0])}
    assert cells == {f"{e:.2f}" for e in paper.heat_map(dataset)["error"]} and len(texts(figure.axes[0])) == 125


def test_measured_heat_map_shows_difference_seeds_and_what_is_not_measured(records):
    figure = heat_maps.heat_map_figure(records, "cifar10", "cpu")
    shown = texts(figure.axes[1])
    assert "36.50  (-4.00)  n=2" in shown and "40.50  n=2" in shown
    assert shown.count("not measured") == 123
    colours = np.ma.filled(figure.axes[1].images[0].get_array(), np.nan)
    assert colours[4, 1] == -4 and np.isfinite(colours).sum() == 2


@pytest.mark.parametrize(("gain", "limit"), [(4.0, 5), (8.5, 9)])  # the paper's largest on CIFAR-10: 4.19
def test_both_heat_maps_share_a_scale_that_reaches_the_largest_difference(tmp_path, gain, limit):
    frame = profile_records(write(tmp_path, "cpu", [record(40), record(40 - gain, beta=0.9999)]), "cpu")
    maps = heat_maps.heat_map_figure(frame, "cifar10", "cpu").axes[:2]
    assert [axis.images[0].get_clim() for axis in maps] == [(-limit, limit)] * 2


def test_no_heat_map_of_what_nobody_knows(records):
    assert heat_maps.heat_map_figure(records, "digits", "cpu") is None


def test_figure_5_draws_the_papers_lines_at_imbalance_50():
    axis = training_figures.figure5(None).axes[0]
    printed = paper.heat_map("cifar10").query("imbalance_factor == 50 and label == 'softmax'")
    lines = {
        tuple(np.asarray(line.get_ydata(), float).round(2))
        for line in axis.lines
        if line.get_color() == LOSS_COLOURS["softmax"]
    }
    assert tuple(printed.query("beta > 0")["error"]) in lines and (25.19, 25.19) in lines


def test_figure_5_of_records_stands_beside_the_paper_at_the_same_imbalance(records):
    titles = [axis.get_title() for axis in training_figures.figure5(records, "cpu").axes]
    assert titles[2:] == ["CIFAR-10, imbalance 100\n(paper)", "CIFAR-10, imbalance 100\n(profile cpu, n = 2)"]


def test_figure_5_compares_a_loss_over_one_set_of_seeds(tmp_path):
    """Plain 50 on seed 0 and 40 on seeds 1, 2; beta 0.9999 three below each; beta 0.9, 49, on seed 0 alone: no gain."""
    runs = [record(40 + 10 * (s == 0) - 3 * (b > 0), seed=s, beta=b) for s in range(3) for b in (0.0, 0.9999)]
    frame = profile_records(write(tmp_path, "cpu", [*runs, record(49, beta=0.9)]), "cpu")
    axis = training_figures.figure5(frame, "cpu").axes[-1]
    assert axis.get_title().endswith("n = 3)")
    points = [np.asarray(line.get_ydata(), float) for line in axis.lines if line.get_marker() == "o"]
    assert [y.round(2).tolist() for y in points if len(y)] == [[40.33]]


def test_a_difference_of_fewer_pairs_than_runs_says_so(tmp_path):
    runs = [record(40, seed=s, beta=0.9999) for s in range(3)]
    frame = profile_records(write(tmp_path, "cpu", [*runs, record(45)]), "cpu")
    assert "40.00  (-5.00, n=1)  n=3" in texts(heat_maps.heat_map_figure(frame, "cifar10", "cpu").axes[1])


def test_curves_are_means_over_seeds_with_a_band_from_lowest_to_highest(records):
    axis = training_figures.curves_figure(records, "cpu").axes[0]
    plain = next(line for line in axis.lines if line.get_label() == "plain (n = 2)")
    assert plain.get_ydata()[-1] == pytest.approx(40.5)
    band = axis.collections[0].get_paths()[0].vertices
    assert {40.0, 41.0} <= set(band[np.isclose(band[:, 0], 30), 1].round(6))


def test_drop_figure_only_with_runs_at_both_drops(records):
    labels = [line.get_label() for line in training_figures.drop_figure(records, "cpu").axes[0].lines]
    assert labels == ["drop 0.01 (n = 2)", "drop 0.1 (n = 1)"]
    assert training_figures.drop_figure(records[records["drop_factor"] == 0.01], "cpu") is None


def test_per_class_figure_names_classes_with_their_images(records):
    ticks = [t.get_text() for t in training_figures.per_class_figure(records, "cpu").axes[0].get_xticklabels()]
    assert ticks[0] == "class 0 (5000)" and ticks[-1] == "class 9 (50)"


def test_gain_figure_joins_only_what_has_the_seeds(tmp_path):
    """Three seeds at 10 and 100, one at 200: a line from 10 to 100, and a hollow marker that the legend explains."""
    cells = [(f, s) for f in (10, 100) for s in range(3)] + [(200, 0)]
    runs = [record(40 - 4 * (b > 0), imbalance_factor=f, seed=s, beta=b) for f, s in cells for b in (0.0, 0.9999)]
    axis = training_figures.gain_figure(profile_records(write(tmp_path, "cpu", runs), "cpu"), "cpu").axes[0]
    ours = [line for line in axis.lines if line.get_marker() == "o" and len(line.get_xdata())]
    assert [(len(line.get_xdata()), line.get_markerfacecolor()) for line in ours] == [
        (2, LOSS_COLOURS["softmax"]), (1, "white")]  # fmt: skip
    assert axis.get_legend().get_texts()[-1].get_text() == "hollow: fewer seeds, no interval"


def test_gain_figure_has_ours_and_the_papers(records):
    axis = training_figures.gain_figure(records, "cpu").axes[0]
    heights = [line.get_ydata() for line in axis.lines]
    assert any(len(y) == 1 and y[0] == -4 for y in heights)  # ours, imbalance 100
    assert any(
        len(y) == 5 and np.allclose(y, [-0.15, -2.13, -3.24, -2.01, -3.21]) for y in heights
    )  # softmax, Figure 8


def test_empty_records_draw_nothing_of_their_own(tmp_path):
    empty = profile_records(tmp_path, "cpu")
    for draw in (training_figures.curves_figure, training_figures.drop_figure, training_figures.per_class_figure):
        assert draw(empty, "cpu") is None
    assert (
        len(training_figures.figure5(empty, "cpu").axes) == 2
        and len(training_figures.gain_figure(empty, "cpu").axes) == 1
    )


@pytest.mark.parametrize(
    "runs",
    [
        [dict(imbalance_factor=1), dict(imbalance_factor=1, beta=0.9999)],
        [dict(imbalance_factor=50, beta=b) for b in (0.9, 0.99, 0.999)] + [dict(imbalance_factor=10)],
        [dict(loss="focal", gamma=3.0), dict(loss="focal", gamma=3.0, beta=0.9999)],
    ],
    ids=["balanced", "other betas", "another loss"],
)
def test_figures_of_other_grids_than_the_papers_do_not_fail(tmp_path, runs):
    frame = profile_records(write(tmp_path, "cpu", [record(40, **fields) for fields in runs]), "cpu")
    figure = training_figures.per_class_figure(frame, "cpu")
    gain = training_figures.gain_figure(frame, "cpu")
    assert (figure is None) == (len(gain.axes) == 1) == (frame["label"] == "focal 3.0").all()
    ours = [line.get_xdata() for line in gain.axes[0].lines if line.get_marker() == "o"]
    assert not any(x < 5 for xs in ours for x in xs)  # none at imbalance 1, where both are one loss


def test_losses_of_other_gammas_have_other_names():
    names = [loss_label("focal", gamma) for gamma in (0.5, 1, 2.0, 0.45, 1.04, 0.25)]
    assert names == ["focal 0.5", "focal 1.0", "focal 2.0", "focal 0.45", "focal 1.04", "focal 0.25"]
