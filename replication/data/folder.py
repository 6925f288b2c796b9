"""Decode a folder of class folders into one ImageSet, and keep the result beside the folder."""

import hashlib
import os
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from replication.data.image_files import UNREADABLE, list_class_folders, open_image, stored_size
from replication.data.image_set import ImageSet
from replication.files import whole_file

Result = TypeVar("Result")
READER = 2  # raise it when the same files would decode to other pixels, so that older copies are not used


def decode_folder(split: Path) -> ImageSet:
    """Decode a folder of class folders once; the result is kept beside it until a file's name, size or time changes.

    Raises:
        ValueError: no class folder, a class without images, an image that cannot be read or has another size than the
            first, or more pixels than this machine has memory for.

    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as root:
    ...     (Path(root) / "train" / "cat").mkdir(parents=True)
    ...     Image.new("L", (5, 3)).save(Path(root) / "train" / "cat" / "1.png")
    ...     data = decode_folder(Path(root) / "train")
    >>> data.images.shape, data.class_names
    ((1, 3, 5, 3), ('cat',))
    """
    names, files = list_class_folders(split)
    key = hashlib.sha256(f"{READER}\n".encode())
    for path, _ in files:
        state, place = os.stat(path), Path(path).relative_to(split).as_posix()
        key.update(os.fsencode(f"{place}\0{state.st_size}\0{state.st_mtime_ns}\n"))
    cache = split.with_name(f".{split.name}.decoded.npz")
    images = _cached(cache, key.hexdigest())
    if images is None:
        images = _read_images([path for path, _ in files])
        _keep(cache, key.hexdigest(), images)
    return ImageSet(images, np.array([label for _, label in files], dtype=np.int64), names)


def _read_images(files: list[str]) -> np.ndarray:
    """Decode images of one size: (n, H, W, 3) uint8.  Their sizes are compared before memory is allocated."""
    with ThreadPoolExecutor() as pool:
        width, height = _read(open_image, files[0]).size
        for path, size in zip(files, pool.map(lambda path: _read(stored_size, path), files), strict=True):
            _check_size(path, tuple(sorted(size)), tuple(sorted((width, height))))
        images = _empty((len(files), height, width, 3))
        decoded = pool.map(lambda path: _read(open_image, path), files)
        bar = tqdm(decoded, total=len(files), desc="decoding", unit="image", leave=False, delay=2)
        for i, image in enumerate(bar):
            _check_size(files[i], image.size, (width, height))
            images[i] = image
    return images


def _check_size(path: str, size: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if size != expected:
        raise ValueError(
            f"{path} must have the size of the other images, {_by(expected)}, got {_by(size)}; large-scale takes "
            "images of any size"
        )


def _by(size: tuple[int, ...]) -> str:
    return f"{size[0]}x{size[1]}"


def _read(how: Callable[[str], Result], path: str) -> Result:
    try:
        return how(path)
    except UNREADABLE as error:
        raise ValueError(f"{path} cannot be read as an image ({error}): replace or delete it") from error


def _empty(shape: tuple[int, ...]) -> np.ndarray:
    """Allocate an array of bytes; raise ValueError if this machine has less memory than that."""
    needed, there = np.prod(shape, dtype=float), _memory()
    if needed > there:
        raise ValueError(
            f"data_root must hold images that fit the memory, {there / 2**30:.1f} GiB; {shape[0]} images of "
            f"{_by(shape[2:0:-1])} take {needed / 2**30:.1f} GiB: make them smaller, or use large-scale"
        )
    return np.empty(shape, dtype=np.uint8)


def _memory() -> float:
    """Return the bytes of memory of this machine; infinity if the number is not known."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return float("inf")


def _cached(cache: Path, key: str) -> np.ndarray | None:
    try:
        with np.load(cache, allow_pickle=False) as held:
            return held["images"] if str(held["key"]) == key else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # no cache, or a broken one: decode again


def _keep(cache: Path, key: str, images: np.ndarray) -> None:
    try:
        with whole_file(cache) as file:
            np.savez(file, images=images, key=np.array(key))
    except OSError:
        tqdm.write(f"{cache.parent} cannot be written: the images will be decoded again next time")
