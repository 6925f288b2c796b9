"""Figures of notebook 02, from its tables: the covering, E_n, where it fails, near-duplicates."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from replication.report.analysis.covering import TABLES
from replication.report.analysis.published import TITLES
from replication.report.figures.style import BETA_COLOURS, MEASURED_COLOUR, THEORY_COLOUR, Drawing
from replication.theory import torus
from replication.theory.covering import check
from replication.theory.departures import clamped_mean
from replication.theory.effective_number import beta_from_volume, effective_number
from replication.theory.occupancy import occupancy_moments

GEOMETRY_COLOURS = {"prototypes": "#0072B2", "cubes": "#D55E00", "balls": "#009E73"}
LAW_COLOURS = {"uniform": "#0072B2", "bounded": "#E69F00", "gaussian": "#009E73", "mixture": "#CC79A7"}
MARKS = {  # of near_duplicates.AUGMENTATIONS: mark, colour, words
    "none": ("o", "#4D4D4D", "images as they are"),
    "crop and flip": ("^", MEASURED_COLOUR, "with all crops and flips"),
    "one random crop and flip": ("x", "#0072B2", "one random crop and flip each"),
}
PROBE_SHARE = 0.7  # of the variance: where the probe points add this share of it or more, `spread` draws no point


def drawings(folder: Path | str) -> list[Drawing]:
    """The figures of the tables in `folder`, to be saved there."""
    folder = Path(folder)
    verified, failed, *near = (pd.read_csv(folder / f"{name}.csv") for name in TABLES)
    return [
        Drawing(folder, "covering", picture),
        Drawing(folder, "effective_number", effective_number_figure, (verified,)),
        Drawing(folder, "z_scores", z_scores, (verified,)),
        Drawing(folder, "spread", spread, (verified,)),
        Drawing(folder, "departures", departures_figure, (failed,)),
        Drawing(folder, "volume_not_whole", not_whole),
        Drawing(folder, "near_duplicates", near_duplicates_figure, (pd.concat(near, ignore_index=True),)),
    ]


def picture(side: int = 5, draws=(5, 25, 75), seed: int = 3) -> Figure:
    """The paper's Figure 2 made real: unit squares, and discs of area 1, on a torus of area side^2, at three n."""
    figure = Figure(figsize=(8, 5.9))
    axes = figure.subplots(2, 3)
    centres = np.random.default_rng(seed).random((max(draws), 2)) * side
    probes = (np.stack(np.meshgrid(*[np.arange(200)] * 2), -1).reshape(-1, 2) + 0.5) / 200 * side
    radius = torus.ball_radius(2)
    for row, geometry in zip(axes, ("cubes", "balls"), strict=True):
        first = torus.first_cover(probes, centres, geometry, side)
        for axis, n in zip(row, draws, strict=True):
            turns = np.stack(np.meshgrid([-side, 0, side], [-side, 0, side]), -1).reshape(-1, 1, 2)
            copies = (centres[:n] + turns).reshape(-1, 2)  # what leaves on one side comes in on the other
            shapes = [Rectangle(c - 0.5, 1, 1) if geometry == "cubes" else Circle(c, radius) for c in copies]
            axis.add_collection(
                PatchCollection(
                    shapes, facecolor=GEOMETRY_COLOURS[geometry], alpha=0.35, edgecolor="white", linewidth=0.6
                )
            )
            expected = effective_number(n, beta_from_volume(side**2))
            axis.set(xlim=(0, side), ylim=(0, side), aspect="equal", xticks=[], yticks=[])
            axis.set_title(f"n = {n}: covered {(first < n).mean() * side**2:.2f}, $E_n$ = {expected:.2f}", fontsize=9.5)
            for spine in axis.spines.values():
                spine.set_visible(True)
    for row, name in zip(axes, ("squares", "discs"), strict=True):
        row[0].set_ylabel(f"{name} of area 1")
    figure.suptitle(f"Random covering of a torus of area N = {side**2}; one covering, not an average")
    return figure


def effective_number_figure(frame: pd.DataFrame) -> Figure:
    """E_n (line) and the simulated mean (points) against n, a curve for each N of the prototypes, log-log."""
    figure = Figure(figsize=(6.4, 4.6))
    axis = figure.subplots()
    rows = frame[frame["geometry"] == "prototypes"]
    volumes = sorted(rows["N"].unique())
    colours = colormaps["viridis"](np.linspace(0, 0.9, len(volumes)))
    top = rows["n"].max()
    n = np.geomspace(1, top, 300)
    for volume, colour in zip(volumes, colours, strict=True):
        group = rows[rows["N"] == volume]
        axis.plot(n, effective_number(n, beta_from_volume(volume)), color=colour, linewidth=1)
        axis.plot(group["n"], group["mean"], "o", color=colour, markersize=3.5)
        axis.annotate(
            f"N = {volume:,.0f}", (top, volume), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8
        )
    axis.plot(n, n, color=THEORY_COLOUR, linewidth=0.8, linestyle=":", label="$E_n = n$  (N infinite)")
    axis.plot([], [], color="grey", linewidth=1, label=r"$E_n = (1-\beta^n)/(1-\beta)$")
    axis.plot([], [], "o", color="grey", markersize=3.5, label="simulated mean (error below the marker)")
    axis.set(xscale="log", yscale="log", xlabel="draws n", ylabel="prototypes covered", title="Expected volume covered")
    axis.set(xlim=(0.8, top * 12), ylim=(0.8, 3 * max(volumes)))
    axis.legend(loc="upper left")
    return figure


