"""The covering run of notebook 02: verify.csv, departures.csv, near_duplicates.csv and the figures, under results/covering."""

import os
from pathlib import Path

import pandas as pd

from replication.data import sources
from replication.report import covering_figures
from replication.theory import covering
from replication.theory.departures import LAWS, departures
from replication.theory.near_duplicates import near_duplicates, radii_from_shares, take

PER_CLASS = 300
AUGMENTED = {"digits": 1, "cifar10": 4}  # data set: padding; the CIFAR sets are compared without augmentation
FINE_AND_COARSE = ("cifar10", "cifar20", "cifar100")


def write_csv(frame: pd.DataFrame, path: Path | str) -> Path:
    """Write beside the final name and rename: an interrupted run leaves no half-written table."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        frame.to_csv(part, index=False, float_format="%.10g")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def near_duplicate_table(data_root: Path | str | None = None, per_class: int = PER_CLASS, seed: int = 0) -> pd.DataFrame:
    """Near-duplicates per class of digits, and of the CIFAR sets that data_root holds, with a `dataset` column.

    Digits and CIFAR-10 have radii of their own and the paper's augmentation (digits: padding 1).  CIFAR-10, -20 and -100
    share CIFAR-10's radii and the number of images a class, so that their N can be compared (claim T6).
    """
    frames, cifar_radii = [], None
    for dataset in ("digits", *FINE_AND_COARSE):
        images = _training_images(dataset, data_root)
        if images is None:
            continue
        pixels, targets = take(images.images, images.targets, per_class, seed)
        radii = cifar_radii or radii_from_shares(pixels, targets)
        cifar_radii = radii if dataset == "cifar10" else cifar_radii
        table = near_duplicates(pixels, targets, images.class_names, radii, AUGMENTED.get(dataset, 0), seed)
        frames.append(table.assign(dataset=dataset)[["dataset", *table.columns]])
    return pd.concat(frames, ignore_index=True)


def _training_images(dataset: str, data_root: Path | str | None) -> sources.ImageSet | None:
    if dataset != "digits" and data_root is None:
        return None
    try:
        return sources.load(dataset, data_root)[0]
    except ValueError as error:
        print(f"{dataset} is left out: {error}")
        return None


def run(results: Path | str = "results", full: bool = True, data_root: Path | str | None = None, seed: int = 0) -> covering.Check:
    """Run the battery, write results/covering/*.csv and the figures, and return the check.

    full: the committed sizes (minutes); else a reduced battery (seconds).
    """
    folder = Path(results) / "covering"
    table = covering.battery(covering.COMMITTED if full else covering.QUICK, seed)
    write_csv(table, folder / "verify.csv")
    failed = departures(seed=seed) if full else departures([(law, 1) for law in LAWS], replicates=60, seed=seed)
    write_csv(failed, folder / "departures.csv")
    write_csv(near_duplicate_table(data_root, PER_CLASS, seed), folder / "near_duplicates.csv")
    covering_figures.save_all(folder)
    return covering.check(table)
