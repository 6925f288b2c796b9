"""Error against beta (Figure 5), training curves with their band over seeds, and the change of each class's error."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from replication.experiments.grids import BETAS
from replication.report.analysis import published as paper
from replication.report.analysis.ablations import changed
from replication.report.analysis.measured import fixed_beta
from replication.report.analysis.profile import Profile
from replication.report.analysis.statistics import summary
from replication.report.figures.style import BETA_COLOURS, LOSS_COLOURS, POINTS, PUBLISHED_COLOUR, WIDTH

PLAIN, BALANCED = BETA_COLOURS[0.0], BETA_COLOURS[0.9999]
CHANGE = "change in error, points (minus is better)"


def figure5() -> Figure:
    """Figure 5 as printed: error against beta at imbalance 50, CIFAR-10 and CIFAR-100; dashed: the plain loss."""
    figure = Figure(figsize=(WIDTH, 3.6))
    for axis, dataset in zip(figure.subplots(1, 2), paper.TABLE2_SETS, strict=True):
        cells = paper.heat_map(dataset).query("imbalance_factor == 50")
        for label in paper.FIGURE5_LOSSES:
            errors = cells[cells["label"] == label].set_index("beta")["error"]
            axis.axhline(errors[0.0], color=LOSS_COLOURS[label], linestyle="--", linewidth=1)
            axis.plot(errors[list(BETAS[1:])].to_numpy(), "o-", color=LOSS_COLOURS[label], markersize=4, label=label)
        best = cells[cells["beta"] > 0].groupby("beta")["error"].mean().idxmin()
        title = f"{paper.TITLES[dataset]}, imbalance 50: lowest on average at {best:g}"
        axis.set(title=title, xlabel="beta")
        axis.title.set_fontsize(10)
        axis.set_xticks(range(len(BETAS) - 1), [f"{beta:g}" for beta in BETAS[1:]])
    figure.axes[0].set_ylabel("error (percent)")
    axis.plot([], [], "--", color=PUBLISHED_COLOUR, label="dashed: plain loss")
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def betas_figure(profile: Profile, dataset: str) -> Figure | None:
    """Draw the change in error against beta at the imbalance factor with most cells; None below POINTS cells.

    At full protocol the paper's numbers are drawn at the left; the short study is not comparable with them.
    """
    known = profile.paired_cells.query("dataset == @dataset and imbalance_factor > 1 and beta in @BETAS")
    factor = most_measured(known)
    ours = known[known["imbalance_factor"] == factor]
    if len(ours) < POINTS or ours["beta"].nunique() < 3:
        return None
    panels = [(f"{profile.title}, n = {_span(ours['n'])}", ours)]
    if profile.name == "paper" and dataset in paper.HEAT_MAPS:
        printed = paper.difference_to_plain(paper.heat_map(dataset)).query("imbalance_factor == @factor")
        panels.insert(0, ("the paper", printed.rename(columns={"difference": "mean"})))
    figure = Figure(figsize=(WIDTH if len(panels) == 2 else 6.4, 3.9))
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axis, (title, cells) in zip(axes, panels, strict=True):
        axis.axhline(0, color="black", linewidth=0.8)
        for step, label in enumerate(paper.LABELS):
            rows = cells[cells["label"] == label].sort_values("beta")
            x = [BETAS.index(beta) + 0.05 * (step - 2) for beta in rows["beta"]]
            bars = rows["high"] - rows["mean"] if "high" in rows else None
            style: dict = dict(color=LOSS_COLOURS[label], marker="o", markersize=4, linewidth=1.2, elinewidth=0.8)
            axis.errorbar(x, rows["mean"], yerr=bars, label=label, **style)
        axis.set_xticks(range(1, len(BETAS)), [f"{beta:g}" for beta in BETAS[1:]])
        axis.set(title=title, xlabel="beta")
    axes[0].set_ylabel(CHANGE)
    figure.suptitle(f"{paper.TITLES[dataset]}, imbalance {factor:g}: {_lowest_at(ours)}")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


def _lowest_at(cells: pd.DataFrame) -> str:
    best = cells.loc[cells.groupby("label")["mean"].idxmin(), "beta"]
    return f"lowest error at {best.mode()[0]:g} for {int((best == best.mode()[0]).sum())} of {len(best)} losses"


def _span(values) -> str:
    return "-".join(f"{n:.0f}" for n in sorted({min(values), max(values)}))


def most_measured(rows: pd.DataFrame, wish: float = 100.0) -> float:
    """Return the imbalance factor above 1 with most rows; `wish` if it has as many."""
    counts = rows.loc[rows["imbalance_factor"] > 1, "imbalance_factor"].value_counts()
    if not len(counts) or counts.get(wish, 0) == counts.max():
        return wish
    return float(counts[counts == counts.max()].index.max())


def _band(axis, runs: pd.DataFrame, key: str, colour, label: str, style: str = "-") -> None:
    curves = [pd.DataFrame(curve).set_index("epoch")[key] for curve in runs["curve"] if len(curve)]
    if not curves:
        return
    wide = pd.concat(curves, axis=1, join="inner").astype(float)  # epochs at which every run was evaluated
    axis.plot(wide.index, wide.mean(axis=1), style, color=colour, label=f"{label} (n = {len(curves)})")
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
    here = runs[runs["imbalance_factor"] == factor]
    lines = [
        (here[here["beta"] == b], colour, text)
        for b, colour, text in ((0.0, PLAIN, "plain"), (beta, BALANCED, f"class-balanced, beta {beta:g}"))
    ]
    if not all(len(group) for group, *_ in lines):
        return None
    figure = Figure(figsize=(WIDTH, 3.6))
    panels = {"error": "test error (percent)", "training_loss": "training loss"}
    for axis, (key, name) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        for group, colour, text in lines:
            _band(axis, group, key, colour, text)
        _mark_drops(axis, lines[0][0])
        axis.set(xlabel="epoch", title=name)
    axis.set(ylim=(0, None), title="training loss (weighted: its scales differ)")
    last = lines[1][0]["error"].mean() - lines[0][0]["error"].mean()
    study = f"{paper.TITLES[dataset]}, imbalance {factor:g}, {profile.title}"
    figure.suptitle(f"{study}: {last:+z.1f} points at the end; dotted: rate drops")
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def drop_figure(profile: Profile) -> Figure | None:
    """Draw claim P1: test error with the learning rate divided by 100 (the paper) and by 10; None without runs."""
    slow = changed(profile.records).query("switch == 'drop_factor' and value == '0.1' and status == 'finished'")
    groups = list(slow.groupby(["dataset", "label", "imbalance_factor", "beta"]))[:2]
    if not groups:
        return None
    figure = Figure(figsize=(WIDTH, 3.7))
    axes = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    keys = ["dataset", "label", "imbalance_factor", "beta"]
    for axis, (key, runs) in zip(axes, groups, strict=True):
        same = profile.finished[(profile.finished[keys] == list(key)).all(axis=1)]
        _band(axis, same, "error", BALANCED, "rate / 100, the paper's")
        _band(axis, runs, "error", LOSS_COLOURS["focal 2.0"], "rate / 10", "--")
        _mark_drops(axis, runs)
        change = runs["error"].mean() - same["error"].mean()
        dataset, label, factor, beta = key
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
    if len(rows) < POINTS:
        return None
    few = len(rows) <= 20
    figure = Figure(figsize=(7.4, 3.9))
    axis = figure.subplots()
    axis.axhline(0, color="black", linewidth=0.8)
    bars = None if rows["n"].max() < 2 else (rows["mean"] - rows["low"], rows["high"] - rows["mean"])
    style: dict = dict(markersize=5, elinewidth=0.9) if few else dict(markersize=2.5, elinewidth=0.4)
    axis.errorbar(rows["class_index"], rows["mean"], yerr=bars, color=BALANCED, marker="o", linewidth=1.2, **style)
    if few:
        ticks = [f"{name} ({images:,})" for name, images in zip(rows["class_name"], rows["images"], strict=True)]
        axis.set_xticks(rows["class_index"], ticks, rotation=45, ha="right", fontsize=8.5)
    else:
        axis.set_xlabel("class, head to tail")
    halves = rows["mean"].to_numpy()[: len(rows) // 2].mean(), rows["mean"].to_numpy()[len(rows) // 2 :].mean()
    label, factor, n = rows["label"].iloc[0], rows["imbalance_factor"].iloc[0], rows["n"].max()
    axis.set_ylabel("change in error, points\n(minus is better)")
    axis.set_title(
        f"Larger half of the classes {halves[0]:+z.1f} points, smaller half {halves[1]:+z.1f}\n"
        f"{paper.TITLES[dataset]}, imbalance {factor:g}, {label}, beta {fixed_beta(dataset):g}, "
        f"{profile.title}, n = {n}",
        fontsize=10,
    )
    return figure


def class_changes(profile: Profile, dataset: str) -> pd.DataFrame:
    """Summarise each class's error at the fixed beta minus plain over seeds, at the imbalance with most runs."""
    runs = profile.finished.query("dataset == @dataset and imbalance_factor > 1")
    runs = runs[runs["beta"].isin((0.0, fixed_beta(dataset)))]
    keys = ["label", "imbalance_factor", "seed", "precision"]
    both = runs.assign(beta=runs["beta"] > 0).pivot_table(
        index=keys, columns="beta", values="error_per_class", aggfunc="first"
    )
    both = both.dropna().reset_index() if both.shape[1] == 2 else both.iloc[:0].reset_index()
    if not len(both):
        return pd.DataFrame()
    factor = most_measured(both)
    both = both[both["imbalance_factor"] == factor]
    label = next((name for name in paper.LABELS if name in set(both["label"])), both["label"].iloc[0])
    both = both[both["label"] == label]
    changes = np.array(both[True].tolist()) - np.array(both[False].tolist())  # (seeds, classes)
    one = runs[(runs["label"] == label) & (runs["imbalance_factor"] == factor)].iloc[0]
    rows = [summary(column)._asdict() for column in changes.T]
    return pd.DataFrame(rows).assign(
        class_index=range(len(rows)), class_name=one["class_names"], images=one["class_counts"],
        label=label, imbalance_factor=factor,
    )  # fmt: skip
