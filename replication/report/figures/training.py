"""Figure 5, training curves with their band over seeds, error per class, and the gain against imbalance."""

import math
from itertools import zip_longest

import pandas as pd
from matplotlib.figure import Figure

from replication.experiments.grids import BETAS
from replication.report.analysis import published as paper
from replication.report.analysis.ablations import changed
from replication.report.analysis.measured import (
    cells,
    complete,
    enough,
    finished,
    fixed_beta,
    of_one_precision,
    paired_cells,
    per_class,
    reference,
    settings_by_seeds,
)
from replication.report.analysis.statistics import summary
from replication.report.figures.style import BETA_COLOURS, LOSS_COLOURS, PUBLISHED_COLOUR

PLAIN, BALANCED = BETA_COLOURS[0.0], BETA_COLOURS[0.9999]
HOLLOW = dict(marker="o", markersize=5, linestyle="none", markerfacecolor="white")  # what has fewer seeds than the rest


def _panels(count: int, width: float = 4.2, height: float = 3.7, rows: int = 1, **options):
    figure = Figure(figsize=(width * max(count, 1), height * rows))
    return figure, figure.subplots(rows, max(count, 1), squeeze=False, **options)


def busiest(records: pd.DataFrame, dataset: str, wish: float) -> float:
    """The imbalance factor above 1 with most measured cells, `wish` if it has as many."""
    return _most(cells(records).query("dataset == @dataset and imbalance_factor > 1 and n > 0"), wish)


def _most(rows: pd.DataFrame, wish: float) -> float:
    """The imbalance factor of most rows, above 1 if there are such, `wish` if it has as many."""
    long_tailed = rows[rows["imbalance_factor"] > 1]
    counts = (long_tailed if len(long_tailed) else rows)["imbalance_factor"].value_counts()
    if not len(counts) or counts.get(wish, 0) == counts.max():
        return wish
    return float(counts[counts == counts.max()].index.max())


def figure5(records: pd.DataFrame | None, profile: str | None = None) -> Figure:
    """Error against beta, the plain loss dashed: the paper at imbalance 50, and the same from records.

    Where our records know another imbalance factor better, the paper's numbers at that one stand beside them.
    Ours: for each loss the betas that have enough seeds, over the seeds that all of them have (their number is in the
    title), so that a line compares like with like.  Bars: 95 % t-interval.
    """
    panels = [("paper", d, 50.0, paper.heat_map(d).rename(columns={"error": "mean"})) for d in ("cifar10", "cifar100")]
    ours = cells(records) if records is not None else pd.DataFrame(columns=["dataset"])
    for dataset in sorted(set(ours["dataset"])):
        factor = busiest(records, dataset, 50.0)
        if factor != 50.0 and dataset in paper.HEAT_MAPS:
            panels.append(("paper", dataset, factor, paper.heat_map(dataset).rename(columns={"error": "mean"})))
        mine = _like_with_like(records, dataset, factor)
        seeds = "-".join(f"{n}" for n in sorted({mine["n"].min(), mine["n"].max()})) if len(mine) else "0"
        panels.append((f"profile {profile}, n = {seeds}", dataset, factor, mine))
    figure, axes = _panels(len(panels), 3.6, 3.7)
    for axis, (source, dataset, factor, frame) in zip(axes[0], panels, strict=True):
        here = frame[(frame["dataset"] == dataset) & (frame["imbalance_factor"] == factor)]
        for step, label in enumerate(paper.FIGURE5_LOSSES):
            shift = 0.07 * (step - 1) if source != "paper" else 0.0  # bars side by side
            _against_beta(axis, here[here["label"] == label], LOSS_COLOURS[label], label, shift)
        axis.set_xticks(range(1, len(BETAS)), [f"{b:g}" for b in BETAS[1:]])
        axis.set(title=f"{paper.TITLES[dataset]}, imbalance {factor:g}\n({source})", xlabel="beta")
    axes[0][0].set_ylabel("error (percent)")
    axes[0][0].plot([], [], "--", color=PUBLISHED_COLOUR, label="dashed: plain loss")
    axes[0][0].legend(fontsize=8)
    return figure


