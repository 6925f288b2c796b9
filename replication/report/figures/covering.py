"""Figures of notebook 02, from its tables: the covering, E_n, where it fails, near-duplicates."""

from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from replication.experiments.covering import TABLES, read_tables
from replication.report.analysis.published import TITLES
from replication.report.figures.style import BETA_COLOURS, MEASURED_COLOUR, THEORY_COLOUR, WIDTH, Drawings, panels
from replication.theory import torus
from replication.theory.covering import check
from replication.theory.departures import draw_centres
from replication.theory.effective_number import beta_from_volume, effective_number

GEOMETRY_COLOURS = {"prototypes": "#0072B2", "cubes": "#D55E00", "balls": "#009E73"}
LAWS = {  # of departures: words and colour
    "uniform": ("uniform on a torus", "#0072B2"),
    "bounded": ("a space with edges", "#E69F00"),
    "gaussian": ("one normal cloud", "#009E73"),
    "mixture": ("four clusters", "#CC79A7"),
}
MARKS = {  # of near_duplicates.AUGMENTATIONS: mark, colour, words
    "none": ("o", "#4D4D4D", "images as they are"),
    "crop and flip": ("^", MEASURED_COLOUR, "all crops and flips"),
    "one random crop and flip": ("x", "#0072B2", "one crop and flip each"),
}
NO_BOUND = 1e7  # where an N without bound is drawn
OFFSET: dict = dict(textcoords="offset points")


def drawings(folder: Path) -> Drawings:
    """Return the figures of the tables in `folder`, to be saved there; none unless all tables are there."""
    table = read_tables(folder)
    if len(table) < len(TABLES):
        return {}
    near = pd.concat([table["near_duplicates"], table["random_crops"]], ignore_index=True)
    return {
        folder / "covering": picture,
        folder / "effective_number": partial(effective_number_figure, table["verify"]),
        folder / "z_scores": partial(z_scores, table["verify"]),
        folder / "departures": partial(departures_figure, table["departures"]),
        folder / "wholly_inside": partial(wholly_inside_figure, table["wholly_inside"]),
        folder / "near_duplicates": partial(near_duplicates_figure, near),
    }


def picture() -> Figure:
    """The paper's Figure 2, simulated: unit squares, and discs of area 1, on a torus of area 25, at three n."""
    side, draws = 5, (5, 25, 75)
    figure = Figure(figsize=(WIDTH, 6.1))
    centres = np.random.default_rng(3).random((max(draws), 2)) * side
    turns = np.stack(np.meshgrid([-side, 0, side], [-side, 0, side]), -1).reshape(-1, 1, 2)
    probes = (np.stack(np.meshgrid(*[np.arange(200)] * 2), -1).reshape(-1, 2) + 0.5) / 200 * side
    for axes, geometry, name in zip(figure.subplots(2, 3), ("cubes", "balls"), ("squares", "discs"), strict=True):
        first = torus.first_cover(probes, centres, geometry, side)
        for axis, n in zip(axes, draws, strict=True):
            copies = (centres[:n] + turns).reshape(-1, 2)  # what leaves on one side enters on the other
            discs = [Circle(c, torus.ball_radius(2)) for c in copies]
            shapes = discs if geometry == "balls" else [Rectangle(c - 0.5, 1, 1) for c in copies]
            look: dict = dict(facecolor=GEOMETRY_COLOURS[geometry], alpha=0.35, edgecolor="white", linewidth=0.6)
            axis.add_collection(PatchCollection(shapes, **look))
            expected = effective_number(n, beta_from_volume(side**2))
            covered = (first < n).mean() * side**2
            axis.set_title(f"n = {n}: covered {covered:.2f}, $E_n$ = {expected:.2f}", fontsize=9.5)
            axis.set(xlim=(0, side), ylim=(0, side), aspect="equal", xticks=[], yticks=[])
            axis.spines[:].set_visible(True)
        axes[0].set_ylabel(f"{name} of area 1")
    figure.suptitle(f"Random covering of a torus of area N = {side**2}: one covering, not an average")
    return figure