def z_scores(frame: pd.DataFrame) -> Figure:
    """(simulated mean - E_n) / standard error of each row against n / N, and the bound that the check sets."""
    figure = Figure(figsize=(7, 3.8))
    axis = figure.subplots()
    verdict = check(frame)
    for geometry, group in frame.groupby("geometry", sort=False):
        axis.plot(
            group["n"] / group["N"], group["z"], ".", color=GEOMETRY_COLOURS[geometry], label=geometry, markersize=5
        )
    for sign in (-1, 1):
        axis.axhline(sign * verdict.bound, color=THEORY_COLOUR, linestyle="--", linewidth=1)
    axis.annotate(f"bound {verdict.bound:.2f}", (1, verdict.bound), xytext=(0, 3), textcoords="offset points",
                  xycoords=("axes fraction", "data"), ha="right", fontsize=9)  # fmt: skip
    axis.set(xscale="log", xlabel="n / N", ylabel="z", ylim=(-1.35 * verdict.bound, 1.35 * verdict.bound))
    axis.set_title(f"{len(frame)} means against $E_n$: largest |z| {verdict.largest_z:.2f}")
    axis.legend(loc="lower left", ncols=3)
    return figure


def spread(frame: pd.DataFrame, volume: float = 100) -> Figure:
    """What shape and dimension do change: the standard deviation of the covered volume, exact (line) and simulated."""
    figure = Figure(figsize=(9, 4))
    axes = figure.subplots(1, 2, sharey=True)
    n = np.unique(np.geomspace(1, 5 * volume, 120).round())
    curves = [("prototypes", 0), *[("cubes", d) for d in (1, 2, 3, 6)], *[("balls", d) for d in (2, 3, 4)]]
    for geometry, d in curves:
        axis = axes[1] if geometry == "balls" else axes[0]
        shade = GEOMETRY_COLOURS["prototypes"] if d == 0 else colormaps["inferno"](0.15 + 0.12 * d)
        group = frame[(frame["geometry"] == geometry) & (frame["d"] == d) & (frame["N"] == volume)]
        probes = torus.default_probes(geometry, d, group["n"]) if d and len(group) else None
        group = group[group["n"] <= n.max()]
        if d == 0:
            exact, mean = np.sqrt(occupancy_moments(int(volume), n)[1]), 0
        else:
            exact, mean = torus.exact_sd(geometry, d, volume, n), group["mean"]
        axis.plot(n, exact, color=shade, linewidth=1, label=geometry if d == 0 else f"{geometry}, d = {d}")
        variance = group["standard_error"] ** 2 * group["replicates"]
        if probes is not None:  # take out what the probes add
            covering = (group["exact_sd"] ** 2 - mean * (volume - mean) / probes) / (1 - 1 / probes)
            variance = (variance - mean * (volume - mean) / probes) / (1 - 1 / probes)
            group, variance = (v[covering > (1 - PROBE_SHARE) * group["exact_sd"] ** 2] for v in (group, variance))
        axis.plot(group["n"], np.sqrt(variance.clip(lower=0)), "o", color=shade, markersize=3.5)
    for axis in axes:
        axis.set(xscale="log", xlabel="draws n")
        axis.legend(fontsize=8, loc="upper left")
    axes[0].set_ylabel("standard deviation of the covered volume")
    axes[0].set_title("prototypes and cubes")
    axes[1].set_title("balls")
    figure.suptitle(
        f"Same mean, different spread (N = {volume:g}; lines exact, points simulated)\nwithout what the probes add; no "
        f"point where that is {100 * PROBE_SHARE:.0f} % of the variance or more",
        fontsize=11,
    )
    return figure