def _like_with_like(records: pd.DataFrame, dataset: str, factor: float) -> pd.DataFrame:
    """Cells of the losses of Figure 5, those of a loss over one set of seeds."""
    runs = finished(of_one_precision(records)).query("dataset == @dataset and imbalance_factor == @factor")
    rows = [
        {"dataset": dataset, "imbalance_factor": factor, "label": label, "beta": beta} | summary(errors)._asdict()
        for label in paper.FIGURE5_LOSSES
        for beta, errors in complete(
            settings_by_seeds(runs[runs["label"] == label].set_index(["beta", "seed"])["error"])
        ).iterrows()
    ]
    return pd.DataFrame(rows, columns=["dataset", "imbalance_factor", "label", "beta", "mean", "high", "n"])


def _against_beta(axis, cells_of_a_loss: pd.DataFrame, colour: str, label: str, shift: float) -> None:
    by_beta = {row["beta"]: row for row in cells_of_a_loss.to_dict("records")}
    if 0.0 in by_beta:
        axis.axhline(by_beta[0.0]["mean"], color=colour, linestyle="--", linewidth=1)
    known = [i for i, beta in enumerate(BETAS) if i and beta in by_beta]
    means = [by_beta[BETAS[i]]["mean"] for i in known]
    half = [_half(by_beta[BETAS[i]]) for i in known]
    axis.errorbar(
        [i + shift for i in known], means, yerr=half, color=colour, marker="o", markersize=4, capsize=2, label=label
    )


def _half(row: dict) -> float:
    high = row.get("high", math.nan)
    return high - row["mean"] if math.isfinite(high) else 0.0


def _band(axis, runs: pd.DataFrame, key: str, colour, label: str, style: str = "-") -> None:
    curves = [pd.DataFrame(curve).set_index("epoch")[key] for curve in runs["curve"] if len(curve)]
    if not curves:
        return
    wide = pd.concat(curves, axis=1).astype(float)
    axis.plot(wide.index, wide.mean(axis=1), style, color=colour, label=f"{label} (n = {len(curves)})")
    if len(curves) > 1:
        axis.fill_between(wide.index, wide.min(axis=1), wide.max(axis=1), color=colour, alpha=0.2, linewidth=0)


def _rows_of_curves(panels, profile: str | None) -> Figure:
    """`panels`: (title, [(runs, colour, label, style)]); test error above, training loss below."""
    figure, axes = _panels(len(panels), 3.9, 3.0, rows=2, sharex="col")
    for column, (title, lines) in enumerate(panels):
        for row, (key, name) in enumerate((("error", "test error (percent)"), ("training_loss", "training loss"))):
            for runs, colour, label, style in lines:
                _band(axes[row][column], runs, key, colour, label, style)
            axes[row][column].set_ylabel(name if not column else "")
        axes[1][column].set(xlabel="epoch", ylim=(0, None))
        axes[0][column].set_title(title)
        axes[0][column].legend(fontsize=8)
    figure.suptitle(f"profile {profile}; line: mean over seeds, band: lowest to highest", fontsize=9)
    return figure


def curves_figure(records: pd.DataFrame, profile: str | None = None) -> Figure | None:
    """Test error and training loss over the epochs, plain against the fixed beta; None without a finished run."""
    done = finished(reference(records))
    if not len(done):
        return None
    dataset = done["dataset"].mode()[0]
    factor = busiest(records, dataset, 100.0)
    here = done.query("dataset == @dataset and imbalance_factor == @factor")
    beta = fixed_beta(dataset)
    panels = []
    for label in ("softmax", "sigmoid", "focal 1.0"):
        runs = here[here["label"] == label]
        lines = [
            (runs[runs["beta"] == b], c, t, "-")
            for b, c, t in ((0.0, PLAIN, "plain"), (beta, BALANCED, f"beta {beta:g}"))
        ]
        if any(len(line[0]) for line in lines):
            panels.append((f"{paper.TITLES[dataset]}, imbalance {factor:g}\n{label}", lines))
    return _rows_of_curves(panels, profile) if panels else None