def effective_number_figure(frame: pd.DataFrame) -> Figure:
    """Draw E_n (line) and the simulated mean (points) against n, a curve for each N of the prototypes, log-log."""
    figure, (axis,) = panels(4.6, width=6.4)
    groups = frame[frame["geometry"] == "prototypes"].groupby("N")
    colours = colormaps["viridis"](np.linspace(0, 0.9, len(groups)))
    top = groups["n"].max().max()
    n = np.geomspace(1, top, 300)
    for (volume, group), colour in zip(groups, colours, strict=True):
        axis.plot(n, effective_number(n, beta_from_volume(volume)), color=colour, linewidth=1)
        axis.plot(group["n"], group["mean"], "o", color=colour, markersize=3.5)
        axis.annotate(f"N = {volume:,.0f}", (top, volume), xytext=(4, 0), va="center", fontsize=8, **OFFSET)
    axis.plot(n, n, color=THEORY_COLOUR, linewidth=0.8, linestyle=":", label="$E_n = n$  (N infinite)")
    axis.plot([], [], color="grey", linewidth=1, label=r"$E_n = (1-\beta^n)/(1-\beta)$")
    axis.plot([], [], "o", color="grey", markersize=3.5, label="simulated mean (error below the marker)")
    axis.set(xscale="log", yscale="log", xlabel="draws n", ylabel="prototypes covered")
    axis.set(title="The simulated mean follows $E_n$", xlim=(0.8, top * 12), ylim=(0.8, 3 * volume))
    axis.legend(loc="upper left")
    return figure


def z_scores(frame: pd.DataFrame) -> Figure:
    """Draw (simulated mean - E_n) / standard error of each row against n / N, and the bound of the check."""
    figure, (axis,) = panels(4, width=7)
    verdict = check(frame)
    for geometry, group in frame.groupby("geometry", sort=False):
        colour = GEOMETRY_COLOURS[geometry]
        axis.plot(group["n"] / group["N"], group["z"], ".", color=colour, label=geometry, markersize=5)
    for sign in (-1, 1):
        axis.axhline(sign * verdict.bound, color=THEORY_COLOUR, linestyle="--", linewidth=1)
    place: dict = dict(xycoords=("axes fraction", "data"), xytext=(-6, 3), ha="right", fontsize=9)
    axis.annotate(f"bound {verdict.bound:.2f}", (1, verdict.bound), **place, **OFFSET)
    edge = 1.35 * verdict.bound
    axis.set(xscale="log", xlabel="n / N", ylabel="z = (simulated − exact) / standard error", ylim=(-edge, edge))
    found = f"all lie within {verdict.bound:.2f}" if verdict.largest_z < verdict.bound else "some stray"
    axis.set_title(f"{len(frame)} simulated means against $E_n$: {found}, largest |z| {verdict.largest_z:.2f}")
    axis.legend(loc="lower left", ncols=3)
    return figure


