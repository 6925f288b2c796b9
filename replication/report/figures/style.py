"""The style of all figures: colours (Okabe and Ito's colour-blind-safe set), panels, captions, and how one is saved.

Sizes of type, lines and markers, and the layout, are in report.mplstyle; captions are in captions.toml.
"""

import tomllib
from collections.abc import Callable, Iterable
from importlib.resources import files
from pathlib import Path

import matplotlib.style
import pandas as pd
from joblib import Parallel, delayed
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tqdm import tqdm

from replication.files import whole_file

# One colour per loss, the same in every figure of the project.  Focal losses: one hue family apart from both others.
LOSS_COLOURS = {
    "softmax": "#0072B2",  # blue
    "sigmoid": "#E69F00",  # orange
    "focal 0.5": "#009E73",  # bluish green
    "focal 1.0": "#CC79A7",  # reddish purple
    "focal 2.0": "#D55E00",  # vermillion
}
# One colour per beta, light to dark (ordered quantity, so one sequential scale), beta 0 (plain) grey.
BETA_COLOURS = {0.0: "#7F7F7F", 0.9: "#A6D96A", 0.99: "#41AB9D", 0.999: "#2C6FA6", 0.9999: "#3B1F6B"}
PUBLISHED_COLOUR = "#4D4D4D"  # the paper's numbers beside ours
THEORY_COLOUR = "#000000"
MEASURED_COLOUR = "#D55E00"
CAPTIONS: dict[str, str] = tomllib.loads(files(__package__).joinpath("captions.toml").read_text(encoding="utf-8"))
CHANGE = "change in error, points (minus is better)"
WHITE_BOX: dict = dict(facecolor="white", edgecolor="none", pad=0.8)  # behind text that lines would cross
WIDTH = 8.3  # inches at most, so that no figure is wider than 1,000 pixels
POINTS = 5  # a figure of measurements with fewer of them is not drawn: a sentence says as much

matplotlib.style.use("replication.report.figures.report")


def panels(height: float, columns: int = 1, width: float = WIDTH, **options) -> tuple[Figure, list[Axes]]:
    """Return a new figure of that size in inches and its axes, side by side; options: those of Figure.subplots."""
    figure = Figure(figsize=(width, height))
    return figure, list(figure.subplots(1, columns, squeeze=False, **options)[0])


def legend_below(figure: Figure, axis: Axes, columns: int) -> None:
    """Draw the legend of `axis` for the whole figure, below it."""
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=columns)


def draw_by_class(axis: Axes, curves: pd.DataFrame, **look) -> None:
    """Draw each column against its index, the class, on a logarithmic axis."""
    marker = "o" if len(curves) <= 20 else None
    curves.plot(ax=axis, logy=True, marker=marker, xlabel="class, head to tail", legend=False, **look)


# Without time stamps the same input gives the same bytes.
METADATA: dict = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Producer": None}}


def save_figure(figure: Figure, folder: Path | str, name: str, formats: Iterable[str] = ("png",)) -> list[Path]:
    """Write FOLDER/NAME.png, or each of the given formats of "png" and "pdf"; return the paths."""
    paths = {ending: Path(folder) / f"{name}.{ending}" for ending in formats}
    for ending, path in paths.items():
        with whole_file(path) as file:
            figure.savefig(file, format=ending, metadata=METADATA[ending])
    return list(paths.values())


def figure_caption(stem: str) -> str:
    """Return the caption of a figure file: of the longest key of CAPTIONS in its name, or else the name in words."""
    known = max((name for name in CAPTIONS if name in stem), key=len, default=None)
    return CAPTIONS[known] if known else stem.replace("_", " ")


Drawings = dict[Path, Callable[[], Figure | None]]  # by path without ending; None: there is nothing to draw


def draw(path: Path, make: Callable[[], Figure | None]) -> list[Path]:
    """Draw and save one figure; return its paths, or none if there is nothing to draw."""
    figure = make()
    return [] if figure is None else save_figure(figure, path.parent, path.name, METADATA)


def draw_all(drawings: Drawings, processes: int = 1) -> list[Path]:
    """Draw all figures with a progress bar; return their paths in the order of the drawings."""
    done = Parallel(processes, return_as="generator")(delayed(draw)(*drawing) for drawing in drawings.items())
    return [path for paths in tqdm(done, total=len(drawings), desc="figures", leave=False, delay=1) for path in paths]
