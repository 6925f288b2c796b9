"""Figures: what is drawn is what the records and the printed numbers say."""

import math
from dataclasses import replace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from report_records import record, write

from replication.data.long_tail import long_tailed_counts
from replication.report.analysis import published as paper
from replication.report.analysis.profile import read_profile
from replication.report.figures import data as data_figures
from replication.report.figures import gains, heat_maps, style, training
from replication.report.figures.style import LOSS_COLOURS

BETAS = (0.0, 0.9, 0.99, 0.999, 0.9999)


@pytest.fixture
def profile(tmp_path):
    def read(runs, name="cpu"):
        return read_profile(write(tmp_path, name, runs), name)

    return read


@pytest.fixture(scope="module")
def softmax(tmp_path_factory):
    """Softmax at five betas, seeds 0 and 1, imbalance 100, each beta one point below the last; one other drop."""
    runs = [record(40 + s - k, seed=s, beta=b) for s in (0, 1) for k, b in enumerate(BETAS)]
    results = write(tmp_path_factory.mktemp("r"), "cpu", [*runs, record(41, drop_factor=0.1)])
    write(
        results,
        "paper",
        [record(40 + s - k, profile="paper", seed=s, beta=b) for s in (0, 1) for k, b in enumerate(BETAS)],
    )
    return {name: read_profile(results, name) for name in ("cpu", "paper")}


def texts(axis):
    return [t.get_text() for t in axis.texts]


def points(axis, marker="o"):
    """(x, y) of every point drawn with that marker, those of the legend aside."""
    lines = [line for line in axis.lines if line.get_marker() == marker]
    return [(float(x), float(y)) for line in lines for x, y in zip(*line.get_data(), strict=True) if not np.isnan(x)]


def test_figure_4_plots_the_counts():
    axis = data_figures.class_counts_figure().axes[1]
    drawn = {line.get_label(): line.get_ydata().tolist() for line in axis.lines}
    assert drawn["imbalance 100: 10,847 images"] == long_tailed_counts(500, 100, 100)
    assert len(drawn) == 5


@pytest.mark.parametrize("dataset", paper.HEAT_MAPS)
def test_published_heat_maps_hold_every_printed_error_on_one_scale(dataset):
    axis = heat_maps.published_heat_map(dataset).axes[0]
    assert sorted(t.split(" ")[0] for t in texts(axis)) == sorted(f"{e:.1f}" for e in paper.heat_map(dataset)["error"])
    assert axis.images[0].get_clim() == (-heat_maps.LIMIT, heat_maps.LIMIT)


def test_measured_heat_map_shows_the_measured_cells_and_at_full_protocol_the_papers_beside_them(softmax):
    short, full = (heat_maps.measured_heat_map(softmax[name], "cifar10").axes for name in ("cpu", "paper"))
    assert texts(short[0]) == ["40.5", "39.5 (-1.0)", "38.5 (-2.0)", "37.5 (-3.0)", "36.5 (-4.0)"]
    assert texts(full[1]) == texts(short[0]) and texts(full[0])[0] == "29.6"
    clims = {axis.images[0].get_clim() for axis in (short[0], *full[:2])}
    assert clims == {(-heat_maps.LIMIT, heat_maps.LIMIT)} and len(short) == 2  # one map and its scale


def test_a_cell_of_other_seeds_than_usual_says_so(profile):
    runs = [record(40, seed=s, beta=b) for s in (0, 1) for b in BETAS] + [record(40, seed=2)]
    assert "40.0 n=3" in texts(heat_maps.measured_heat_map(profile(runs), "cifar10").axes[0])


def test_below_five_cells_nothing_is_drawn(profile):
    few = profile([record(40, beta=b) for b in BETAS[:4]])
    assert heat_maps.measured_heat_map(few, "cifar10") is None and training.betas_figure(few, "cifar10") is None
    assert gains.methods_figure(few) is None


def test_figure_5_draws_the_papers_lines_at_imbalance_50():
    axis = training.figure5().axes[0]
    printed = paper.heat_map("cifar10").query("imbalance_factor == 50 and label == 'softmax'")
    lines = {
        tuple(np.asarray(line.get_ydata(), float).round(2))
        for line in axis.lines
        if line.get_color() == LOSS_COLOURS["softmax"]
    }
    assert tuple(printed.query("beta > 0")["error"]) in lines and (25.19, 25.19) in lines


