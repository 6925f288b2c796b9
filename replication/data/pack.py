"""Write and read packs: one file with the training images that a list of runs needs, and the test set.

A pack is for a machine to which few bytes can be sent, such as a GPU that is lent for minutes.

A seed keeps the images of a class with the lowest hashes (`long_tail.keep_indices`).  So the images of a seed at one
imbalance factor include those of every larger factor, and a seed selects the same images from a pack as from the
whole set.

The file is a zip archive without compression: `about.json`, the labels of each data set, and lossless WebP mosaics of
the images of each class.  On CIFAR these take 0.52 of the raw size, PNG mosaics 0.66.
"""

import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from replication.data.image_files import UNREADABLE
from replication.data.image_set import ImageSet
from replication.files import whole_file

PACKS = {"cifar10": "cifar10", "cifar20": "cifar100", "cifar100": "cifar100", "fashion_mnist": "fashion_mnist"}
PER_ROW = 50  # images in a row of a mosaic
# Method 6 with quality 100 saves 2 % in five times the time.
WEBP: dict[str, Any] = dict(format="WEBP", lossless=True, method=4, quality=80)
BROKEN = (*UNREADABLE, KeyError, TypeError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True)
class PackedSet(ImageSet):
    """The images of a training set that some runs need, with the class counts and fingerprint of the whole set.

    `runs` are pairs (imbalance factor, seed); a pair also stands for all larger factors with its seed.  See
    `write_pack` for an example.
    """

    whole_fingerprint: str = ""
    whole_class_counts: tuple[int, ...] = ()
    runs: tuple[tuple[float, int], ...] = ()
    path: str = ""  # of the pack, for the error message

    @property
    def class_counts(self) -> list[int]:
        return list(self.whole_class_counts)

    @cached_property
    def fingerprint(self) -> str:
        return self.whole_fingerprint

    def long_tailed_indices(self, imbalance_factor: float | str, seed: int) -> np.ndarray:
        """As in ImageSet, but raise ValueError if the pack lacks images that this run needs."""
        factor = 1.0 if isinstance(imbalance_factor, str) else imbalance_factor  # "natural" needs these and more
        if not any(seed == held and factor >= smallest for smallest, held in self.runs):
            raise ValueError(
                f"data_root must hold the images of imbalance_factor {imbalance_factor} and seed {seed}; {self.path} "
                f"holds {runs_label(self.runs)} (smallest factor:seeds): pack them too, or name the whole data set"
            )
        return super().long_tailed_indices(imbalance_factor, seed)


def pack_path(folder: Path | str, dataset: str) -> Path:
    """Return the file that holds a data set, FOLDER/<name>.pack; cifar20 and cifar100 share one, as they share images.

    >>> pack_path("packs", "cifar20").name
    'cifar100.pack'
    """
    if dataset not in PACKS:
        raise ValueError(f"dataset must be one of {', '.join(PACKS)} for a pack, got {dataset!r}")
    return Path(folder) / f"{PACKS[dataset]}.pack"


def runs_label(runs: Iterable[tuple[float, int]]) -> str:
    """Write runs in the notation of the command line.

    >>> runs_label([(50, 1), (100, 0), (50, 2)])
    '50:1,2 100:0'
    """
    seeds: dict[float, list[int]] = {}
    for imbalance_factor, seed in sorted(set(runs)):
        seeds.setdefault(imbalance_factor, []).append(seed)
    return " ".join(f"{factor:g}:{','.join(map(str, held))}" for factor, held in seeds.items())