def drop_figure(records: pd.DataFrame, profile: str | None = None) -> Figure | None:
    """Claim P1: curves with the learning rate dropped by 0.01 and by 0.1; None without runs at 0.1."""
    slow = changed(records).query("switch == 'drop_factor' and value == '0.1'")
    base = finished(reference(records))
    panels = []
    for (dataset, label, factor, beta), runs in finished(slow).groupby(
        ["dataset", "label", "imbalance_factor", "beta"]
    ):
        same = base.query("dataset == @dataset and label == @label and imbalance_factor == @factor and beta == @beta")
        title = f"{paper.TITLES[dataset]}, imbalance {factor:g}\n{label}, " + (f"beta {beta:g}" if beta else "plain")
        colour = BALANCED if beta else PLAIN
        panels.append((title, [(same, colour, "drop 0.01", "-"), (runs, PUBLISHED_COLOUR, "drop 0.1", "--")]))
    return _rows_of_curves(panels, profile) if panels else None


def per_class_figure(records: pd.DataFrame, profile: str | None = None) -> Figure | None:
    """Error of each class, head to tail, plain against the fixed beta, one panel per loss; None without such runs."""
    data = per_class(records)
    data = data[data["label"].isin(paper.LABELS)]
    if not len(data):
        return None
    dataset = data["dataset"].mode()[0]
    factor = _most(data[data["dataset"] == dataset], 100.0)
    here = data.query("dataset == @dataset and imbalance_factor == @factor")
    labels = [label for label in paper.LABELS if label in set(here["label"])]
    columns = min(3, len(labels))
    figure, axes = _panels(columns, 4.0, 3.9, rows=math.ceil(len(labels) / columns), sharey=True)
    for axis, label in zip_longest(axes.flat, labels):
        if label is None:
            axis.remove()
            continue
        draw_per_class(axis, here[here["label"] == label], fixed_beta(dataset))
        axis.set_title(f"{paper.TITLES[dataset]}, imbalance {factor:g}\n{label} (profile {profile})")
    for axis in axes[:, 0]:
        axis.set_ylabel("error (percent)")
    axes[0][0].legend()
    return figure


def draw_per_class(axis, rows: pd.DataFrame, beta: float) -> None:
    """Points with 95 % intervals, cut to 0 to 100, on `axis`; classes named with their number of training images."""
    for b, colour, text, shift in (
        (0.0, PLAIN, "plain", -0.12),
        (beta, BALANCED, f"class-balanced, beta {beta:g}", 0.12),
    ):
        one = rows[rows["beta"] == b]
        low, high = (one[end].fillna(one["mean"]) for end in ("low", "high"))
        axis.errorbar(
            one["class_index"] + shift,
            one["mean"],
            yerr=(one["mean"] - low, high - one["mean"]),
            color=colour,
            marker="o",
            markersize=4,
            capsize=2,
            label=text,
        )
    names = rows.drop_duplicates("class_index").sort_values("class_index")
    ticks = [f"{n} ({c})" for n, c in zip(names["class_name"], names["images"], strict=True)]
    axis.set_xticks(names["class_index"], ticks, rotation=60, ha="right", fontsize=8)
    axis.set_ylim(bottom=0)


