"""Load digits, CIFAR-10, -20, -100, Fashion-MNIST or a folder of images as an ImageSet."""

import gzip
import pickle
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from replication.data.folder import decode_folder
from replication.data.image_files import split_folders
from replication.data.image_set import ImageSet
from replication.data.long_tail import keep_indices
from replication.data.pack import PACKS, pack_path, read_pack

# of torchvision, of files without a folder, of Debian's package
FASHION_FOLDERS = ("FashionMNIST/raw", "", "/usr/share/datasets/fashion-mnist")
CIFAR_SIZES = {"cifar10": (10, 5000, 1000), "cifar100": (100, 500, 100)}  # classes, images a class in train and test
SUPERCLASSES = (  # CIFAR-100's 20 coarse labels, in their order, and the fine classes of each
    ("aquatic_mammals", "beaver dolphin otter seal whale"),
    ("fish", "aquarium_fish flatfish ray shark trout"),
    ("flowers", "orchid poppy rose sunflower tulip"),
    ("food_containers", "bottle bowl can cup plate"),
    ("fruit_and_vegetables", "apple mushroom orange pear sweet_pepper"),
    ("household_electrical_devices", "clock keyboard lamp telephone television"),
    ("household_furniture", "bed chair couch table wardrobe"),
    ("insects", "bee beetle butterfly caterpillar cockroach"),
    ("large_carnivores", "bear leopard lion tiger wolf"),
    ("large_man-made_outdoor_things", "bridge castle house road skyscraper"),
    ("large_natural_outdoor_scenes", "cloud forest mountain plain sea"),
    ("large_omnivores_and_herbivores", "camel cattle chimpanzee elephant kangaroo"),
    ("medium_mammals", "fox porcupine possum raccoon skunk"),
    ("non-insect_invertebrates", "crab lobster snail spider worm"),
    ("people", "baby boy girl man woman"),
    ("reptiles", "crocodile dinosaur lizard snake turtle"),
    ("small_mammals", "hamster mouse rabbit shrew squirrel"),
    ("trees", "maple_tree oak_tree palm_tree pine_tree willow_tree"),
    ("vehicles_1", "bicycle bus motorcycle pickup_truck train"),
    ("vehicles_2", "lawn_mower rocket streetcar tank tractor"),
)


def load(dataset: str, data_root: Path | str | None = None, download: bool = False) -> tuple[ImageSet, ImageSet]:
    """Load the training and the test set of a data set by name.

    Args:
        dataset: digits (scikit-learn's, needs no file), cifar10, cifar20, cifar100, fashion_mnist or folder
            (train/<class>/* and test/<class>/* or val/<class>/*; see `image_files` for which files are taken).
        data_root: the folder that holds the data: for CIFAR torchvision's archive or a class folder tree (as such, or
            in a subfolder of the data set's name; cifar20 is cifar100 with its coarse labels).  A pack there
            (`replication.data.pack`) comes first.
        download: let torchvision fetch CIFAR or Fashion-MNIST into data_root first (its checksums are verified).

    Raises:
        ValueError: unknown data set, or data that are missing, truncated or altered; the message names the path and
            the cure.

    >>> train, test = load("digits")
    >>> train.images.shape, len(test)
    ((1297, 8, 8, 1), 500)
    """
    if dataset not in READERS:
        raise ValueError(f"dataset must be one of {', '.join(READERS)}, got {dataset!r}")
    if dataset == "digits":
        if download:
            raise ValueError("download must be off for dataset digits: scikit-learn ships it")
        return _digits()
    if data_root is None:
        raise ValueError(
            f"data_root must be given for dataset {dataset}: the folder that holds its files (--data-root)"
        )
    root = Path(data_root).expanduser()
    if download:
        _download(dataset, root)
    if not root.is_dir():
        raise ValueError(f"data_root must be a folder that exists, got {str(root)!r}")
    if dataset in PACKS and pack_path(root, dataset).is_file():
        return read_pack(pack_path(root, dataset), dataset)
    return READERS[dataset](root)


