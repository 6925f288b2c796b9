"""The lock of a run: one process runs it at a time, on any file system."""

import errno
import os
import socket
import tempfile
import time
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

WITHOUT_FLOCK = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)


def run_lock(path: Path) -> "FileLock | OwnerFile":
    """Return a lock to enter, or to `acquire` and `release`; it raises filelock.Timeout at once if another holds it.

    It is the operating system's and is released when its process dies.  If the file system has no locks, as on some
    network drives and in some containers, it is a file that names its owner.

    >>> with tempfile.TemporaryDirectory() as folder, run_lock(Path(folder) / ".run.lock") as held:
    ...     (Path(folder) / ".run.lock").exists()
    True
    """
    return FileLock(path, timeout=0) if _has_flock(path.parent) else OwnerFile(path)


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


class OwnerFile:
    """A lock that is a file with the owner's process and host, which only one process can create.

    If the owner's process on this host has ended, the lock is released; an owner on another host cannot be checked, and
    the error says what to do.
    """

    def __init__(self, path: Path):
        self.path = path

    def acquire(self) -> "OwnerFile":
        owner = f"{os.getpid()} {socket.gethostname()}"
        if not _create(self.path, owner) and not (self._free_from_the_dead() and _create(self.path, owner)):
            raise Timeout(str(self.path))
        return self

    def _free_from_the_dead(self) -> bool:
        """Remove the file if its owner on this host has ended; otherwise say who holds it.

        One process does this at a time, or a second could remove the file that the first has made meanwhile.
        """
        guard = self.path.with_name(f"{self.path.name}.freed")
        if not _create(guard):
            return False
        try:
            return self._is_free()
        finally:
            guard.unlink(missing_ok=True)

    def _is_free(self) -> bool:
        try:
            owner, age = self.path.read_text(encoding="utf-8"), time.time() - self.path.stat().st_mtime
        except FileNotFoundError:
            return True
        pid, _, host = owner.partition(" ")
        if host == socket.gethostname() and not _is_alive(pid):
            self.path.unlink(missing_ok=True)
            return True
        tqdm.write(
            f"held for {age / 3600:.1f} hours by process {pid or '?'} on {host or '?'}: "
            f"if that process is gone, delete {self.path}"
        )
        return False

    def release(self) -> None:
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> "OwnerFile":
        return self.acquire()

    def __exit__(self, *_) -> None:
        self.release()


def _create(path: Path, content: str = "") -> bool:
    """Create a file, or return False if there is one already."""
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True


def _is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (ValueError, OSError, OverflowError):  # no process id, or another user's process: it may still run
        pass
    return True
