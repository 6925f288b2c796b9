"""Error against beta (Figure 5), training curves (Figure 7 and ours), and the change of each class's error."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from replication.experiments.grids import BETAS
from replication.report.analysis import published as paper
from replication.report.analysis.ablations import changed
from replication.report.analysis.large_scale import BALANCED, COLUMNS, SPLIT, paper_runs
from replication.report.analysis.measured import CELL, fixed_beta
from replication.report.analysis.profile import Profile
from replication.report.analysis.statistics import summary
from replication.report.figures import style

PLAIN_COLOUR, BALANCED_COLOUR = style.BETA_COLOURS[0.0], style.BETA_COLOURS[0.9999]


def figure5() -> Figure:
    """Figure 5 as printed: error against beta at imbalance 50, CIFAR-10 and CIFAR-100; dashed: the plain loss."""
    figure, axes = style.panels(3.6, 2)
    for axis, dataset in zip(axes, paper.TABLE2_SETS, strict=True):
        cells = paper.heat_map(dataset).query("imbalance_factor == 50")
        errors = cells.pivot(index="beta", columns="label", values="error")
        title = f"{paper.TITLES[dataset]}, imbalance 50: lowest mean at {errors.drop(0.0).mean(axis=1).idxmin():g}"
        shown = errors[list(paper.FIGURE5_LOSSES)].rename(index="{:g}".format)  # betas as words, evenly spaced
        look: dict = dict(style="o-", color=style.LOSS_COLOURS, legend=False, xticks=range(len(BETAS) - 1))
        shown[1:].plot(ax=axis, title=title, ylabel="error (percent), dashed: plain", **look)
        for label, plain in shown.loc["0"].items():
            axis.axhline(plain, color=style.LOSS_COLOURS[label], linestyle="--")
    style.legend_below(figure, axis, 3)
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
        shown = {"the paper": printed.rename(columns={"difference": "mean"}).assign(high=np.nan)} | shown
    figure, axes = style.panels(3.9, len(shown), style.WIDTH if len(shown) == 2 else 6.4, sharey=True)
    for axis, (title, cells) in zip(axes, shown.items(), strict=True):
        axis.axhline(0, color="black", linewidth=0.8)
        for step, label in enumerate(paper.LABELS):
            rows = cells[cells["label"] == label].sort_values("beta")
            x = [BETAS.index(beta) + 0.05 * (step - 2) for beta in rows["beta"]]
            look: dict = dict(color=style.LOSS_COLOURS[label], marker="o", elinewidth=0.8, label=label)
            axis.errorbar(x, rows["mean"], rows["high"] - rows["mean"], **look)
        axis.set(title=title, xlabel="beta", xticks=range(1, len(BETAS)), xticklabels=BETAS[1:])
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


def _curves(axis, groups: dict[str, pd.DataFrame], colours: tuple[str, str], key: str, title: str) -> None:
    """Draw the mean over each group's runs against the epoch, and their range; dotted: the learning rate drops."""
    for (label, runs), colour, line in zip(groups.items(), colours, ("-", "--"), strict=True):
        every = pd.concat(map(pd.DataFrame, runs["curve"])).groupby("epoch")[key].agg(["mean", "min", "max", "count"])
        shown = every[every["count"] == len(runs)]  # epochs at which every run was evaluated
        axis.plot(shown["mean"], line, color=colour, label=f"{label} (n = {len(runs)})")
        axis.fill_between(shown.index, shown["min"], shown["max"], color=colour, alpha=0.2, linewidth=0)
    curve = pd.DataFrame(next(iter(groups.values()))["curve"].iloc[0])  # the rate drops at the same epochs in all
    for epoch in curve["epoch"][curve["learning_rate"].astype(float).pct_change() < -0.5]:
        axis.axvline(epoch, color="black", linewidth=0.6, linestyle=":")
    axis.set(xlabel="epoch", title=title)


def curves_figure(profile: Profile, dataset: str) -> Figure | None:
    """Draw test error and training loss over the epochs, softmax, plain and at the fixed beta; None without both."""
    runs = profile.finished.query("dataset == @dataset and label == 'softmax' and imbalance_factor > 1")
    factor, beta = most_measured(runs), fixed_beta(dataset)
    plain, balanced = (runs[(runs["imbalance_factor"] == factor) & (runs["beta"] == b)] for b in (0.0, beta))
    if plain.empty or balanced.empty:
        return None
    figure, axes = style.panels(3.6, 2)
    names = {"error": "test error (percent)", "training_loss": "training loss (weighted: its scales differ)"}
    for axis, (key, name) in zip(axes, names.items(), strict=True):
        groups = {"plain": plain, f"class-balanced, beta {beta:g}": balanced}
        _curves(axis, groups, (PLAIN_COLOUR, BALANCED_COLOUR), key, name)
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
    figure, axes = style.panels(3.7, len(groups), sharey=True)
    for axis, (cell, runs) in zip(axes, groups, strict=True):
        change = runs["error"].mean() - fast[cell]["error"].mean()
        dataset, label, beta, factor = cell
        name = f"{label}, {f'beta {beta:g}' if beta else 'plain'}"
        title = f"{name}: / 10 ends {abs(change):.1f} points {'higher' if change > 0 else 'lower'}"
        both = {"rate / 100, the paper's": fast[cell], "rate / 10": runs}
        _curves(axis, both, (BALANCED_COLOUR, style.LOSS_COLOURS["focal 2.0"]), "error", title)
        axis.legend()
    axes[0].set_ylabel("test error (percent)")
    figure.suptitle(f"{paper.TITLES[dataset]}, imbalance {factor:g}, {profile.title}")
    return figure


