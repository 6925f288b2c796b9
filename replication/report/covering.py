"""Run the covering simulations of notebook 02 and write their tables (CSV) and figures to results/covering."""

import shutil
from pathlib import Path

import pandas as pd

from replication.data import sources
from replication.files import whole_file
from replication.report.analysis.covering import TABLES
from replication.report.figures import covering as covering_figures
from replication.report.figures.style import draw_all
from replication.theory import covering
from replication.theory.departures import LAWS, departures
from replication.theory.near_duplicates import AUGMENTATIONS, near_duplicates, radii_from_shares, take
from replication.theory.wholly_inside import wholly_inside

PER_CLASS = 300
PADDING = {"digits": 1, "cifar10": 4}  # augmented data sets; CIFAR-20 and -100 are compared without augmentation only
FINE_AND_COARSE = ("cifar10", "cifar20", "cifar100")


def write_csv(frame: pd.DataFrame, path: Path | str) -> Path:
    """Write a table as CSV, completely or not at all, and return its path."""
    with whole_file(path) as file:
        frame.to_csv(file, index=False, float_format="%.10g")
    return Path(path)


def near_duplicate_tables(
    data_root: Path | str | None = None, per_class: int = PER_CLASS, seed: int = 0
) -> dict[str, pd.DataFrame]:
    """Count near-duplicates per class of digits, and of the CIFAR sets in data_root, with a `dataset` column.

    "near_duplicates": without augmentation and with all crops and flips.  "random_crops": one random crop of each
    image. Digits and CIFAR-10 have radii of their own.  CIFAR-20 and -100 take CIFAR-10's radii, if it is there, and
    all the same number of images a class, so that their N can be compared (claim T6); `superclass` is the CIFAR-20
    class it belongs to.
    """
    parts: dict[str, list[pd.DataFrame]] = {"near_duplicates": [], "random_crops": []}
    cifar_radii = None
    for dataset in ("digits", *FINE_AND_COARSE):
        images = _training_images(dataset, data_root)
        if images is None:
            continue
        pixels, targets = take(images.images, images.targets, per_class, seed)
        radii = cifar_radii or radii_from_shares(pixels, targets)
        cifar_radii = radii if dataset == "cifar10" else cifar_radii
        padding = PADDING.get(dataset)
        plans = {"near_duplicates": AUGMENTATIONS[:2], "random_crops": AUGMENTATIONS[2:]}
        for name, augmentations in (plans if padding else {"near_duplicates": AUGMENTATIONS[:1]}).items():
            table = near_duplicates(pixels, targets, images.class_names, radii, augmentations, padding or 0, seed)
            parts[name].append(_labelled(table, dataset))
    return {name: pd.concat(frames, ignore_index=True) for name, frames in parts.items()}


def _labelled(table: pd.DataFrame, dataset: str) -> pd.DataFrame:
    fine = {name: coarse for coarse, members in sources.SUPERCLASSES for name in members.split()}
    known = {"cifar100": fine, "cifar20": {coarse: coarse for coarse in fine.values()}}.get(dataset, {})
    superclass = table["class_name"].map(known) if known else ""
    return table.assign(dataset=dataset, superclass=superclass)[["dataset", "superclass", *table.columns]]


def _training_images(dataset: str, data_root: Path | str | None) -> sources.ImageSet | None:
    if dataset != "digits" and data_root is None:
        return None
    try:
        images = sources.load(dataset, data_root)[0]
        if len(images) < sum(images.class_counts):
            raise ValueError(f"{data_root} holds a pack, which has not all of its images")
        return images
    except ValueError as error:
        print(f"{dataset} is left out: {error}")
        return None


def run(
    results: Path | str = "results", full: bool = True, data_root: Path | str | None = None, seed: int = 0
) -> covering.Check:
    """Run the battery, write results/covering/*.csv and the figures, and return the check.

    full: the committed sizes (minutes); else a reduced battery (seconds).
    """
    folder = Path(results) / "covering"
    table = covering.battery(covering.COMMITTED if full else covering.QUICK, seed)
    write_csv(table, folder / "verify.csv")
    failed = (
        departures(seed=seed)
        if full
        else departures([(law, 1) for law in LAWS], replicates=60, seed=seed, resamples=100)
    )
    write_csv(failed, folder / "departures.csv")
    inside = wholly_inside(seed=seed) if full else wholly_inside((1, 2, 6), replicates=40, seed=seed)
    write_csv(inside, folder / "wholly_inside.csv")
    for name, near in near_duplicate_tables(data_root, PER_CLASS, seed).items():
        write_csv(_with_other_sets(near, folder / f"{name}.csv"), folder / f"{name}.csv")
    draw_all(covering_figures.drawings(folder))
    return covering.check(table)


def _with_other_sets(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Add the rows of the file for data sets that are missing this time, so that no measurement is lost."""
    if not path.is_file():
        return table
    old = pd.read_csv(path)
    return pd.concat([table, old[~old["dataset"].isin(table["dataset"])]], ignore_index=True)


def prepare(results: Path | str = "results", profile: str = "smoke", data_root: Path | str | None = None) -> Path:
    """Return the folder of the covering tables, which are simulated unless present, and draw the figures.

    "smoke" works in RESULTS/smoke/covering, on a copy of the tables in RESULTS/covering or, without them, on a reduced
    battery of its own.  Other profiles need the committed sizes, in RESULTS/covering.
    """
    common, full = Path(results) / "covering", profile != "smoke"
    home = Path(results) if full else Path(results) / profile
    folder = home / "covering"
    if not full and _there(common):  # anew each time: the tables may have changed
        folder.mkdir(parents=True, exist_ok=True)
        for name in TABLES:
            shutil.copyfile(common / f"{name}.csv", folder / f"{name}.csv")
    if _there(folder) and (not full or _committed_size(folder)):
        draw_all(covering_figures.drawings(folder))
    else:
        run(home, full, data_root)
    return folder


def _there(folder: Path) -> bool:
    return all((folder / f"{name}.csv").is_file() for name in TABLES)


def _committed_size(folder: Path) -> bool:
    rows = pd.read_csv(folder / "verify.csv")
    wanted = {(case.geometry, case.d, case.volume, case.replicates) for case in covering.COMMITTED}
    return wanted <= set(zip(rows["geometry"], rows["d"], rows["N"], rows["replicates"], strict=True))
