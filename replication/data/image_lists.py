"""List the files of large image sets: iNaturalist 2017 and 2018, ILSVRC 2012, folders and lists (Section 5.4).

Nothing is decoded here; see `large_images`.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from replication.data.image_files import list_class_folders, split_folders

CLASSES = {"inat2017": 5089, "inat2018": 8142, "ilsvrc2012": 1000}  # Table 1
DATASETS = (*CLASSES, "folder")


@dataclass(frozen=True)
class ImageFiles:
    """The files of a split, (n,) bytes, their targets, (n,) int64, and a name for each class.

    >>> ImageFiles(np.array([b"1.png", b"2.png"]), np.array([1, 1]), ("cat", "dog")).class_counts
    [0, 2]
    """

    paths: np.ndarray
    targets: np.ndarray
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def class_counts(self) -> list[int]:
        """Images of each class, in the order of `class_names`."""
        return [int(n) for n in np.bincount(self.targets, minlength=len(self.class_names))]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (first 16 hexadecimal digits) of file names and classes, in any order; the pixels are not read."""
        lines = sorted(
            f"{t}\0{os.path.basename(os.fsdecode(p))}" for p, t in zip(self.paths, self.targets, strict=True)
        )
        return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:16]


def list_images(dataset: str, data_root: Path | str | None) -> tuple[ImageFiles, ImageFiles]:
    """List the training and the validation files of a data set.

    Args:
        dataset: inat2017, inat2018, ilsvrc2012 or folder.
        data_root: the folder that holds it.  iNaturalist: train2018.json and val2018.json beside train_val2018/ (the
            competition's layout; 2018/ as torchvision unpacks it will do), or torchvision's INaturalist in train/ and
            val/.  ILSVRC: what torchvision's ImageNet reads, or train/ and val/ with a folder a class.  folder: train/
            and test/ (or val/) with a folder a class, or lists of files, `*train.txt` and `*test.txt` (or `*val.txt`)
            with a path, relative to data_root, and a class number in each line, as ImageNet-LT and Places-LT have them.

    Raises:
        ValueError: files are missing or inconsistent; the message names the path and the cure.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as root:
    ...     for place in ("train/cat", "train/dog", "val/cat", "val/dog"):
    ...         (Path(root) / place).mkdir(parents=True)
    ...         (Path(root) / place / "1.png").touch()
    ...     train, val = list_images("folder", root)
    >>> train.class_names, train.class_counts
    (('cat', 'dog'), [1, 1])
    """
    if dataset not in DATASETS:
        raise ValueError(f"dataset must be one of {', '.join(DATASETS)}, got {dataset!r}")
    if data_root is None or not Path(data_root).expanduser().is_dir():
        raise ValueError(f"data_root must be a folder that exists, got {data_root and str(data_root)!r} (--data-root)")
    root = Path(data_root).expanduser()
    try:
        if dataset == "folder":
            train, test = _folder(root)
        elif dataset == "ilsvrc2012":
            train, test = _imagenet(root)
        else:
            train, test = _inaturalist(root, dataset[-4:])
    except (RuntimeError, FileNotFoundError) as error:  # torchvision's
        raise ValueError(f"{root} does not hold {dataset} as torchvision reads it: {error}") from error
    _check(dataset, root, train, test)
    return train, test


def _check(dataset: str, root: Path, train: ImageFiles, test: ImageFiles) -> None:
    if train.class_names != test.class_names:
        odd = sorted(set(train.class_names) ^ set(test.class_names))[:5] or ["none, but their order"]
        raise ValueError(f"{root}: training and validation classes must be the same; they differ in {', '.join(odd)}")
    if len(train.class_names) < 2 or min(train.class_counts) < 1 or not len(test):
        least = train.class_names[int(np.argmin(train.class_counts))] if train.class_names else "none"
        raise ValueError(
            f"{root} must hold two classes or more, each with training images, and validation images; it holds "
            f"{len(train.class_names)} classes, {len(train)} and {len(test)} images, fewest in class {least}"
        )
    if len(train.class_names) != CLASSES.get(dataset, len(train.class_names)):
        warnings.warn(f"{root} holds {len(train.class_names)} classes, {dataset} has {CLASSES[dataset]}", stacklevel=3)


def _files(paths: Iterable[str], targets: Iterable[int], class_names: Iterable[str]) -> ImageFiles:
    # bytes in one array, not a list of str: workers share it without copying its pages
    return ImageFiles(
        np.array([os.fsencode(p) for p in paths]), np.array(list(targets), dtype=np.int64), tuple(class_names)
    )