def write_pack(
    path: Path | str,
    sets: Mapping[str, tuple[ImageSet, ImageSet]],
    runs: Iterable[tuple[float, int]],
    max_bytes: float = float("inf"),
) -> int:
    """Write the images that `runs` need, and the test images, to one file; return the number of training images in it.

    Args:
        path: the file; `pack_path` gives the name that `sources.load` looks for.
        sets: training and test set by the name of the data set.  Several names share the same images in the same order
            and differ in their labels, as cifar100 and cifar20 do.
        runs: pairs (imbalance factor, seed), the same for each data set.
        max_bytes: the largest size allowed; a larger pack is not written.

    Raises:
        ValueError: no runs, a run that the sets do not allow, data sets with different images, or too large a pack.

    >>> import tempfile
    >>> data = ImageSet(np.arange(12, dtype=np.uint8).reshape(12, 1, 1, 1), np.arange(12) % 2, ("a", "b"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     print(write_pack(pack_path(folder, "cifar10"), {"cifar10": (data, data)}, [(3, 0)]))
    ...     train, _ = read_pack(pack_path(folder, "cifar10"), "cifar10")
    8
    >>> train.class_counts, train.long_tailed(3, seed=0).class_counts
    ([6, 6], [6, 2])
    """
    runs = sorted(set(runs))
    if not runs:
        raise ValueError("runs must hold at least one pair of imbalance factor and seed, got none")
    train, test = next(iter(sets.values()))
    for a, b in sets.values():
        if not (np.array_equal(a.images, train.images) and np.array_equal(b.images, test.images)):
            raise ValueError(f"sets must share their images in one pack, those of {', '.join(sets)} differ")
    kept = np.unique(np.concatenate([data.long_tailed_indices(*run) for data, _ in sets.values() for run in runs]))
    members = {
        "about.json": json.dumps({name: _describe(*pair, kept, runs) for name, pair in sets.items()}, indent=1).encode()
    }
    for name, (a, b) in sets.items():
        members |= {f"{name}/train.npy": _npy(a.targets[kept]), f"{name}/test.npy": _npy(b.targets)}
    members |= _mosaics("train", train.subset(kept)) | _mosaics("test", test)
    size = sum(map(len, members.values()))
    if size > max_bytes:
        limit, needed = max_bytes / 2**20, size / 2**20
        raise ValueError(f"the pack must be at most {limit:g} MiB, these runs need {needed:.1f}: leave out some")
    with whole_file(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # its fixed date makes equal packs equal files
    return len(kept)


def _describe(train: ImageSet, test: ImageSet, kept: np.ndarray, runs: list[tuple[float, int]]) -> dict[str, Any]:
    return dict(
        class_names=train.class_names,
        shape=train.images.shape[1:],
        padding=train.padding,
        flip=train.flip,
        runs=runs,
        whole_class_counts=train.class_counts,
        whole_fingerprint=train.fingerprint,
        train_fingerprint=train.subset(kept).fingerprint,
        test_fingerprint=test.fingerprint,
    )


def read_pack(path: Path | str, dataset: str) -> tuple[PackedSet, ImageSet]:
    """Read the training images that a pack holds of a data set, and the test set.

    Raises:
        ValueError: the pack is truncated or altered, or was written without this data set.

    >>> read_pack("nowhere.pack", "cifar10")
    Traceback (most recent call last):
    ...
    ValueError: nowhere.pack is truncated or altered ([Errno 2] No such file or directory: 'nowhere.pack'): pack it anew
    """
    try:
        with zipfile.ZipFile(path) as archive:
            about = json.loads(archive.read("about.json"))
            names = list(about)
            sets = [_read_set(archive, split, about, dataset) for split in ("train", "test") if dataset in about]
    except BROKEN as error:
        raise ValueError(f"{path} is truncated or altered ({error}): pack it anew") from error
    if not sets:
        raise ValueError(f"data_root must hold {dataset}, but {path} was packed for {', '.join(names)}: pack it anew")
    (train, test), held = sets, about[dataset]
    images = train.images, train.targets, train.class_names, train.padding, train.flip
    runs = tuple((factor, seed) for factor, seed in held["runs"])
    return PackedSet(*images, held["whole_fingerprint"], tuple(held["whole_class_counts"]), runs, str(path)), test


def _read_set(archive: zipfile.ZipFile, split: str, about: dict[str, Any], dataset: str) -> ImageSet:
    """Read the images of a split in the order in which they were packed, with their labels in one data set."""
    held, first = about[dataset], next(iter(about))
    labels = _load_npy(archive.read(f"{first}/{split}.npy"))  # the mosaics follow the first data set's classes
    contents = [archive.read(f"{split}/{label:03d}.webp") for label in range(len(about[first]["class_names"]))]
    counts = np.bincount(labels, minlength=len(contents))
    with ThreadPoolExecutor() as pool:
        tiles = list(pool.map(lambda content, n: _from_mosaic(content, n, held["shape"]), contents, counts))
    images = np.empty((len(labels), *held["shape"]), np.uint8)
    images[np.argsort(labels, kind="stable")] = np.concatenate(tiles)
    targets = _load_npy(archive.read(f"{dataset}/{split}.npy")).astype(np.int64)
    data = ImageSet(images, targets, tuple(held["class_names"]), held["padding"], held["flip"])
    if data.fingerprint != held[f"{split}_fingerprint"]:
        raise ValueError(f"fingerprint of its {split} images {data.fingerprint}, not {held[f'{split}_fingerprint']}")
    return data


def _mosaics(split: str, data: ImageSet) -> dict[str, bytes]:
    """Return the WebP mosaic of each class by its name in the archive."""
    with ThreadPoolExecutor() as pool:
        encoded = pool.map(_to_mosaic, (data.images[data.targets == k] for k in range(len(data.class_names))))
        return {f"{split}/{label:03d}.webp": content for label, content in enumerate(encoded)}


def _to_mosaic(images: np.ndarray) -> bytes:
    n, height, width, _ = images.shape
    rows = -(-n // PER_ROW)
    full = np.zeros((rows * PER_ROW, height, width, 3), np.uint8)
    full[:n] = images  # grey images give three equal channels
    pixels = full.reshape(rows, PER_ROW, height, width, 3).swapaxes(1, 2).reshape(rows * height, PER_ROW * width, 3)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, **WEBP)
    return file.getvalue()


def _from_mosaic(content: bytes, n: int, shape: tuple[int, int, int]) -> np.ndarray:
    height, width, channels = shape
    with Image.open(io.BytesIO(content)) as image:
        pixels = np.asarray(image.convert("RGB"))
    tiles = pixels.reshape(-1, height, PER_ROW, width, 3).swapaxes(1, 2)  # (rows, PER_ROW, height, width, 3)
    return tiles.reshape(-1, height, width, 3)[:n, ..., :channels]


def _npy(targets: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, targets.astype(np.uint16))
    return file.getvalue()


def _load_npy(content: bytes) -> np.ndarray:
    return np.asarray(np.load(io.BytesIO(content), allow_pickle=False))