def departures_figure(frame: pd.DataFrame) -> Figure:
    """Centres drawn from each law (left), and the covered volume over E_n against n / N in two dimensions (right)."""
    figure, (left, right) = panels(4, 2, width_ratios=(1, 1.7))
    d = 2 if (frame["d"] == 2).any() else frame["d"].max()  # a reduced run has one dimension
    rows = frame[frame["d"] == d]
    for k, (law, (words, colour)) in enumerate(LAWS.items()):
        corner = np.array([1.12 * (k % 2), 1.3 * (1 - k // 2)])
        centres = draw_centres(law, 2, 1, 300, np.random.default_rng(0)) + corner
        left.plot(*centres.T, ".", color=colour, markersize=2)
        edge = "-" if law == "bounded" else ":"
        left.add_patch(Rectangle(tuple(corner), 1, 1, fill=False, linewidth=0.8, linestyle=edge))
        left.text(corner[0] + 0.5, corner[1] + 1.04, words, ha="center", fontsize=8.5)
        group = rows[rows["geometry"] == law]
        right.plot(group["n"] / group["N"], group["exact_mean"] / group["E_n"], color=colour, linewidth=1)
        _simulated(right, group["n"] / group["N"], group, colour, 3, words)
    left.set(xlim=(-0.05, 2.2), ylim=(-0.05, 2.5), aspect="equal", title="300 centres of each kind")
    left.set_axis_off()
    right.axhline(1, color=THEORY_COLOUR, linewidth=0.8, linestyle=":")
    least = 100 * (1 - (rows["exact_mean"] / rows["E_n"]).min())
    right.set(xscale="log", xlabel="draws n / N", ylabel="volume covered / $E_n$")
    right.set_title(f"Clustered samples cover up to {least:.0f} % less than $E_n$ (d = {d})")
    right.legend(loc="lower left", fontsize=8)
    return figure


def _simulated(axis, x: pd.Series, rows: pd.DataFrame, colour: str, size: float, label: str) -> None:
    """Draw simulated means over E_n with their 95 % intervals."""
    bars = 1.96 * rows["standard_error"] / rows["E_n"]
    axis.errorbar(x, rows["mean"] / rows["E_n"], bars, fmt="o", color=colour, markersize=size, label=label)


def wholly_inside_figure(frame: pd.DataFrame) -> Figure:
    """Covered volume over E_n against the dimension, for sets that lie wholly inside a space with an edge."""
    figure, (axis,) = panels(3.8, width=6.4)
    axis.axhline(1, color=THEORY_COLOUR, linewidth=0.8, linestyle=":")
    axis.plot(frame["d"], frame["share"], color=GEOMETRY_COLOURS["cubes"], linewidth=1, label="exact")
    _simulated(axis, frame["d"], frame, GEOMETRY_COLOURS["cubes"], 3.5, "simulated, 95 %")
    last = frame.iloc[-1]
    title = f"Cubes wholly inside the space cover {100 * last['share']:.0f} % of $E_n$ at d = {last['d']:.0f}"
    axis.set(xlabel="dimension d", ylabel="volume covered / $E_n$", ylim=(0, 1.1), title=title)
    axis.legend()
    return figure


def near_duplicates_figure(frame: pd.DataFrame) -> Figure:
    """Draw the median and quartiles over classes of the N from near-duplicates, by data set and augmentation.

    At the smaller of the two radii; an N without bound, where a class has no near-duplicate, counts as the largest.
    """
    frame = of_cifar(frame)
    groups = frame[frame["radius"] == frame["radius"].min()].groupby(["dataset", "augmentation"])["N"]
    names = [name for name in product(TITLES, MARKS) if name in groups.groups]
    quartiles = groups.quantile([0.25, 0.5, 0.75], interpolation="lower").unstack().clip(upper=NO_BOUND)
    figure, (axis,) = panels(0.42 * len(names) + 1.4)
    for y, name in enumerate(names):
        mark, colour, _ = MARKS[name[1]]
        low, middle, high = quartiles.loc[name]
        axis.hlines(y, low, high, color=colour, linewidth=1.5)
        axis.plot(middle, y, mark, color=colour, markersize=6)
        text = f"{middle:,.0f}" if middle < NO_BOUND else "no bound"
        axis.annotate(text, (middle, y), xytext=(0, 6), ha="center", **OFFSET)
    top: dict = dict(xycoords=("data", "axes fraction"), fontsize=8, ha="center", va="bottom")
    for beta, colour in list(BETA_COLOURS.items())[1:]:
        axis.axvline(1 / (1 - beta), color=colour, linewidth=0.8, linestyle="--")
        axis.annotate(rf"$\beta$ = {beta:g}", (1 / (1 - beta), 1), color=colour, **top)
    axis.set_yticks(range(len(names)), [f"{TITLES[d]}, {MARKS[a][2]}" for d, a in names])
    axis.set(xscale="log", xlim=(1, 1.2e7), ylim=(len(names) - 0.5, -0.7))
    axis.set_xlabel("N: median over classes, bar from lower to upper quartile")
    axis.set_title("N that near-duplicates suggest", pad=16)
    return figure


def of_cifar(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the near-duplicates of CIFAR; without any, those of digits, which say nothing about the paper."""
    cifar = frame[frame["dataset"] != "digits"]
    return cifar if len(cifar) else frame
