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
from replication.experiments.grids import BETAS
from replication.report.analysis.published import TITLES
from replication.report.figures import style
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
AUGMENTATIONS = {  # of near_duplicates.AUGMENTATIONS: words
    "none": "images as they are",
    "crop and flip": "all crops and flips",
    "one random crop and flip": "one crop and flip each",
}
NO_BOUND = 1e7  # where an N without bound is drawn


def drawings(folder: Path) -> style.Drawings:
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
    figure = Figure(figsize=(style.WIDTH, 6.1))
    centres = np.random.default_rng(3).random((max(draws), 2)) * side
    turns = np.stack(np.meshgrid([-side, 0, side], [-side, 0, side]), -1).reshape(-1, 1, 2)
    probes = (np.stack(np.meshgrid(*[np.arange(200)] * 2), -1).reshape(-1, 2) + 0.5) / 200 * side
    for axes, geometry, name in zip(figure.subplots(2, 3), ("cubes", "balls"), ("squares", "discs"), strict=True):
        first = torus.first_cover(probes, centres, geometry, side)
        for axis, n in zip(axes, draws, strict=True):
            copies = (centres[:n] + turns).reshape(-1, 2)  # what leaves on one side enters on the other
            discs = [Circle(c, torus.ball_radius(2)) for c in copies]
            shapes = discs if geometry == "balls" else [Rectangle(c - 0.5, 1, 1) for c in copies]
            look: dict = dict(facecolor=GEOMETRY_COLOURS[geometry], alpha=0.35, edgecolor="white")
            axis.add_collection(PatchCollection(shapes, **look))
            expected = effective_number(n, beta_from_volume(side**2))
            covered = (first < n).mean() * side**2
            axis.set_title(f"n = {n}: covered {covered:.2f}, $E_n$ = {expected:.2f}")
            axis.set(xlim=(0, side), ylim=(0, side), aspect="equal", xticks=[], yticks=[])
            axis.spines[:].set_visible(True)
        axes[0].set_ylabel(f"{name} of area 1")
    figure.suptitle(f"Random covering of a torus of area N = {side**2}: one covering, not an average")
    return figure


def effective_number_figure(frame: pd.DataFrame) -> Figure:
    """Draw E_n (line) and the simulated mean (points) against n, a curve for each N of the prototypes, log-log."""
    figure, (axis,) = style.panels(4.6, width=6.4)
    groups = frame[frame["geometry"] == "prototypes"].groupby("N")
    colours = colormaps["viridis"](np.linspace(0, 0.9, len(groups)))
    top = groups["n"].max().max()
    n = np.geomspace(1, top, 300)
    for (volume, group), colour in zip(groups, colours, strict=True):
        axis.plot(n, effective_number(n, beta_from_volume(volume)), color=colour)
        axis.plot(group["n"], group["mean"], "o", color=colour)
        axis.text(top, volume, f"  N = {volume:,.0f}", va="center", fontsize=8)
    axis.plot(n, n, ":", color=style.THEORY_COLOUR, label="$E_n = n$  (N infinite)")
    axis.plot([], [], "o-", color="grey", label=r"line: $E_n = (1-\beta^n)/(1-\beta)$; points: simulated mean")
    axis.set(xscale="log", yscale="log", xlim=(0.8, top * 12), ylim=(0.8, 3 * volume))
    axis.set(xlabel="draws n", ylabel="prototypes covered", title="The simulated mean follows $E_n$")
    axis.legend(loc="upper left")
    return figure


def z_scores(frame: pd.DataFrame) -> Figure:
    """Draw (simulated mean - E_n) / standard error of each row against n / N, and the bound of the check."""
    figure, (axis,) = style.panels(4, width=7)
    verdict = check(frame)
    for geometry, group in frame.groupby("geometry", sort=False):
        axis.plot(group["n"] / group["N"], group["z"], ".", color=GEOMETRY_COLOURS[geometry], label=geometry)
    axis.axhline(verdict.bound, color=style.THEORY_COLOUR, linestyle="--", label=f"bound {verdict.bound:.2f}")
    axis.axhline(-verdict.bound, color=style.THEORY_COLOUR, linestyle="--")
    axis.set(xscale="log", xlabel="n / N", ylabel="z = (simulated − exact) / standard error")
    found = f"all lie within {verdict.bound:.2f}" if verdict.largest_z < verdict.bound else "some stray"
    axis.set_title(f"{len(frame)} simulated means against $E_n$: {found}, largest |z| {verdict.largest_z:.2f}")
    style.legend_below(figure, axis, 4)
    return figure


