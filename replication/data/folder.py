"""A folder of class folders of images -> one ImageSet; decoded once, kept beside the folder."""

import hashlib
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from replication.data.image_set import ImageSet
from replication.files import whole_file

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg")


def decode_folder(split: Path) -> ImageSet:
    """Decode a folder of class folders once; the result is kept beside it until a file's name, size or time changes."""
    classes = sorted(p.name for p in split.iterdir() if p.is_dir())
    files = [(k, f) for k, c in enumerate(classes) for f in sorted((split / c).iterdir()) if _is_image(f)]
    empty = sorted(set(range(len(classes))) - {k for k, _ in files})
    if not files or empty:
        raise ValueError(
            f"{split} must hold images in each class folder; none in {[classes[k] for k in empty] or 'it'}"
        )
    listing = "".join(f"{f.relative_to(split)}\0{f.stat().st_size}\0{f.stat().st_mtime_ns}\n" for _, f in files)
    key = hashlib.sha256(listing.encode()).hexdigest()
    cache = split.with_name(f".{split.name}.decoded.npz")
    targets = np.array([k for k, _ in files], dtype=np.int64)
    images = _cached(cache, key)
    if images is None:
        images = read_images([f for _, f in files])
        _keep(cache, key, images)
    return ImageSet(images, targets, tuple(classes))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_ENDINGS and not path.name.startswith(".")


def read_images(files: list[Path]) -> np.ndarray:
    def read(path: Path) -> np.ndarray:
        try:
            with Image.open(path) as image:
                return np.asarray(image.convert("RGB"))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise ValueError(f"{path} cannot be read as an image ({error}): replace or delete it") from error

    first = read(files[0])
    images = np.empty((len(files), *first.shape), dtype=np.uint8)
    with ThreadPoolExecutor() as pool:
        decoded = tqdm(pool.map(read, files), total=len(files), desc="decoding", unit="image", leave=False, delay=2)
        for i, image in enumerate(decoded):
            if image.shape != first.shape:
                raise ValueError(f"{files[i]} must have the size of the other images, {first.shape}, got {image.shape}")
            images[i] = image
    return images


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
