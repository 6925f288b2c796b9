"""List the images of a folder and open one; everything that reads a user's own images uses these functions."""

import contextlib
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

ENDINGS = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # the errors of `open_image`


def split_folders(root: Path, names: tuple[str, ...] = ("test", "val")) -> tuple[Path, Path]:
    """Return the folders of training and test images: ROOT/train, and the first of `names` that is in ROOT.

    Raises:
        ValueError: one of them is missing.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as root:
    ...     for name in ("train", "val"):
    ...         (Path(root) / name).mkdir()
    ...     [folder.name for folder in split_folders(Path(root))]
    ['train', 'val']
    """
    second = next((root / name for name in names if (root / name).is_dir()), None)
    if second is None or not (root / "train").is_dir():
        wanted = " or ".join(f"{name}/" for name in names)
        raise ValueError(
            f"data_root must hold train/ and {wanted} with a folder of images for each class; {root} does not"
        )
    return root / "train", second


def list_class_folders(split: Path | str) -> tuple[tuple[str, ...], list[tuple[str, int]]]:
    """List the images in SPLIT/<class>/ and its subfolders, class by class in alphabetical order.

    Hidden files and folders (.DS_Store, ._x.png, .ipynb_checkpoints), files with other endings than ENDINGS, and links
    to nothing are left out, and one line is printed with their numbers.

    Returns:
        The class names, and (path, class index) of each image.

    Raises:
        ValueError: there is no class folder, or one without images.
        OSError: a folder cannot be read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as split:
    ...     (Path(split) / "cat").mkdir()
    ...     Image.new("RGB", (2, 2)).save(Path(split) / "cat" / "1.png")
    ...     names, images = list_class_folders(split)
    >>> names, [(os.path.basename(path), label) for path, label in images]
    (('cat',), [('1.png', 0)])
    """
    entries = sorted(os.scandir(split), key=lambda entry: entry.name)
    names = tuple(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    left_out = Counter(_reason(entry.name) or "outside the class folders" for entry in entries if entry.is_file())
    images = []
    for label, name in enumerate(names):
        for path in _files(os.path.join(split, name), left_out):
            reason = _reason(os.path.basename(path))
            if reason is None:
                images.append((path, label))
            else:
                left_out[reason] += 1
    said = ", ".join(f"{n} {reason}" for reason, n in left_out.most_common() if n)
    if said and multiprocessing.parent_process() is None:  # the worker processes of a sweep stay silent
        tqdm.write(f"left out of {split}: {said}")
    filled = {label for _, label in images}
    empty = [name for label, name in enumerate(names) if label not in filled]
    if empty or not names:
        where = f"; none in {', '.join(empty[:5])}" if empty else ""
        raise ValueError(
            f"{split} must hold images in each class folder{where}" + (f" (left out: {said})" if said else "")
        )
    return names, images


def _files(folder: str, left_out: Counter[str]) -> list[str]:
    """List all files under a folder except those in hidden folders, folder by folder in alphabetical order.

    Links to nothing, FIFOs (at which a reader would wait) and links to a folder above are counted in `left_out`.
    """

    def walk(folder: str, above: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
        above = (*above, os.path.realpath(folder))
        entries = list(os.scandir(folder))
        folders = [entry for entry in entries if entry.is_dir()]
        shown = [entry for entry in folders if not entry.name.startswith(".")]
        inner = [entry.path for entry in shown if os.path.realpath(entry.path) not in above]
        names = [entry.name for entry in entries if entry.is_file()]
        left_out["hidden folders"] += len(folders) - len(shown)
        left_out["links to a folder above"] += len(shown) - len(inner)
        left_out["that are no files"] += len(entries) - len(folders) - len(names)
        yield folder, sorted(names)
        for one in inner:
            yield from walk(one, above)

    return [os.path.join(root, name) for root, names in sorted(walk(folder, ())) for name in names]


def _reason(name: str) -> str | None:
    """Return why a file is left out, or None."""
    ending = os.path.splitext(name)[1].lower()
    if name.startswith("."):
        return "hidden"
    return None if ending in ENDINGS else f"with the ending {ending}" if ending else "without an ending"


def open_image(path: Path | str | BinaryIO) -> Image.Image:
    """Read an image as a person sees it: upright, in RGB with 8 bits.

    The EXIF orientation is applied.  16-bit values keep their upper 8 bits, so 65535 becomes 255.  Palettes are
    resolved, transparent pixels are put on white, and the first frame of an animation is used.

    Raises:
        OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError: (the tuple UNREADABLE) the file cannot be
            read, or its pixels have neither 8 nor 16 bits.

    >>> import io
    >>> file = io.BytesIO()
    >>> Image.fromarray(np.array([[0, 257, 65535]], np.uint16)).save(file, "png")
    >>> [open_image(file).getpixel((x, 0))[0] for x in range(3)]
    [0, 1, 255]
    """
    with Image.open(path) as opened:
        opened.load()  # Errors of the pixels are raised here.
        with contextlib.suppress(Exception):  # A damaged EXIF block raises many kinds; the pixels may still be whole.
            ImageOps.exif_transpose(opened, in_place=True)
        return _rgb(opened)


def stored_size(path: Path | str | BinaryIO) -> tuple[int, int]:
    """Return (width, height) from the file's header, before EXIF rotation, as a PNG's EXIF can follow its pixels.

    >>> import io
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (5, 3)).save(file, "png")
    >>> stored_size(file)
    (5, 3)
    """
    with Image.open(path) as image:
        return image.size


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels must have 8 or 16 bits, got Pillow's mode {image.mode}")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
