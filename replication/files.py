"""Files that are there whole or not at all: written beside the final name, then renamed; folders that take them."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: Path | str) -> Iterator[BinaryIO]:
    """A file to write bytes to, which becomes `path` at the end; its folder is made.

    If the block raises or is interrupted, what lay at `path` before is still there and nothing lies beside it.

    Raises:
        OSError: the disk is full or the folder cannot be written.

    >>> with whole_file("table.csv") as file:  # doctest: +SKIP
    ...     file.write(b"a,b")
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(part, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> Path:
    """Write a text file whole or not at all, in UTF-8; returns its path."""
    with whole_file(path) as file:
        file.write(text.encode())
    return Path(path)


def check_writable(folder: Path) -> None:
    """Make a folder for results and try it, before hours are spent.

    Raises:
        ValueError: it cannot be made, or nothing can be written in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"results must be a folder that can be written, got {str(folder)!r} ({error.strerror})"
        ) from error