def _class_folders(root: Path, names: tuple[str, ...]) -> tuple[ImageFiles, ImageFiles]:
    listed = [list_class_folders(folder) for folder in split_folders(root, names)]
    train, test = (_files((p for p, _ in images), (k for _, k in images), classes) for classes, images in listed)
    return train, test


def _folder(root: Path) -> tuple[ImageFiles, ImageFiles]:
    train = _list_file(root, "train")
    test = _list_file(root, "test") or _list_file(root, "val")
    if train is None or test is None:
        return _class_folders(root, ("test", "val"))
    (paths, targets), (test_paths, test_targets) = _listed(root, train), _listed(root, test)
    classes = 1 + max(*targets, *test_targets)
    if classes > len(paths):
        raise ValueError(f"{train} must hold images of each class, but names {classes} classes and fewer images")
    names = [str(label) for label in range(classes)]
    return _files(paths, targets, names), _files(test_paths, test_targets, names)


def _list_file(root: Path, split: str) -> Path | None:
    found = sorted(root.glob(f"*{split}.txt"))
    if len(found) > 1:
        raise ValueError(f"data_root must hold one list *{split}.txt, got {', '.join(path.name for path in found)}")
    return found[0] if found else None


def _listed(root: Path, path: Path) -> tuple[list[str], list[int]]:
    """Return the paths and class numbers of a list of files."""
    paths, targets = [], []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except ValueError as error:
        raise ValueError(f"{path} must be a text file in UTF-8 ({error})") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            place, *label = line.rsplit(maxsplit=1)
            if not (label and label[0].isascii() and label[0].isdigit() and len(label[0]) < 10):
                raise ValueError(f"{path}, line {number}, must hold a path and a class number, got {line[:80]!r}")
            paths.append(os.path.join(root, place.strip()))
            targets.append(int(label[0]))
    if not paths:
        raise ValueError(f"{path} must hold a path and a class number in each line, it is empty")
    if not os.path.isfile(paths[0]):
        raise ValueError(f"the paths in {path} must be relative to {root}; {paths[0]} is not there")
    return paths, targets


def _imagenet(root: Path) -> tuple[ImageFiles, ImageFiles]:
    from torchvision import datasets

    if not any((root / name).exists() for name in ("meta.bin", "ILSVRC2012_devkit_t12.tar.gz")):
        return _class_folders(root, ("val", "test"))
    sets = (datasets.ImageNet(root, split) for split in ("train", "val"))
    train, val = (_files([p for p, _ in data.samples], data.targets, data.wnids) for data in sets)
    return train, val


def _inaturalist(root: Path, year: str) -> tuple[ImageFiles, ImageFiles]:
    if (root / f"train{year}.json").is_file():
        return _competition(root, year, "train"), _competition(root, year, "val")
    if not (root / "train" / year).is_dir():
        raise ValueError(
            f"data_root must hold train{year}.json, val{year}.json and their images for inat{year}, or train/{year}/ "
            f"and val/{year}/ in torchvision's layout; {root} holds neither"
        )
    from torchvision import datasets

    sets = []
    for split in ("train", "val"):
        data = datasets.INaturalist(root / split, version=year)
        names = [data.category_name("full", k) for k in range(len(data.all_categories))]
        sets.append(
            _files([os.path.join(data.root, names[k], f) for k, f in data.index], [k for k, _ in data.index], names)
        )
    train, val = sets
    return train, val


def _competition(root: Path, year: str, split: str) -> ImageFiles:
    """Read the competition's JSON: images (id, file_name), annotations (image_id, category_id), categories."""
    path = root / f"{split}{year}.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
        places = {image["id"]: image["file_name"].split("/", 1) for image in data["images"]}
        categories = sorted((category["id"], str(category["name"])) for category in data["categories"])
        label = {number: k for k, (number, _) in enumerate(categories)}
        targets = [label[a["category_id"]] for a in data["annotations"]]
        files = [(top, rest) for top, rest in (places[a["image_id"]] for a in data["annotations"])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} cannot be used as the competition's JSON ({type(error).__name__}: {error})"
        ) from error
    if not files:
        raise ValueError(f"{path} holds no annotations")
    top, _ = files[0]  # train_val2018, which torchvision renames to 2018
    place = next((folder for folder in (top, year) if (root / folder).is_dir()), None)
    if place is None:
        raise ValueError(f"{root} must hold the images of {path.name} in {top}/ or {year}/; it holds neither")
    return _files([str(root / place / rest) for _, rest in files], targets, (name for _, name in categories))
