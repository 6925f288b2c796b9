"""Error against beta (Figure 5), training curves (Figure 7 and ours), and the change of each class's error."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from replication.experiments.grids import BETAS
from replication.report.analysis import published as paper
from replication.report.analysis.ablations import changed
from replication.report.analysis.large_scale import BALANCED as CB_FOCAL
from replication.report.analysis.large_scale import COLUMNS, SPLIT, paper_runs
from replication.report.analysis.measured import CELL, fixed_beta
from replication.report.analysis.profile import Profile
from replication.report.analysis.statistics import summary
from replication.report.figures import style
from replication.report.figures.style import BETA_COLOURS, LOSS_COLOURS, panels

PLAIN, BALANCED = BETA_COLOURS[0.0], BETA_COLOURS[0.9999]
BETA_TICKS = [f"{beta:g}" for beta in BETAS[1:]]


def figure5() -> Figure:
    """Figure 5 as printed: error against beta at imbalance 50, CIFAR-10 and CIFAR-100; dashed: the plain loss."""
    figure, axes = panels(3.6, 2)
    for axis, dataset in zip(axes, paper.TABLE2_SETS, strict=True):
        cells = paper.heat_map(dataset).query("imbalance_factor == 50")
        for label in paper.FIGURE5_LOSSES:
            errors = cells[cells["label"] == label].set_index("beta")["error"]
            axis.axhline(errors[0.0], color=LOSS_COLOURS[label], linestyle="--", linewidth=1)
            axis.plot(errors[list(BETAS[1:])].to_numpy(), "o-", color=LOSS_COLOURS[label], markersize=4, label=label)
        best = cells[cells["beta"] > 0].groupby("beta")["error"].mean().idxmin()
        axis.set_title(f"{paper.TITLES[dataset]}, imbalance 50: lowest on average at {best:g}", fontsize=10)
        axis.set_xlabel("beta")
        axis.set_xticks(range(len(BETA_TICKS)), BETA_TICKS)
    axes[0].set_ylabel("error (percent)")
    axis.plot([], [], "--", color=style.PUBLISHED_COLOUR, label="dashed: plain loss")
    style.legend_below(figure, axis, 4)
    return figure


def betas_figure(profile: Profile, dataset: str) -> Figure | None:
    """Draw the change in error against beta at the imbalance factor with most cells; None below style.POINTS cells.

    At full protocol the paper's numbers are drawn at the left; the short study is not comparable with them.
    """
    known = profile.paired_cells.query("dataset == @dataset and imbalance_factor > 1 and beta in @BETAS")
    factor = most_measured(known)
    ours = known[known["imbalance_factor"] == factor]
    if len(ours) < style.POINTS or ours["beta"].nunique() < 3:
        return None
    seeds = "-".join(map(str, sorted({ours["n"].min(), ours["n"].max()})))
    shown = {f"{profile.title}, n = {seeds}": ours}
    if profile.comparable and dataset in paper.HEAT_MAPS:
        printed = paper.difference_to_plain(paper.heat_map(dataset)).query("imbalance_factor == @factor")
        shown = {"the paper": printed.rename(columns={"difference": "mean"})} | shown
    figure, axes = panels(3.9, len(shown), style.WIDTH if len(shown) == 2 else 6.4, sharey=True)
    for axis, (title, cells) in zip(axes, shown.items(), strict=True):
        axis.axhline(0, color="black", linewidth=0.8)
        for step, label in enumerate(paper.LABELS):
            rows = cells[cells["label"] == label].sort_values("beta")
            x = [BETAS.index(beta) + 0.05 * (step - 2) for beta in rows["beta"]]
            bars = rows["high"] - rows["mean"] if "high" in rows else None
            marks: dict = dict(color=LOSS_COLOURS[label], marker="o", markersize=4, linewidth=1.2, elinewidth=0.8)
            axis.errorbar(x, rows["mean"], yerr=bars, label=label, **marks)
        axis.set_xticks(range(1, len(BETAS)), BETA_TICKS)
        axis.set(title=title, xlabel="beta")
    axes[0].set_ylabel(style.CHANGE)
    lowest = ours.loc[ours.groupby("label")["mean"].idxmin(), "beta"]
    best = lowest.mode()[0]
    found = f"lowest error at {best:g} for {(lowest == best).sum()} of {len(lowest)} losses"
    figure.suptitle(f"{paper.TITLES[dataset]}, imbalance {factor:g}: {found}")
    style.legend_below(figure, axes[0], 5)
    return figure


def most_measured(rows: pd.DataFrame) -> float:
    """Return the imbalance factor with most rows: 100 if no other has more, else the largest of them."""
    most = set(rows["imbalance_factor"].mode())
    return 100.0 if not most or 100.0 in most else max(most)


def _band(axis, runs: pd.DataFrame, key: str, colour, label: str, line: str = "-") -> None:
    """Draw the mean over runs against the epoch, and a band from the lowest run to the highest."""
    curves = [pd.DataFrame(curve).set_index("epoch")[key] for curve in runs["curve"]]
    wide = pd.concat(curves, axis=1, join="inner").astype(float)  # epochs at which every run was evaluated
    axis.plot(wide.index, wide.mean(axis=1), line, color=colour, label=f"{label} (n = {len(curves)})")
    if len(curves) > 1:
        axis.fill_between(wide.index, wide.min(axis=1), wide.max(axis=1), color=colour, alpha=0.2, linewidth=0)


def _mark_drops(axis, runs: pd.DataFrame) -> None:
    """Draw dotted lines where the learning rate drops, read from the first curve."""
    curve = pd.DataFrame(runs["curve"].iloc[0])
    rate = curve["learning_rate"].to_numpy(float)
    for epoch in curve["epoch"].to_numpy()[1:][rate[1:] < 0.5 * rate[:-1]]:
        axis.axvline(epoch, color="black", linewidth=0.6, linestyle=":")


def curves_figure(profile: Profile, dataset: str) -> Figure | None:
    """Draw test error and training loss over the epochs, softmax, plain and at the fixed beta; None without both."""
    runs = profile.finished.query("dataset == @dataset and label == 'softmax' and imbalance_factor > 1")
    factor, beta = most_measured(runs), fixed_beta(dataset)
    plain, balanced = (runs[(runs["imbalance_factor"] == factor) & (runs["beta"] == b)] for b in (0.0, beta))
    if plain.empty or balanced.empty:
        return None
    figure, axes = panels(3.6, 2)
    names = {"error": "test error (percent)", "training_loss": "training loss (weighted: its scales differ)"}
    for axis, (key, name) in zip(axes, names.items(), strict=True):
        _band(axis, plain, key, PLAIN, "plain")
        _band(axis, balanced, key, BALANCED, f"class-balanced, beta {beta:g}")
        _mark_drops(axis, plain)
        axis.set(xlabel="epoch", title=name)
    axis.set_ylim(0, None)
    change = balanced["error"].mean() - plain["error"].mean()
    study = f"{paper.TITLES[dataset]}, imbalance {factor:g}, {profile.title}"
    figure.suptitle(f"{study}: {change:+z.1f} points at the end; dotted: rate drops")
    style.legend_below(figure, axis, 2)
    return figure


def drop_figure(profile: Profile) -> Figure | None:
    """Draw claim P1: test error with the learning rate divided by 100 (the paper) and by 10; None without both."""
    slow = changed(profile.records).query("switch == 'drop_factor' and value == '0.1' and status == 'finished'")
    fast = dict(list(profile.finished.groupby(CELL)))
    groups = [(cell, runs) for cell, runs in slow.groupby(CELL) if cell in fast][:2]
    if not groups:
        return None
    figure, axes = panels(3.7, len(groups), sharey=True)
    for axis, (cell, runs) in zip(axes, groups, strict=True):
        _band(axis, fast[cell], "error", BALANCED, "rate / 100, the paper's")
        _band(axis, runs, "error", LOSS_COLOURS["focal 2.0"], "rate / 10", "--")
        _mark_drops(axis, runs)
        change = runs["error"].mean() - fast[cell]["error"].mean()
        dataset, label, beta, factor = cell
        name = f"{label}, {f'beta {beta:g}' if beta else 'plain'}"
        axis.set_title(f"{name}: / 10 ends {abs(change):.1f} points {'higher' if change > 0 else 'lower'}", fontsize=10)
        axis.set_xlabel("epoch")
        axis.legend(fontsize=8)
    axes[0].set_ylabel("test error (percent)")
    figure.suptitle(f"{paper.TITLES[dataset]}, imbalance {factor:g}, {profile.title}")
    return figure


def class_change_figure(profile: Profile, dataset: str) -> Figure | None:
    """Draw the change of each class's error at the fixed beta, head to tail, paired by seed, with 95 % intervals."""
    rows = class_changes(profile, dataset)
    if len(rows) < style.POINTS:
        return None
    figure, (axis,) = panels(3.9, width=7.4)
    axis.axhline(0, color="black", linewidth=0.8)
    few = len(rows) <= 20
    marks: dict = dict(markersize=5, elinewidth=0.9) if few else dict(markersize=2.5, elinewidth=0.4)
    bars = rows["high"] - rows["mean"]  # NaN, and not drawn, for one seed
    axis.errorbar(rows["class_index"], rows["mean"], yerr=bars, color=BALANCED, marker="o", linewidth=1.2, **marks)
    if few:
        ticks = [f"{name} ({images:,})" for name, images in zip(rows["class_name"], rows["images"], strict=True)]
        axis.set_xticks(rows["class_index"], ticks, rotation=45, ha="right", fontsize=8.5)
    else:
        axis.set_xlabel("class, head to tail")
    axis.set_ylabel("change in error, points\n(minus is better)")
    large, small = (half.mean() for half in (rows["mean"][: len(rows) // 2], rows["mean"][len(rows) // 2 :]))
    label, factor, n = rows["label"].iloc[0], rows["imbalance_factor"].iloc[0], rows["n"].max()
    axis.set_title(
        f"Larger half of the classes {large:+z.1f} points, smaller half {small:+z.1f}\n"
        f"{paper.TITLES[dataset]}, imbalance {factor:g}, {label}, beta {fixed_beta(dataset):g}, "
        f"{profile.title}, n = {n}",
        fontsize=10,
    )
    return figure


def class_changes(profile: Profile, dataset: str) -> pd.DataFrame:
    """Summarise each class's error at the fixed beta minus plain over seeds, at the imbalance with most runs."""
    runs = profile.finished.query("dataset == @dataset and imbalance_factor > 1")
    plain, balanced = (runs[runs["beta"] == beta] for beta in (0.0, fixed_beta(dataset)))
    keys = ["label", "imbalance_factor", "seed", "precision"]
    both = balanced.merge(plain[[*keys, "error_per_class"]], on=keys, suffixes=("", "_plain"))
    if both.empty:
        return both
    factor = most_measured(both)
    both = both[both["imbalance_factor"] == factor]
    label = next(name for name in (*paper.LABELS, *both["label"]) if name in set(both["label"]))
    both = both[both["label"] == label]
    changes = np.stack(both["error_per_class"]) - np.stack(both["error_per_class_plain"])  # (seeds, classes)
    rows = pd.DataFrame([summary(column)._asdict() for column in changes.T])
    names, images = both[["class_names", "class_counts"]].iloc[0]
    return rows.assign(
        class_index=range(len(rows)), class_name=names, images=images, label=label, imbalance_factor=factor
    )


def figure7(records: pd.DataFrame) -> Figure | None:
    """Validation error over the epochs, softmax and CB focal, ResNet-50 at 224; dots: Table 3, where the paper ends.

    None without a run of ours: the paper prints the curves as a picture only.
    """
    if not len(paper_runs(records, "softmax")) and not len(paper_runs(records, CB_FOCAL)):
        return None
    figure, axes = panels(3.6, 2)
    printed = paper.published("table3").query("net == 'ResNet-50' and input == 224").set_index("loss")
    for axis, dataset in zip(axes, ("ilsvrc2012", "inat2018"), strict=True):
        for label, row in (("softmax", "Softmax"), (CB_FOCAL, "CB Focal")):
            colour, name = LOSS_COLOURS[label], "softmax" if label == "softmax" else "CB focal (0.999, 0.5)"
            axis.plot([90], [printed.loc[row, f"{COLUMNS[dataset]}_top1"]], "o", color=colour, label=f"{name}, paper")
            runs = paper_runs(records, label).query("dataset == @dataset and depth == 50")
            for curve in map(pd.DataFrame, runs["curve"]):
                axis.plot(curve["epoch"], curve["error"], color=colour, linewidth=1)
        for epoch in (30, SPLIT, 80):
            axis.axvline(epoch, color="black", linewidth=0.6, linestyle=":")
        axis.set(title=f"{paper.TITLES[dataset]}, ResNet-50", xlabel="epoch", xlim=(0, 93), ylim=(15, 75))
    axes[0].set_ylabel("top-1 error (percent)")
    style.legend_below(figure, axis, 2)
    return figure
