"""The style of all figures: colours (Okabe and Ito's colour-blind-safe set), type sizes, and how a figure is saved."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import matplotlib
from joblib import Parallel, delayed
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
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
# What each figure of report and notebooks shows, by what its file's name holds: "heat_map" for heat_map_cifar10.
CAPTIONS = {
    "forest": "Change in error of the class-balanced softmax loss against the plain one, column by column of Table 2: "
    "the paper's printed value (hollow) and ours with its 95 % interval.",
    "methods": "Change in error against plain cross-entropy at imbalance 100, paired by seed, 95 % interval.",
    "class_change": "Change of each class's error, head to tail, with 95 % intervals over seeds.",
    "figure5": "Figure 5: error against beta at imbalance 50, as printed; dashed lines are the plain losses.",
    "betas": "Change in error against the plain loss for each beta, the paper's and ours.",
    "heat_map": "The measured cells of Figures 8 to 10: error and, in brackets and colour, the change from the plain "
    "loss (blue is better).",
    "curves": "Test error and training loss over the epochs, mean and range over seeds.",
    "drop": "Test error with the learning rate divided by 100, as in the paper, and divided by 10.",
    "figure4": "Figure 4: images of each class of long-tailed CIFAR-10 and CIFAR-100, five imbalance factors.",
    "figure7": "Figure 7: validation error over 90 epochs; dots are what Table 3 prints.",
    "figure8": "Figure 8 as printed: CIFAR-10, error of each loss, beta and imbalance, and the change from plain.",
    "figure9": "Figure 9 as printed: CIFAR-20, error of each loss, beta and imbalance, and the change from plain.",
    "figure10": "Figure 10 as printed: CIFAR-100, error of each loss, beta and imbalance, and the change from plain.",
    "inaturalist_counts": "Images of each class of iNaturalist 2017 and 2018, and their effective numbers.",
    "class_weights": "Class-balanced weight of each class at imbalance 50, each beta; they average 1 over the classes.",
    "figure3_weights": "Figure 3: the class-balanced term (1 - beta)/(1 - beta^n) against n.",
    "figure6_effective_numbers": "Figure 6: number and effective number of images of each class, four betas.",
    "covering": "Figure 2, simulated: squares and discs of area 1 dropped on a torus, and how much they cover.",
    "effective_number": "Simulated mean covered volume (dots) on E_n (lines).",
    "z_scores": "Distance of each simulated mean from E_n in standard errors.",
    "departures": "Where samples cluster or the space ends, less is covered than E_n says: covered volume over E_n.",
    "wholly_inside": "Sets that lie wholly inside a space with an edge: covered volume over E_n, by dimension.",
    "near_duplicates": "The N that near-duplicates suggest: median over the classes of each data set, and its range.",
    "kept_images": "Images of each class that the long-tailed subset of one seed keeps, head to tail.",
    "augmentation": "Images and random crops of them, as training sees them.",
    "learning_rate": "Learning rate over the epochs: warm-up, then divided by 100 twice, as in the paper, or by 10.",
    "losses_true_class": "Losses and their slopes against the logit of the true class.",
    "losses_other_class": "Losses and their slopes against the logit of another class, the true one's at 0.",
    "focal_modulator": "Slope of the focal loss in float32: this package's, and one common form's.",
}
WIDTH = 8.3  # inches at most, so that no figure is wider than 1,000 pixels
POINTS = 5  # a figure of measurements with fewer of them is not drawn: a sentence says as much
RC: dict = {
    "figure.constrained_layout.use": True,
    "figure.dpi": 120,
    "savefig.dpi": 120,
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


matplotlib.rcParams.update(RC)


# How a format is written, and the metadata that are left out: without time stamps, same input gives same bytes.
FORMATS: dict = {
    "png": (lambda figure: FigureCanvasAgg(figure).print_png, {"Software": None}),
    "pdf": (lambda figure: FigureCanvasPdf(figure).print_pdf, {"CreationDate": None, "Producer": None}),
}


def save_figure(figure, folder: Path | str, name: str, formats: Iterable[str] = ("png",)) -> list[Path]:
    """Write FOLDER/NAME.png, or each of the given formats of "png" and "pdf"; return the paths."""
    figure.set_dpi(matplotlib.rcParams["savefig.dpi"])  # text is measured as it will be drawn
    if figure.get_layout_engine():
        for _ in range(2):  # the second pass settles the layout, which is then fixed for all formats
            figure.get_layout_engine().execute(figure)
        figure.set_layout_engine("none")
    paths = [Path(folder) / f"{name}.{ending}" for ending in formats]
    for path in paths:
        write, metadata = FORMATS[path.suffix[1:]]
        with whole_file(path) as file:  # `figure.savefig` would draw twice, once more for the layout
            write(figure)(file, metadata=metadata)
    return paths


def figure_caption(stem: str) -> str:
    """Return the caption of a figure file: of the longest key of CAPTIONS in its name, or else the name in words."""
    known = max((name for name in CAPTIONS if name in stem), key=len, default=None)
    return CAPTIONS[known] if known else stem.replace("_", " ")


class Drawing(NamedTuple):
    """A figure to be made: draw(*args), saved as FOLDER/NAME.png and .pdf unless it is None."""

    folder: Path
    name: str
    draw: Callable
    args: tuple = ()


def draw(drawing: Drawing) -> list[Path]:
    """Draw and save one figure; return its paths, or none if there is nothing to draw."""
    figure = drawing.draw(*drawing.args)
    if figure is None:
        return []
    return save_figure(figure, drawing.folder, drawing.name, FORMATS)


def draw_all(drawings: list[Drawing], processes: int = 1) -> list[Path]:
    """Draw all figures with a progress bar; return their paths in the order of the drawings."""
    done = Parallel(processes, return_as="generator")(delayed(draw)(drawing) for drawing in drawings)
    return [path for paths in tqdm(done, total=len(drawings), desc="figures", leave=False, delay=1) for path in paths]
