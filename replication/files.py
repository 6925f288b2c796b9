"""Write files completely or not at all (beside the final name, then renamed), and check that a folder is writable."""

import contextlib
import glob
import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

LEFTOVER_SECONDS = 3600.0  # without a write: the writer of a temporary file is taken to be dead


@contextmanager
def whole_file(path: Path | str) -> Iterator[BinaryIO]:
    """Open a file for writing bytes, which becomes `path` at the end; its folder is created.

    If the block raises or is interrupted, the old file at `path` is kept and the new one removed.  What a killed
    writer left is removed when the same path is written later.  Writers on several hosts may share a folder.

    Raises:
        OSError: the disk is full or the folder cannot be written.

    >>> with tempfile.TemporaryDirectory() as folder, whole_file(f"{folder}/table.csv") as file:
    ...     file.write(b"a,b")
    3
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path, LEFTOVER_SECONDS)
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")  # two hosts may have the same process ids
    try:
        with open(part, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def remove_leftovers(path: Path | str, seconds: float = 0.0) -> None:
    """Remove temporary files beside a path that nothing has been written to for so many seconds.

    >>> remove_leftovers("no/such/file.csv")
    """
    path = Path(path)
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with contextlib.suppress(OSError):  # another process was quicker, or it is not ours to remove
            if time.time() - part.stat().st_mtime >= seconds:
                part.unlink()


def write_text(path: Path | str, text: str) -> Path:
    """Write a text file in UTF-8, completely or not at all, and return its path.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_text(f"{folder}/made/table.md", "| beta |").read_text(encoding="utf-8")
    '| beta |'
    """
    with whole_file(path) as file:
        file.write(text.encode())
    return Path(path)


def check_writable(folder: Path) -> None:
    """Create a folder for results and check that it is writable, before hours of training are spent.

    Raises:
        ValueError: the folder cannot be created, or nothing can be written in it.

    >>> check_writable(Path(tempfile.gettempdir()))
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"results must be a folder that can be written, got {str(folder)!r} ({reason})") from error