def _digits() -> tuple[ImageSet, ImageSet]:
    """Load 1797 grey 8x8 digits; the 50 of each class with the lowest hash of their pixels are the test set."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = (data.images * 15).astype(np.uint8)[..., None]  # 0 .. 16 -> 0 .. 240
    everything = ImageSet(images, data.target.astype(np.int64), tuple("0123456789"), padding=1, flip=False)
    test = keep_indices(images, everything.targets, [50] * 10, seed=0)
    train = np.setdiff1d(np.arange(len(images)), test)
    return everything.subset(train), everything.subset(test)


def _download(dataset: str, root: Path) -> None:
    from torchvision import datasets

    names = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "cifar20": "CIFAR100", "fashion_mnist": "FashionMNIST"}
    if dataset not in names:
        raise ValueError(f"download must be off for dataset {dataset}: there is nothing to fetch")
    kind = getattr(datasets, names[dataset])
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root, names[dataset]):
            if dataset == "fashion_mnist":
                kind(root, download=True)
            elif not (root / kind.base_folder).is_dir():  # unpacked by `_unpack`, which torchvision does in place
                datasets.utils.download_url(kind.url, root, kind.filename, kind.tgz_md5)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"download of {dataset} into {root} failed: {error}; fetch it by hand or try again") from error


def _locked(root: Path, name: str) -> FileLock:
    """Return a lock that other processes wait for, and that is released if this process dies."""
    return FileLock(root / f".{name}.lock")


def _cifar(dataset: str, root: Path) -> tuple[ImageSet, ImageSet]:
    from torchvision.datasets import CIFAR10, CIFAR100

    kind = {"cifar10": CIFAR10, "cifar100": CIFAR100}[dataset]
    archive = root / kind.filename
    if (root / kind.base_folder).is_dir() or archive.is_file():
        _unpack(kind, archive)
        return _cifar_archive(kind, root, True), _cifar_archive(kind, root, False)
    for tree in (root / dataset, root):
        if (tree / "train").is_dir():
            sets = _folder(tree)
            _check_cifar(dataset, tree, sets)
            return sets
    raise ValueError(
        f"data_root must hold {kind.filename}, {kind.base_folder}/, a tree {dataset}/train/<class>/*.png or "
        f"{dataset}.pack for dataset {dataset}; {root} holds none of them: name another folder, or add --download"
    )


def _unpack(kind: Any, archive: Path) -> None:
    """Unpack torchvision's archive, if it is not unpacked yet: completely or not at all, in one process at a time."""
    from torchvision.datasets.utils import check_integrity, extract_archive

    folder, part = archive.parent / kind.base_folder, archive.parent / f".{kind.base_folder}.part"
    if folder.is_dir():
        return
    try:
        with _locked(archive.parent, kind.__name__):
            if folder.is_dir():  # another process has unpacked it meanwhile
                return
            if not check_integrity(archive, kind.tgz_md5):
                raise ValueError(
                    f"{archive} is truncated or altered (its MD5 is not {kind.tgz_md5}): delete it and fetch it anew"
                )
            shutil.rmtree(part, ignore_errors=True)  # what a killed process left
            extract_archive(archive, part)
            (part / kind.base_folder).rename(folder)
            part.rmdir()
    except (OSError, EOFError, tarfile.TarError) as error:
        raise ValueError(f"{archive} cannot be unpacked: {error}") from error


def _cifar_archive(kind: Any, root: Path, train: bool) -> ImageSet:
    """Read a split of the unpacked archive; every checksum is verified before anything is unpickled."""
    try:
        data = kind(root, train=train)
    except (RuntimeError, OSError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"{root / kind.base_folder} is truncated or altered ({error}): delete it, keep or fetch {kind.filename}"
        ) from error
    return ImageSet(data.data, np.asarray(data.targets, dtype=np.int64), tuple(data.classes))


