"""Run the covering simulations of notebook 02; write and read their tables, RESULTS/covering/*.csv."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from replication.data import sources
from replication.files import whole_file
from replication.theory import covering
from replication.theory.departures import LAWS, departures
from replication.theory.near_duplicates import AUGMENTATIONS, near_duplicates, radii_from_shares, take
from replication.theory.wholly_inside import wholly_inside

TABLES = ("verify", "departures", "near_duplicates", "random_crops", "wholly_inside")
PER_CLASS = 300
PADDING = {"digits": 1, "cifar10": 4}  # augmented data sets; CIFAR-20 and -100 are compared without augmentation only
FINE = {name: coarse for coarse, members in sources.SUPERCLASSES for name in members.split()}
SUPERCLASSES = {"cifar100": FINE, "cifar20": {coarse: coarse for coarse in FINE.values()}}  # by class


def read_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Read the tables that are in a folder, by name; the name of a class is text, even if it is "nan" or a digit."""
    paths = {name: folder / f"{name}.csv" for name in TABLES}
    text: dict[str, Any] = dict(dtype={"class_name": str}, keep_default_na=False, na_values=[""])
    return {name: pd.read_csv(path, **text) for name, path in paths.items() if path.is_file()}


def write_csv(frame: pd.DataFrame, path: Path | str) -> Path:
    """Write a table as CSV, completely or not at all, and return its path."""
    with whole_file(path) as file:
        frame.to_csv(file, index=False, float_format="%.10g")
    return Path(path)


def near_duplicates_of_all(data_root: Path | str | None = None, seed: int = 0) -> pd.DataFrame:
    """Count near-duplicates per class of digits, and of the CIFAR sets in data_root, with a `dataset` column.

    Digits and the first CIFAR set have radii of their own.  The other CIFAR sets take those, and all the same number of
    images a class, so that their N can be compared (claim T6); `superclass` is the CIFAR-20 class it belongs to.
    """
    frames, radii = [], {}
    for dataset in ("digits", "cifar10", "cifar20", "cifar100"):
        images = _training_images(dataset, data_root)
        if images is None:
            continue
        pixels, targets = take(images.images, images.targets, PER_CLASS, seed)
        kind = dataset if dataset == "digits" else "cifar"
        if kind not in radii:
            radii[kind] = radii_from_shares(pixels, targets)
        augmentations, padding = (AUGMENTATIONS, PADDING[dataset]) if dataset in PADDING else (AUGMENTATIONS[:1], 0)
        table = near_duplicates(pixels, targets, images.class_names, radii[kind], augmentations, padding, seed)
        coarse = SUPERCLASSES.get(dataset, {})
        superclass = table["class_name"].map(coarse) if coarse else ""
        frames.append(table.assign(dataset=dataset, superclass=superclass)[["dataset", "superclass", *table.columns]])
    return pd.concat(frames, ignore_index=True)


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
    """Run the battery, write RESULTS/covering/*.csv, and return the check.

    full: the committed sizes (minutes); else a reduced battery (seconds).
    """
    folder = Path(results) / "covering"
    small: dict[str, Any] = dict(cases=[(law, 1) for law in LAWS], replicates=60, resamples=100)
    table = covering.battery(covering.COMMITTED if full else covering.QUICK, seed)
    write_csv(table, folder / "verify.csv")
    write_csv(departures(seed=seed, **({} if full else small)), folder / "departures.csv")
    inside = wholly_inside(seed=seed) if full else wholly_inside((1, 2, 6), replicates=40, seed=seed)
    write_csv(inside, folder / "wholly_inside.csv")
    near = near_duplicates_of_all(data_root, seed)
    random = near["augmentation"] == AUGMENTATIONS[2]
    for path, rows in ((folder / "near_duplicates.csv", near[~random]), (folder / "random_crops.csv", near[random])):
        write_csv(_with_other_sets(rows, path), path)
    return covering.check(table)


def _with_other_sets(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Keep the rows of data sets that are not at hand this time, so that no measurement is lost."""
    if not path.is_file():
        return table
    old = pd.read_csv(path)
    return pd.concat([table, old[~old["dataset"].isin(table["dataset"])]], ignore_index=True)


def prepare(results: Path | str = "results", profile: str = "smoke", data_root: Path | str | None = None) -> Path:
    """Return the folder of the covering tables, which are simulated unless present.

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
    if not _there(folder) or (full and not _committed_size(folder)):
        run(home, full, data_root)
    return folder


def _there(folder: Path) -> bool:
    return len(read_tables(folder)) == len(TABLES)


def _committed_size(folder: Path) -> bool:
    rows = pd.read_csv(folder / "verify.csv")
    wanted = {(case.geometry, case.d, case.volume, case.replicates) for case in covering.COMMITTED}
    return wanted <= set(zip(rows["geometry"], rows["d"], rows["N"], rows["replicates"], strict=True))