def test_betas_are_drawn_as_changes_and_only_full_protocol_stands_beside_the_paper(profile):
    losses = ({"loss": "softmax"}, {"loss": "sigmoid"})
    runs = [record(40 - k, beta=b, **loss) for loss in losses for k, b in enumerate(BETAS)]
    axes = training.betas_figure(profile(runs), "cifar10").axes
    assert len(axes) == 1 and sorted({y for _, y in points(axes[0])}) == [-4, -3, -2, -1]
    full = [record(40 - k, profile="paper", beta=b, **loss) for loss in losses for k, b in enumerate(BETAS)]
    assert len(training.betas_figure(profile(full, "paper"), "cifar10").axes) == 2


def test_curves_are_means_over_seeds_with_a_band_from_lowest_to_highest(softmax):
    axis = training.curves_figure(softmax["cpu"], "cifar10").axes[0]
    plain = next(line for line in axis.lines if line.get_label() == "plain (n = 2)")
    assert plain.get_ydata()[-1] == pytest.approx(40.5)
    band = axis.collections[0].get_paths()[0].vertices
    assert {40.0, 41.0} <= set(band[np.isclose(band[:, 0], 30), 1].round(6))
    dotted = [line.get_xdata()[0] for line in axis.lines if line.get_linestyle() == ":"]
    assert dotted == [24]  # the records' rate drops at 0.8 of 30 epochs


def test_drop_figure_only_with_runs_at_both_drops(softmax):
    axis = training.drop_figure(softmax["cpu"]).axes[0]
    labels = [line.get_label() for line in axis.lines if not line.get_label().startswith("_")]
    assert labels == ["rate / 100, the paper's (n = 2)", "rate / 10 (n = 1)"]
    assert training.drop_figure(softmax["paper"]) is None


def test_change_of_each_class_is_paired_and_runs_head_to_tail(profile):
    """Plain 40 in each class; class-balanced 45 in class 0, 30 in the last, two seeds that differ by one point."""
    balanced = [45, *[40] * 8, 30]
    runs = [record(40, seed=s, per_class=[40 + s] * 10) for s in (0, 1)]
    runs += [record(38, seed=s, beta=0.9999, per_class=[e + s for e in balanced]) for s in (0, 1)]
    axis = training.class_change_figure(profile(runs), "cifar10").axes[0]
    assert axis.lines[1].get_ydata().tolist() == [5, *[0] * 8, -10]
    ticks = [t.get_text() for t in axis.get_xticklabels()]
    assert ticks[0] == "class 0 (5,000)" and ticks[-1] == "class 9 (50)"


def test_cifar100_has_its_figures_too(profile):
    runs = [record(60 - k, dataset="cifar100", beta=b, seed=s) for s in (0, 1) for k, b in enumerate(BETAS)]
    read = profile(runs)
    assert training.class_change_figure(read, "cifar100").axes[0].lines[1].get_xdata().size == 100
    assert training.curves_figure(read, "cifar100") and heat_maps.measured_heat_map(read, "cifar100")


def test_forest_draws_ours_filled_the_print_hollow_and_the_word_at_the_margin():
    ours = dict(block="b", label="x", mean=-3.0, low=-4.0, high=-2.0, n=3, word="better", printed=-3.24)
    rows = pd.DataFrame(
        [ours | dict(dataset="cifar10"), ours | dict(dataset="cifar100", word="worse", printed=math.nan)]
    )
    figure = gains.forest_figure(rows)
    assert figure.get_suptitle() == "b: CIFAR-10 better in 1 of 1, CIFAR-100 worse in 1 of 1"
    axis = figure.axes[0]
    drawn = {(x, line.get_markerfacecolor()) for line in axis.lines for x in np.atleast_1d(line.get_xdata())[:1]}
    assert (-3.24, "white") in drawn and (-3.0, gains.OURS) in drawn
    assert texts(axis) == ["b", "better, n = 3", "worse, n = 3"] and gains.forest_figure(rows[:0]) is None


def test_forest_keeps_the_rows_of_a_block_together_and_draws_every_block():
    row = dict(dataset="cifar10", label="x", mean=-3.0, low=-4.0, high=-2.0, n=3, word="better", printed=math.nan)
    rows = pd.DataFrame([row | dict(block=block, label=f"{block}{k}") for k, block in enumerate("abcdab")])
    axis = gains.forest_figure(rows).axes[0]
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["a0", "a4", "b1", "b5", "c2", "d3"]
    assert np.diff(axis.get_yticks()).round(1).tolist() == [1, 2.2, 1, 2.2, 2.2]  # with room for headings
    assert [t for t in texts(axis) if t in "abcd"] == list("abcd")
    assert len(axis.containers) == 4  # one set of intervals a block