def _check_cifar(dataset: str, tree: Path, sets: tuple[ImageSet, ImageSet]) -> None:
    classes, *sizes = CIFAR_SIZES[dataset]
    for split, data, size in zip(("train", "test"), sets, sizes, strict=True):
        if data.class_counts != [size] * classes or data.images.shape[1:] != (32, 32, 3):
            raise ValueError(
                f"{tree / split} is not {dataset}: it must hold {classes} classes of {size} images, 32x32 RGB; it has "
                f"{len(data.class_names)} classes of {min(data.class_counts)} to {max(data.class_counts)} images, "
                f"{'x'.join(map(str, data.images.shape[1:]))}: unpack it anew"
            )
        known = FINGERPRINTS.get((dataset, split))
        if known and data.fingerprint != known:
            raise ValueError(f"{tree / split} is altered: fingerprint {data.fingerprint}, not {known}: unpack it anew")


def _cifar20(root: Path) -> tuple[ImageSet, ImageSet]:
    """CIFAR-100 with its 20 coarse labels, by the fine-to-coarse table."""
    coarse = {fine: k for k, (_, members) in enumerate(SUPERCLASSES) for fine in members.split()}
    names = tuple(name for name, _ in SUPERCLASSES)
    train, test = _cifar("cifar100", root)
    table = np.array([coarse[name] for name in train.class_names], dtype=np.int64)
    train = replace(train, targets=table[train.targets], class_names=names)
    return train, replace(test, targets=table[test.targets], class_names=names)


def _fashion_mnist(root: Path) -> tuple[ImageSet, ImageSet]:
    """Read Fashion-MNIST's four .gz files, from torchvision's folder or Debian's (package dataset-fashion-mnist)."""
    from torchvision.datasets import FashionMNIST
    from torchvision.datasets.utils import check_integrity

    folders = [root / folder for folder in FASHION_FOLDERS]
    names = [name for name, _ in FashionMNIST.resources]
    folder = next((f for f in folders if all((f / name).is_file() for name in names)), None)
    if folder is None:
        raise ValueError(
            f"data_root must hold {', '.join(names)} for dataset fashion_mnist (looked in "
            f"{', '.join(map(str, folders))}): add --download, or install Debian's package dataset-fashion-mnist"
        )
    for name, md5 in FashionMNIST.resources:
        if not check_integrity(folder / name, md5):
            raise ValueError(f"{folder / name} is truncated or altered (its MD5 is not {md5}): fetch it anew")
    read = [np.frombuffer(gzip.decompress((folder / name).read_bytes()), np.uint8) for name in names]
    train, test = (
        ImageSet(pixels[16:].reshape(-1, 28, 28, 1), labels[8:].astype(np.int64), tuple(FashionMNIST.classes))
        for pixels, labels in (read[:2], read[2:])  # headers: 16 bytes before images, 8 before labels
    )
    return train, test


def _folder(root: Path) -> tuple[ImageSet, ImageSet]:
    """Read train/<class>/* and test/<class>/*, classes in alphabetical order, all images of one size."""
    train, test = (decode_folder(folder) for folder in split_folders(root))
    if train.class_names != test.class_names:
        odd = sorted(set(train.class_names) ^ set(test.class_names))
        raise ValueError(f"{root}: train and test must hold the same classes; only one of them holds {', '.join(odd)}")
    if train.images.shape[1:] != test.images.shape[1:]:
        raise ValueError(
            f"{root}: train and test images must have one size, got {train.images.shape[1:]}, {test.images.shape[1:]}"
        )
    return train, test


FINGERPRINTS = {  # of the original images, the same from the archive and from a tree of lossless PNGs
    ("cifar10", "train"): "6ca3f9eff1fd1e6a",
    ("cifar10", "test"): "f81e3b6dbc7e0e0c",
    ("cifar100", "train"): "26ba7ca9274b7cc8",
    ("cifar100", "test"): "d55c34ab19236690",
}
READERS = {
    "digits": lambda root: _digits(),
    "cifar10": lambda root: _cifar("cifar10", root),
    "cifar20": _cifar20,
    "cifar100": lambda root: _cifar("cifar100", root),
    "fashion_mnist": _fashion_mnist,
    "folder": _folder,
}
