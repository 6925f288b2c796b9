"""The lock of a run: one process runs it at a time, on any file system."""

import contextlib
import errno
import tempfile
import time
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout
from tqdm import tqdm

WITHOUT_FLOCK = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)
TWO_TRIES = 0.1  # seconds: older versions of filelock remove a dead owner's file first and take it at the next try


def run_lock(path: Path) -> BaseFileLock:
    """Return a lock to enter, or to `acquire` and `release`; it raises filelock.Timeout at once if another holds it.

    It is the operating system's and is released when its process dies.  If the file system has no locks, as on some
    network drives and in some containers, it is a file that names its owner.

    >>> with tempfile.TemporaryDirectory() as folder, run_lock(Path(folder) / ".run.lock") as held:
    ...     (Path(folder) / ".run.lock").exists()
    True
    """
    return FileLock(path, timeout=0) if _has_flock(path.parent) else OwnerFile(path, timeout=TWO_TRIES)


def _has_flock(folder: Path) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows has other locks
        return True
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in WITHOUT_FLOCK:
                return False
            raise
    return True


class OwnerFile(SoftFileLock):
    """A lock that is a file with its owner's process and host; a process on this host loses it when it ends.

    An owner on another host cannot be checked, and the error says what to do.
    """

    def acquire(self, *arguments: Any, **keywords: Any) -> Any:
        """Acquire the lock, as filelock does; if another owner holds it, say who."""
        try:
            return super().acquire(*arguments, **keywords)
        except Timeout:
            path = Path(self.lock_file)
            with contextlib.suppress(FileNotFoundError):  # released meanwhile
                owner, hours = path.read_text(encoding="utf-8").split(), (time.time() - path.stat().st_mtime) / 3600
                pid, host, *_ = *owner, "?", "?"
                tqdm.write(
                    f"held for {hours:.1f} hours by process {pid} on {host}: if that process is gone, delete {path}"
                )
            raise