def class_change_figure(profile: Profile, dataset: str) -> Figure | None:
    """Draw the change of each class's error at the fixed beta, head to tail, paired by seed, with 95 % intervals."""
    rows = class_changes(profile, dataset)
    if len(rows) < style.POINTS:
        return None
    figure, (axis,) = style.panels(4.1, width=7.4)
    axis.axhline(0, color="black", linewidth=0.8)
    bars = rows["high"] - rows["mean"]  # NaN, and not drawn, for one seed
    axis.errorbar(rows.index, rows["mean"], bars, color=BALANCED_COLOUR, marker="o", markersize=3, elinewidth=0.7)
    if len(rows) <= 20:
        ticks = [f"{name} ({images:,})" for name, images in zip(rows["class_name"], rows["images"], strict=True)]
        axis.set_xticks(rows.index, ticks, rotation=45, ha="right", fontsize=8.5)
    large, small = (half.mean() for half in np.array_split(rows["mean"].to_numpy(), 2))
    found = f"Larger half of the classes {large:+z.1f} points, smaller half {small:+z.1f}"
    label, factor, n = rows["label"].iloc[0], rows["imbalance_factor"].iloc[0], rows["n"].max()
    cell = f"{paper.TITLES[dataset]}, imbalance {factor:g}, {label}, beta {fixed_beta(dataset):g}"
    axis.set(title=f"{found}\n{cell}, {profile.title}, n = {n}", xlabel="class, head to tail", ylabel=style.CHANGE)
    return figure


def class_changes(profile: Profile, dataset: str) -> pd.DataFrame:
    """Summarise each class's error at the fixed beta minus plain over seeds, at the imbalance with most runs."""
    runs = profile.finished.query("dataset == @dataset and imbalance_factor > 1")
    plain, balanced = (runs[runs["beta"] == beta] for beta in (0.0, fixed_beta(dataset)))
    keys = ["label", "imbalance_factor", "seed", "precision"]
    both = balanced.merge(plain[[*keys, "error_per_class"]], on=keys, suffixes=("", "_plain"))
    if both.empty:
        return both
    both = both[both["imbalance_factor"] == most_measured(both)]
    label = next(name for name in (*paper.LABELS, *both["label"]) if name in set(both["label"]))
    both = both[both["label"] == label]
    changes = np.stack(both["error_per_class"]) - np.stack(both["error_per_class_plain"])  # (seeds, classes)
    names, images, factor = both[["class_names", "class_counts", "imbalance_factor"]].iloc[0]
    rows = pd.DataFrame(map(summary, changes.T))
    return rows.assign(class_name=names, images=images, label=label, imbalance_factor=factor)


def figure7(records: pd.DataFrame) -> Figure | None:
    """Validation error over the epochs, softmax and CB focal, ResNet-50 at 224; dots: Table 3, where the paper ends.

    None without a run of ours: the paper prints the curves as a picture only.
    """
    if not len(paper_runs(records, "softmax")) and not len(paper_runs(records, BALANCED)):
        return None
    figure, axes = style.panels(3.6, 2)
    printed = paper.published("table3").query("net == 'ResNet-50' and input == 224").set_index("loss")
    for axis, dataset in zip(axes, ("ilsvrc2012", "inat2018"), strict=True):
        for label, row in (("softmax", "Softmax"), (BALANCED, "CB Focal")):
            colour, name = style.LOSS_COLOURS[label], "softmax" if label == "softmax" else "CB focal (0.999, 0.5)"
            axis.plot([90], [printed.loc[row, f"{COLUMNS[dataset]}_top1"]], "o", color=colour, label=f"{name}, paper")
            runs = paper_runs(records, label).query("dataset == @dataset and depth == 50")
            for curve in map(pd.DataFrame, runs["curve"]):
                axis.plot(curve["epoch"], curve["error"], color=colour)
        axis.vlines((30, SPLIT, 80), 0, 1, "black", ":", transform=axis.get_xaxis_transform(), linewidth=0.6)
        axis.set(title=f"{paper.TITLES[dataset]}, ResNet-50", xlabel="epoch", xlim=(0, 93), ylim=(15, 75))
    axes[0].set_ylabel("top-1 error (percent)")
    style.legend_below(figure, axis, 2)
    return figure