def draw_gain(axis, records: pd.DataFrame | None, dataset: str) -> None:
    """Class-balanced minus plain at the fixed beta against imbalance: paper (dotted) and ours with 95 % intervals."""
    beta = fixed_beta(dataset)
    factors: list[float] = []
    if dataset in paper.HEAT_MAPS:
        printed = paper.difference_to_plain(paper.heat_map(dataset)).query("beta == @beta")
        factors = sorted(set(printed["imbalance_factor"]))
        for label in paper.LABELS:
            one = printed[printed["label"] == label].sort_values("imbalance_factor")
            style = dict(marker=".", color=LOSS_COLOURS[label], alpha=0.6, linewidth=1)
            axis.plot(one["imbalance_factor"], one["difference"], ":", **style)
    ours = pd.DataFrame()
    if records is not None:
        ours = paired_cells(records).query("dataset == @dataset and beta == @beta and imbalance_factor > 1")
    ours = ours.assign(enough=enough(ours["n"])) if len(ours) else ours
    for step, label in enumerate(paper.LABELS):
        axis.plot([], [], marker="o", markersize=5, color=LOSS_COLOURS[label], label=label)
        one = ours[ours["label"] == label].sort_values("imbalance_factor") if len(ours) else ours
        if len(one):
            shifted = one["imbalance_factor"] * 1.03 ** (step - 2)
            half = (one["high"] - one["mean"]).to_numpy(float)  # NaN, so no bar, where n = 1
            style = dict(color=LOSS_COLOURS[label], marker="o", markersize=5, capsize=2, linewidth=1.4)
            full = one["enough"].to_numpy()
            axis.errorbar(shifted[full], one["mean"][full], yerr=half[full], **style)
            few = ~full  # no interval: that of two seeds is huge
            axis.plot(shifted[few], one["mean"][few], color=LOSS_COLOURS[label], **HOLLOW)
            factors = sorted({*factors, *one["imbalance_factor"]})
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set_xscale("log")
    axis.set_xticks(factors, [f"{f:g}" for f in factors])
    axis.minorticks_off()
    axis.plot([], [], ":", marker=".", color=PUBLISHED_COLOUR, label="dotted: the paper")
    if len(ours) and not ours["enough"].all():
        axis.plot([], [], label="hollow: fewer seeds, no interval", color=PUBLISHED_COLOUR, **HOLLOW)
    axis.set(xlabel="imbalance factor", ylabel="class-balanced minus plain (points)")
    chosen = "the paper's advice" if records is None else "fixed before our runs"
    axis.set_title(f"{paper.TITLES[dataset]}, beta {beta:g}, {chosen}\n(below 0: class-balanced is better)")
    axis.legend(fontsize=8)


def gain_figure(records: pd.DataFrame | None, profile: str | None = None, dataset: str = "cifar10") -> Figure:
    """The picture of the first screen: gain against imbalance, and error per class at the busiest imbalance."""
    data = per_class(records) if records is not None else pd.DataFrame(columns=["dataset", "label"])
    here = data[(data["dataset"] == dataset) & data["label"].isin(paper.LABELS)]
    figure, axes = _panels(2 if len(here) else 1, 5.4, 4.4)
    draw_gain(axes[0][0], records, dataset)
    if len(here):
        factor = _most(here, 100.0)
        here = here[here["imbalance_factor"] == factor]
        label = next(label for label in paper.LABELS if label in set(here["label"]))
        draw_per_class(axes[0][1], here[here["label"] == label], fixed_beta(dataset))
        axes[0][1].set(
            title=f"error per class: {label}, imbalance {factor:g}\n(class, training images)", ylabel="error (percent)"
        )
        axes[0][1].legend(fontsize=8)
    if len(here):
        mine = records[records["dataset"] == dataset]
        seeds = mine["seed"].nunique()
        spread = f"mean over up to {seeds} seeds, 95 % interval" if seeds > 1 else "one seed, so no interval"
        budget = f"ResNet-{mine['depth'].iloc[0]}, {mine['epochs'].iloc[0]} epochs; the paper: ResNet-32, 200"
        figure.suptitle(f"measured: profile {profile} ({budget}), {spread}", fontsize=9)
    return figure
