"""The lock of a run, with the system's locks and without: held by one, freed by death, and named where it stays."""

import contextlib
import errno
import fcntl
import os
import socket
import subprocess
import sys
import threading

import pytest
from filelock import FileLock, Timeout

from replication.training import run_lock
from replication.training.run_lock import OwnerFile


@pytest.fixture(params=["flock", "without flock"])
def path(request, tmp_path, monkeypatch):
    if request.param != "flock":
        missing(monkeypatch)
    return tmp_path / ".run.lock"


def missing(monkeypatch, number=errno.ENOSYS):
    """A file system that has no flock."""

    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


def dead_process() -> int:
    return int(subprocess.check_output([sys.executable, "-c", "import os; print(os.getpid())"]))


def left_by_the_dead(path):
    """Let a process lock a path and end without releasing it."""
    code = "import os, sys, filelock; held = filelock.SoftFileLock(sys.argv[1]); held.acquire(); os._exit(0)"
    subprocess.run([sys.executable, "-c", code, path], check=True)


def test_one_holds_it_and_then_the_next(path):
    with run_lock.run_lock(path):
        for _ in range(2):
            with pytest.raises(Timeout):
                run_lock.run_lock(path).acquire()
    held = run_lock.run_lock(path)
    held.acquire()
    held.release()
    with run_lock.run_lock(path):
        pass


def test_an_error_frees_it(path):
    with pytest.raises(KeyboardInterrupt), run_lock.run_lock(path):
        raise KeyboardInterrupt
    with run_lock.run_lock(path):
        pass


@pytest.mark.parametrize("number", run_lock.WITHOUT_FLOCK)
def test_which_lock_follows_from_the_file_system(tmp_path, monkeypatch, number):
    assert isinstance(run_lock.run_lock(tmp_path / "a"), FileLock)
    missing(monkeypatch, number)
    assert isinstance(run_lock.run_lock(tmp_path / "a"), OwnerFile)
    missing(monkeypatch, errno.EIO)
    with pytest.raises(OSError):
        run_lock.run_lock(tmp_path / "a")


def test_an_owner_on_this_host_that_is_gone_loses_it(tmp_path, monkeypatch):
    missing(monkeypatch)
    path = tmp_path / ".run.lock"
    left_by_the_dead(path)
    with run_lock.run_lock(path):
        assert path.read_text().split()[0] == str(os.getpid())
    assert not path.exists()


@pytest.mark.parametrize("owner", ["{pid}\nanother-host\n", "", "x y", "{living}\n{host}\n"])
def test_an_owner_that_may_be_alive_keeps_it_and_is_named(tmp_path, capsys, owner):
    path = tmp_path / ".run.lock"
    owner = owner.format(pid=dead_process(), living=os.getppid(), host=socket.gethostname())
    path.write_text(owner)
    with pytest.raises(Timeout):
        OwnerFile(path, timeout=0).acquire()
    assert path.read_text() == owner and f"delete {path}" in capsys.readouterr().out


@pytest.mark.parametrize("its_owner_is_dead", [False, True])
def test_of_many_threads_one_gets_it(tmp_path, its_owner_is_dead):
    """Also if all of them find at once that its owner is dead."""
    got, barrier = [], threading.Barrier(8)
    if its_owner_is_dead:
        left_by_the_dead(tmp_path / ".run.lock")

    def take():
        barrier.wait()
        with contextlib.suppress(Timeout):
            got.append(OwnerFile(tmp_path / ".run.lock", timeout=run_lock.TWO_TRIES).acquire())

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