def departures_figure(frame: pd.DataFrame) -> Figure:
    """Centres drawn from each law (left), and the covered volume over E_n against n / N in two dimensions (right)."""
    figure, (left, right) = style.panels(4, 2, width_ratios=(1, 1.7))
    d = 2 if (frame["d"] == 2).any() else frame["d"].max()  # a reduced run has one dimension
    rows = frame[frame["d"] == d]
    right.axhline(1, color=style.THEORY_COLOUR, linewidth=0.8, linestyle=":")
    for k, (law, (words, colour)) in enumerate(LAWS.items()):
        corner = np.array([1.12 * (k % 2), 1.3 * (1 - k // 2)])
        centres = draw_centres(law, 2, 1, 300, np.random.default_rng(0)) + corner
        left.plot(*centres.T, ".", color=colour, markersize=2)
        left.add_patch(Rectangle(tuple(corner), 1, 1, fill=False, linestyle="-" if law == "bounded" else ":"))
        left.text(corner[0] + 0.5, corner[1] + 1.04, words, ha="center", fontsize=8.5)
        group = rows[rows["geometry"] == law]
        _draw_ratio(right, group["n"] / group["N"], group, colour, words)
    left.set(xlim=(-0.05, 2.2), ylim=(-0.05, 2.5), aspect="equal", title="300 centres of each kind")
    left.set_axis_off()
    least = 100 * (1 - (rows["exact_mean"] / rows["E_n"]).min())
    title = f"Clustered samples cover up to {least:.0f} % less than $E_n$ (d = {d})"
    right.set(xscale="log", xlabel="draws n / N", title=title)
    right.legend(loc="lower left")
    return figure


def _draw_ratio(axis, x: pd.Series, rows: pd.DataFrame, colour: str, label: str) -> None:
    """Draw covered volumes over E_n, exact (line) and simulated (points with 95 % intervals)."""
    axis.plot(x, rows["exact_mean"] / rows["E_n"], color=colour)
    bars = 1.96 * rows["standard_error"] / rows["E_n"]
    axis.errorbar(x, rows["mean"] / rows["E_n"], bars, fmt="o", color=colour, markersize=3, label=label)
    axis.set_ylabel("volume covered / $E_n$")


def wholly_inside_figure(frame: pd.DataFrame) -> Figure:
    """Covered volume over E_n against the dimension, for sets that lie wholly inside a space with an edge."""
    figure, (axis,) = style.panels(3.8, width=6.4)
    axis.axhline(1, color=style.THEORY_COLOUR, linewidth=0.8, linestyle=":")
    _draw_ratio(axis, frame["d"], frame, GEOMETRY_COLOURS["cubes"], "simulated, 95 %; line: exact")
    last = frame.iloc[-1]
    axis.set_title(f"Cubes wholly inside the space cover {100 * last['share']:.0f} % of $E_n$ at d = {last['d']:.0f}")
    axis.set(xlabel="dimension d", ylim=(0, 1.1))
    axis.legend()
    return figure


def near_duplicates_figure(frame: pd.DataFrame) -> Figure:
    """Draw the median and quartiles over classes of the N from near-duplicates, by data set and augmentation.

    At the smaller of the two radii; an N without bound, where a class has no near-duplicate, counts as the largest.
    """
    frame = of_cifar(frame)
    groups = frame[frame["radius"] == frame["radius"].min()].groupby(["dataset", "augmentation"])["N"]
    names = [name for name in product(TITLES, AUGMENTATIONS) if name in groups.groups]
    quartiles = groups.quantile([0.25, 0.5, 0.75], interpolation="lower").unstack().loc[names].clip(upper=NO_BOUND)
    figure, (axis,) = style.panels(0.42 * len(names) + 1.4)
    for beta in BETAS[1:]:
        axis.axvline(1 / (1 - beta), color=style.BETA_COLOURS[beta], linestyle="--", label=f"N at β = {beta:g}")
    axis.hlines(range(len(names)), quartiles[0.25], quartiles[0.75], color=style.MEASURED_COLOUR)
    axis.plot(quartiles[0.5], range(len(names)), "o", color=style.MEASURED_COLOUR)
    for y, median in enumerate(quartiles[0.5]):
        text = f"{median:,.0f}" if median < NO_BOUND else "no bound"
        axis.text(median, y - 0.2, text, ha="center", va="bottom", bbox=style.WHITE_BOX)
    style.legend_below(figure, axis, 4)
    axis.set_yticks(range(len(names)), [f"{TITLES[d]}, {AUGMENTATIONS[a]}" for d, a in names])
    axis.set(xscale="log", xlim=(1, 1.2e7), ylim=(len(names) - 0.5, -0.7))
    axis.set(xlabel="N: median over classes, bar from lower to upper quartile", title="N that near-duplicates suggest")
    return figure


def of_cifar(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the near-duplicates of CIFAR; without any, those of digits, which say nothing about the paper."""
    return frame if (frame["dataset"] == "digits").all() else frame[frame["dataset"] != "digits"]