def departures_figure(frame: pd.DataFrame) -> Figure:
    """Covered volume over E_n (left) and the N that would explain it (right), by law; one row of panels a dimension."""
    dimensions = sorted(frame["d"].unique())
    figure = Figure(figsize=(9, 3 * len(dimensions) + 0.6))
    axes = figure.subplots(len(dimensions), 2, squeeze=False, sharex="col")
    for (left, right), d in zip(axes, dimensions, strict=True):
        for law, group in frame[frame["d"] == d].groupby("geometry", sort=False):
            x, colour = group["n"] / group["N"], LAW_COLOURS[law]
            left.plot(x, group["exact_mean"] / group["E_n"], color=colour, linewidth=1, label=law)
            left.errorbar(x, group["mean"] / group["E_n"], 1.96 * group["standard_error"] / group["E_n"], fmt="o",
                          color=colour, markersize=3, linewidth=0.8)  # fmt: skip
            known = group[x > 0.2]
            bars = [
                (known["N_at_n"] - known["N_at_n_low"]) / known["N"],
                (known["N_at_n_high"] - known["N_at_n"]) / known["N"],
            ]
            right.errorbar(known["n"] / known["N"], known["N_at_n"] / known["N"], bars, fmt="o-", color=colour,
                           markersize=3, linewidth=0.8)  # fmt: skip
        left.axhline(1, color=THEORY_COLOUR, linewidth=0.8, linestyle=":")
        right.axhline(1, color=THEORY_COLOUR, linewidth=0.8, linestyle=":")
        left.set(xscale="log", ylabel=f"d = {d}: covered / $E_n$")
        right.set(xscale="log", ylabel="effective N / N", ylim=(0, 1.6))
        right.set_xticks([0.3, 1, 3], ["0.3", "1", "3"])
        right.set_xticks([], minor=True)
    axes[0, 0].legend(loc="lower left", fontsize=8, ncols=2)
    for axis in axes[-1]:
        axis.set_xlabel("n / N")
    figure.suptitle("Where the formula fails (lines left: exact; points: simulated, 95 %)")
    return figure


def not_whole(volumes=(1.5, 2.5, 4.5, 10.5), largest: int = 100) -> Figure:
    """Mean of the paper's chain for N not whole, p cut off at 1, over E_n: it ends at ceil(N) / N."""
    figure = Figure(figsize=(6.4, 3.6))
    axis = figure.subplots()
    n = np.arange(1, largest + 1)
    for volume, colour in zip(volumes, colormaps["viridis"](np.linspace(0, 0.85, len(volumes))), strict=True):
        ratio = clamped_mean(volume, n) / effective_number(n, beta_from_volume(volume))
        axis.plot(n, ratio, color=colour, label=f"N = {volume:g}, ends at {np.ceil(volume) / volume:.3f}")
    axis.axhline(1, color=THEORY_COLOUR, linewidth=0.8, linestyle=":")
    axis.set(xscale="log", xlabel="draws n", ylabel="mean covered / $E_n$", title="N not whole: the chain passes N")
    axis.legend(loc="upper left")
    return figure


def near_duplicates_figure(frame: pd.DataFrame) -> Figure:
    """N of each class, by augmentation and radius, with 95 % intervals; the paper's four N as lines."""
    shown = [d for d in ("digits", "cifar10") if d in set(frame["dataset"])]
    radii = {d: sorted(frame.loc[frame["dataset"] == d, "radius"].unique()) for d in shown}
    figure = Figure(figsize=(9, 3.6 * len(shown)))
    axes = figure.subplots(len(shown), 2, squeeze=False, sharey=True)
    for row, dataset in zip(axes, shown, strict=True):
        for axis, radius in zip(row, radii[dataset], strict=True):
            here = (frame["dataset"] == dataset) & (frame["radius"] == radius)
            _near_duplicates_panel(axis, frame[here], label_betas=axis is row[-1])
            axis.set_title(f"{TITLES[dataset]}, pixel distance up to {radius:.4g}")
        row[0].set_ylabel("N (95 % interval)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=4,
        fontsize=9,
        title="a line without a mark: no near-duplicate at all",
    )
    return figure


def _near_duplicates_panel(axis, rows: pd.DataFrame, label_betas: bool) -> None:
    names = list(rows["class_name"].astype(str).unique())
    for k, (augmentation, (mark, colour, words)) in enumerate(MARKS.items()):
        group = rows[rows["augmentation"] == augmentation]
        x = np.array([names.index(str(c)) for c in group["class_name"]]) + (k - 1) * 0.2
        high = group["N_high"].to_numpy()
        axis.vlines(x, group["N_low"], np.where(np.isfinite(high), high, 1e9), color=colour, linewidth=1)
        axis.plot(x, group["N"], mark, color=colour, markersize=4, label=words)
    for beta, colour in list(BETA_COLOURS.items())[1:]:
        axis.axhline(1 / (1 - beta), color=colour, linewidth=0.8, linestyle="--")
        if label_betas:
            axis.annotate(rf"$\beta$ = {beta:g}", (1.01, 1 / (1 - beta)), xycoords=("axes fraction", "data"),
                          color=colour, fontsize=8, va="center", annotation_clip=False)  # fmt: skip
    long = max(map(len, names)) > 2
    axis.set(yscale="log", ylim=(1, 1e7))
    axis.set_xticks(range(len(names)), names, rotation=40 if long else 0, ha="right" if long else "center")
