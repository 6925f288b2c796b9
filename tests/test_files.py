"""Files are there whole or not at all: an error or an interruption leaves the old one and nothing beside it."""

import os

import pytest

from replication.files import whole_file, write_text


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
