"""Files are there whole or not at all: an error or an interruption leaves the old one and nothing beside it."""

import os
import time

import pytest

from replication.files import LEFTOVER_SECONDS, check_writable, remove_leftovers, whole_file, write_text


def _names(folder):
    return [p.name for p in folder.iterdir()]


def test_the_name_appears_only_when_the_content_is_whole(tmp_path):
    path = tmp_path / "made" / "a.txt"
    with whole_file(path) as file:
        file.write(b"half")
        file.flush()
        assert not path.exists()
        file.write(b" and half")
    assert path.read_bytes() == b"half and half" and _names(path.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_beside_it(tmp_path, error):
    path = write_text(tmp_path / "a.txt", "old")
    with pytest.raises(error), whole_file(path) as file:
        file.write(b"ne")
        raise error
    assert path.read_text() == "old" and _names(tmp_path) == ["a.txt"]


def test_a_rename_that_fails_leaves_nothing_beside_it(tmp_path, monkeypatch):
    def refused(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(OSError, match="Permission denied"):
        write_text(tmp_path / "a.txt", "new")
    assert _names(tmp_path) == []


def test_content_is_on_disk_before_the_rename(tmp_path, monkeypatch):
    """Else a power cut could leave the new name with no content (ext4, XFS)."""
    done = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append(("fsync", os.fstat(fd).st_size)), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda *paths: (done.append("replace"), replace(*paths)))
    write_text(tmp_path / "a.txt", "± 1\n")
    assert done == [("fsync", 5), "replace"]  # UTF-8, line ends as given


def test_two_hosts_that_share_process_ids_write_one_path(tmp_path, monkeypatch):
    """Two containers on one volume are both process 1: each writes a file of its own, and the last one stays."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with whole_file(tmp_path / "a.txt") as first:
        first.write(b"A" * 1000)
        with whole_file(tmp_path / "a.txt") as second:
            second.write(b"B" * 10)
        assert (tmp_path / "a.txt").read_bytes() == b"B" * 10
    assert (tmp_path / "a.txt").read_bytes() == b"A" * 1000 and _names(tmp_path) == ["a.txt"]


def test_what_a_killed_writer_left_is_removed_and_a_living_one_is_not_disturbed(tmp_path):
    old, young, other = (tmp_path / f".{name}.tmp" for name in ("a[1].txt.01", "a[1].txt.02", "a1.txt.03"))
    for part in (old, young, other):
        part.touch()
    gone = time.time() - LEFTOVER_SECONDS - 10
    os.utime(old, (gone, gone))
    os.utime(other, (gone, gone))
    write_text(tmp_path / "a[1].txt", "new")
    assert sorted(_names(tmp_path)) == sorted([young.name, other.name, "a[1].txt"])
    remove_leftovers(tmp_path / "a[1].txt")
    assert sorted(_names(tmp_path)) == sorted([other.name, "a[1].txt"])


@pytest.mark.parametrize("name", ["file/results", "a\0b", "x" * 300])
def test_a_folder_that_cannot_be_written_is_named(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="results must be a folder that can be written"):
        check_writable(tmp_path / name)
