"""One hand for all figures: colours (Okabe and Ito's colour-blind-safe set), type sizes, and how a figure is saved."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import matplotlib
from joblib import Parallel, delayed
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
PUBLISHED_COLOUR = "#4D4D4D"  # the paper's numbers, wherever they stand beside ours
THEORY_COLOUR = "#000000"
MEASURED_COLOUR = "#D55E00"
# What each figure of report and notebooks shows, by its file's name; heat_map_<data set> by "heat_map".
CAPTIONS = {
    "gain": "Class-balanced minus plain error at one beta fixed beforehand; error of each class, head to tail.",
    "figure5": "Figure 5: error against beta, the paper's at imbalance 50, ours at the imbalance in its title; "
    "horizontal lines are plain losses.",
    "heat_map": "A heat map as Figures 8 to 10: error of each loss, beta and imbalance, the paper's and ours; in "
    "brackets and colour the difference to the plain loss (blue: better).",
    "curves": "Test error and training loss over the epochs, mean and range over seeds.",
    "drop": "Test error and training loss with the learning rate dropped by 0.01, the paper's, and by 0.1.",
    "per_class": "Error of each class, head to tail, plain and class-balanced, mean over seeds with 95 % intervals.",
    "figure4": "Figure 4: images of each class of long-tailed CIFAR-10 and CIFAR-100, five imbalance factors.",
    "figure7": "Figure 7: validation error over 90 epochs; dots are what Table 3 prints.",
    "figure8": "Figure 8, printed: CIFAR-10, error of each loss, beta and imbalance, and the difference to plain.",
    "figure9": "Figure 9, printed: CIFAR-20, error of each loss, beta and imbalance, and the difference to plain.",
    "figure10": "Figure 10, printed: CIFAR-100, error of each loss, beta and imbalance, and the difference to plain.",
    "inaturalist_counts": "Images of each class of iNaturalist 2017 and 2018, and their effective numbers.",
    "class_weights": "Class-balanced weight of each class at imbalance 50, each beta; they average 1 over the classes.",
    "figure3_weights": "Figure 3: the class-balanced term (1 - beta)/(1 - beta^n) against n.",
    "figure6_effective_numbers": "Figure 6: number and effective number of images of each class, four betas.",
    "covering": "Figure 2 made real: squares and discs of volume 1 dropped on a torus, and how much they cover.",
    "effective_number": "Simulated mean covered volume (dots) on E_n (lines).",
    "z_scores": "Distance of each simulated mean from E_n in standard errors.",
    "spread": "Standard deviation of the covered volume, simulated (dots) and exact (lines): it depends on shape and "
    "dimension.",
    "departures": "Where E_n fails (the space ends, samples are not uniform): covered volume over E_n, and the N that "
    "would explain it.",
    "volume_not_whole": "The paper's chain for N that is not whole, over E_n: it ends at the next whole number.",
    "near_duplicates": "The N that near-duplicates suggest for each class, with and without augmentation.",
    "kept_images": "Images of each class that the long-tailed subset of one seed keeps, head to tail.",
    "augmentation": "Images and random crops of them, as training sees them.",
    "learning_rate": "Learning rate over the epochs: warm-up, and drops by 0.01, the paper's, and by 0.1.",
    "losses_true_class": "Losses and their slopes against the logit of the true class.",
    "losses_other_class": "Losses and their slopes against the logit of another class, the true one's at 0.",
    "focal_modulator": "Slope of the focal loss in float32: as here, and as one common form of it gives it.",
}
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


matplotlib.rcParams.update(RC)


def save_figure(figure, folder: Path | str, name: str) -> list[Path]:
    """Write FOLDER/NAME.png and .pdf, without time stamps (same input, same bytes); returns both paths."""
    figure.set_dpi(matplotlib.rcParams["savefig.dpi"])  # text is measured as it will be drawn
    if figure.get_layout_engine():
        for _ in range(2):  # the second settles it; then fixed, so that it is not done again for each format
            figure.get_layout_engine().execute(figure)
        figure.set_layout_engine("none")
    paths = [Path(folder) / f"{name}.{ending}" for ending in ("png", "pdf")]
    for path, metadata in zip(paths, ({"Software": None}, {"CreationDate": None, "Producer": None}), strict=True):
        with whole_file(path) as file:
            figure.savefig(file, format=path.suffix[1:], metadata=metadata)
    return paths


def figure_caption(stem: str) -> str:
    """What the figure of that file name shows; the name in words where nothing is said of it."""
    return CAPTIONS.get("heat_map" if stem.startswith("heat_map") else stem, stem.replace("_", " "))


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
    return save_figure(figure, drawing.folder, drawing.name)


def draw_all(drawings: list[Drawing], processes: int = 1) -> list[Path]:
    """All of them, with a progress bar; the paths in the order of the drawings."""
    done = Parallel(processes, return_as="generator")(delayed(draw)(drawing) for drawing in drawings)
    return [path for paths in tqdm(done, total=len(drawings), desc="figures", leave=False, delay=1) for path in paths]
