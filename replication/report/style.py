"""One hand for all figures: colours (Okabe and Ito's colour-blind-safe set), type sizes, and how a figure is saved."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import matplotlib
from joblib import Parallel, delayed
from tqdm import tqdm

matplotlib.use("Agg", force=False)
import matplotlib.pyplot as plt

from replication.data.whole_file import whole_file

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
PUBLISHED_COLOUR = "#4D4D4D"  # the paper's numbers, wherever they stand beside ours
THEORY_COLOUR = "#000000"
MEASURED_COLOUR = "#D55E00"

RC = {
    "figure.constrained_layout.use": True,
    "figure.dpi": 120,
    "savefig.dpi": 160,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "pdf.fonttype": 42,
    "svg.hashsalt": "replication",
}
plt.rcParams.update(RC)


def loss_label(loss: str, gamma: float | None = None) -> str:
    """The name of a loss in tables and figures: "softmax", "sigmoid", "focal 0.5"."""
    return f"{loss} {float(gamma):.1f}" if loss == "focal" else loss


def save_figure(figure, folder: Path | str, name: str) -> list[Path]:
    """Write FOLDER/NAME.png and .pdf, without time stamps (same input, same bytes); returns both paths."""
    figure.set_dpi(plt.rcParams["savefig.dpi"])  # text is measured as it will be drawn
    if figure.get_layout_engine():
        for _ in range(2):  # the second settles it; then fixed, so that it is not done again for each format
            figure.get_layout_engine().execute(figure)
        figure.set_layout_engine("none")
    paths = [Path(folder) / f"{name}.{ending}" for ending in ("png", "pdf")]
    for path, metadata in zip(paths, ({"Software": None}, {"CreationDate": None, "Producer": None}), strict=True):
        with whole_file(path) as file:
            figure.savefig(file, format=path.suffix[1:], metadata=metadata)
    return paths


class Drawing(NamedTuple):
    """A figure to be made: draw(*args), saved as FOLDER/NAME.png and .pdf unless it is None."""

    folder: Path
    name: str
    draw: Callable
    args: tuple = ()


def draw(drawing: Drawing) -> list[Path]:
    """Draw and save one figure; the paths, none where there is nothing to draw."""
    figure = drawing.draw(*drawing.args)
    if figure is None:
        return []
    paths = save_figure(figure, drawing.folder, drawing.name)
    plt.close(figure)
    return paths


def draw_all(drawings: list[Drawing], processes: int = 1) -> list[Path]:
    """All of them, with a progress bar; the paths in the order of the drawings."""
    done = Parallel(processes, return_as="generator")(delayed(draw)(drawing) for drawing in drawings)
    return [path for paths in tqdm(done, total=len(drawings), desc="figures", leave=False, delay=1) for path in paths]