def test_methods_are_drawn_as_changes_from_plain(profile):
    fields = [
        dict(),
        dict(beta=0.99),
        dict(beta=0.9999),
        dict(beta=0.9999, reweight_from=0.8),
        dict(loss="balanced_softmax"),
    ]
    runs = [record(40 - k, profile="paper", seed=s, **f) for s in (0, 1) for k, f in enumerate(fields)]
    runs += [record(60 - k, profile="paper", dataset="cifar100", seed=0, **f) for k, f in enumerate(fields)]
    axes = gains.methods_figure(profile(runs, "paper")).axes
    assert len(axes) == 2 and [x for x, _ in points(axes[0])] == [-1, -2, -3, -4]


def test_at_most_two_panels_and_titles_say_what_was_found(softmax):
    """Each beta is one point below the last; with the sign of the errors turned the titles say the opposite."""
    study = softmax["cpu"]
    turned = replace(study, records=study.records.assign(error=80 - study.records["error"]))
    draws = (heat_maps.measured_heat_map, training.curves_figure, training.class_change_figure)
    figures = [draw(profile, "cifar10") for profile in softmax.values() for draw in draws]
    figures += [training.drop_figure(study), heat_maps.published_heat_map("cifar20"), training.figure5()]
    panels = [[axis for axis in figure.axes if axis.get_label() != "<colorbar>"] for figure in figures]
    assert max(map(len, panels)) == 2
    titles = [training.curves_figure(profile, "cifar10").get_suptitle() for profile in (study, turned)]
    assert "-4.0 points" in titles[0] and "+4.0 points" in titles[1]
    ends = [training.drop_figure(profile).axes[0].get_title() for profile in (study, turned)]
    assert ends[0].endswith("higher") and ends[1].endswith("lower")
    assert "helps in 12 of 25" in heat_maps.published_heat_map("cifar20").axes[0].get_title()


def test_without_records_nothing_is_drawn(profile):
    empty = profile([])
    by_set = (training.curves_figure, training.betas_figure, training.class_change_figure, heat_maps.measured_heat_map)
    assert [draw(empty, "cifar10") for draw in by_set] == [None] * 4
    assert training.drop_figure(empty) is None and gains.methods_figure(empty) is None


@pytest.mark.parametrize(
    "runs",
    [
        [dict(imbalance_factor=1), dict(imbalance_factor=1, beta=0.9999)],
        [dict(imbalance_factor=50, beta=b) for b in (0.9, 0.99, 0.999)] + [dict(imbalance_factor=10)],
        [dict(loss="focal", gamma=3.0), dict(loss="focal", gamma=3.0, beta=0.9999)],
    ],
    ids=["balanced", "other betas", "another loss"],
)
def test_figures_of_other_grids_than_the_papers_do_not_fail(profile, runs):
    read = profile([record(40, **fields) for fields in runs])
    drawn = [training.class_change_figure(read, "cifar10"), training.curves_figure(read, "cifar10")]
    assert (drawn[0] is None) == (read.records["label"] != "focal 3.0").all() and drawn[1] is None


def test_no_figure_is_wider_than_a_page_and_the_longest_name_gives_the_caption():
    for figure in (training.figure5(), data_figures.class_counts_figure(), heat_maps.published_heat_map("cifar100")):
        assert figure.get_figwidth() <= style.WIDTH and style.WIDTH * matplotlib.rcParams["savefig.dpi"] <= 1000
    assert style.figure_caption("cpu_heat_map_cifar10") == style.CAPTIONS["heat_map"]
    assert style.figure_caption("unknown_thing") == "unknown thing"


def test_a_mean_curve_has_the_epochs_of_all_its_runs(tmp_path):
    """One run evaluated every second epoch and one every tenth: a mean of one run is no mean of two."""
    from matplotlib.figure import Figure

    curves = [
        [{"epoch": e, "error": float(e + k), "learning_rate": 0.1} for e in range(step, 21, step)]
        for k, step in enumerate((2, 10))
    ]
    axis = Figure().subplots()
    runs = pd.DataFrame({"curve": curves})
    training._curves(axis, {"plain": runs, "again": runs}, ("black", "grey"), "error", "two runs")
    assert axis.lines[0].get_xdata().tolist() == [10, 20]
    assert axis.lines[0].get_ydata().tolist() == [10.5, 20.5]
