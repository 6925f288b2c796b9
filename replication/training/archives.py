"""Pack checkpoints and test logits into a few archives, for a machine that returns few files, and unpack them."""

import hashlib
import io
import os
import re
import tarfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from replication.experiments.records import read_record
from replication.files import whole_file
from replication.training.checkpoint import DIGEST
from replication.training.cifar.evaluation import logits_fingerprint

MAX_BYTES = 15 * 2**20  # of one archive
MOST = {"checkpoints": 4, "logits": 2}  # archives of each kind
# Names in an archive, of checkpoints and logits: relative, without dots that lead elsewhere.
NAME = re.compile(r"[a-z][a-z-]*/(checkpoints/\w[\w.+-]*\.(pt|start)|runs/\w[\w.+-]*\.npz)")
HEADER = 4 * tarfile.BLOCKSIZE  # bytes at most per member: its header, the header of a long name, the name, the padding
LARGEST = 2**31  # bytes: a broken header may give any size, which must not be allocated


def pack_checkpoints(
    results: Path | str, out: Path | str, starts: Iterable[Path] = ()
) -> tuple[list[Path], list[Path]]:
    """Pack the checkpoints of unfinished runs into OUT/checkpoints-1.tar, ..., the newest first.

    Args:
        results: the folder of results; its RESULTS/*/checkpoints/*.pt are packed.
        out: the folder of the archives; older archives of that name are replaced or removed.
        starts: files in RESULTS from which deferred runs are to start; those that exist are packed last.

    Returns:
        (the archives, the checkpoints that did not fit).

    >>> pack_checkpoints("no/results/yet", "out")
    ([], [])
    """
    newest = sorted(Path(results).glob("*/checkpoints/*.pt"), key=lambda path: -path.stat().st_mtime_ns)
    there = [path for path in dict.fromkeys(starts) if path.is_file()]
    return _pack([*newest, *there], Path(results), Path(out), "checkpoints")


def pack_logits(results: Path | str, out: Path | str, names: Iterable[str]) -> tuple[list[Path], list[Path]]:
    """Pack the test logits of some runs into OUT/logits-1.tar, ..., in the order of their names.

    Args:
        results, out: as for `pack_checkpoints`, for RESULTS/*/runs/*.npz.
        names: of the experiments.

    Returns:
        (the archives, the files that did not fit).

    >>> pack_logits("no/results/yet", "out", ["cifar10_imbalance50_softmax_beta0_seed0_8010ba2a"])
    ([], [])
    """
    wanted = set(names)
    files = sorted(path for path in Path(results).glob("*/runs/*.npz") if path.stem in wanted)
    return _pack(files, Path(results), Path(out), "logits")


def _pack(files: list[Path], results: Path, out: Path, kind: str) -> tuple[list[Path], list[Path]]:
    """Put each file into the first archive that has room for it."""
    room = [MAX_BYTES - tarfile.RECORDSIZE] * MOST[kind]
    loads: dict[Path, list[Path]] = {}
    left_out = []
    for path in files:
        size = path.stat().st_size + HEADER
        place = next((k for k, free in enumerate(room) if size <= free), None)
        if place is None:
            left_out.append(path)
        else:
            room[place] -= size
            loads.setdefault(out / f"{kind}-{place + 1}.tar", []).append(path)
    for archive, held in loads.items():
        with whole_file(archive) as file, tarfile.open(fileobj=file, mode="w") as tar:
            for path in held:
                tar.add(path, path.relative_to(results).as_posix(), recursive=False)
    for old in set(out.glob(f"{kind}-*.tar")) - set(loads):
        old.unlink()
    return list(loads), left_out


def unpack(archives: Iterable[Path], results: Path | str) -> tuple[list[Path], int]:
    """Unpack checkpoints, so that the same command continues, and test logits beside their records.

    A checkpoint is skipped if its run has a record, or if the one in place is as new.  Logits are unpacked only if
    their fingerprint is that of the record here, so run `adopt_records` first; existing ones are kept.  Nothing else
    is taken from an archive, and nothing is written outside RESULTS/<profile>/checkpoints and RESULTS/<profile>/runs.

    Returns:
        (the files that were unpacked, how many cannot be used or do not belong to a record here).

    >>> unpack([], "results")
    ([], 0)
    """
    taken, refused = [], 0
    for archive in archives:
        try:
            for name, seconds, content in _members(archive):
                path = Path(results) / name
                if content is None or not _is_good(path, content):
                    warnings.warn(
                        f"{archive} holds a file that is not whole or does not belong here: {name!a}", stacklevel=2
                    )
                    refused += 1
                elif _is_wanted(path, seconds):
                    with whole_file(path) as file:
                        file.write(content)
                    os.utime(path, (seconds, seconds))
                    taken.append(path)
        except (tarfile.TarError, EOFError) as error:
            warnings.warn(f"{archive} cannot be read to its end: {error}", stacklevel=2)
            refused += 1
    return taken, refused


def _is_good(path: Path, content: bytes) -> bool:
    """Whether a file is a whole checkpoint, or holds the logits of the record beside it."""
    if path.suffix != ".npz":
        return hashlib.sha256(content[DIGEST:]).digest() == content[:DIGEST]
    try:
        record = read_record(path.with_suffix(".json"))
        with np.load(io.BytesIO(content), allow_pickle=False) as held:
            return logits_fingerprint(held["logits"]) == record.logits_fingerprint
    except Exception:  # NumPy and zipfile raise many kinds of errors for a file that is not theirs
        return False


def _is_wanted(path: Path, seconds: float) -> bool:
    """Whether a file is not there yet, or a checkpoint is newer than ours; that of a finished run is not wanted."""
    if path.suffix == ".pt" and (path.parents[1] / "runs" / f"{path.stem}.json").exists():
        return False
    return not path.exists() or (path.suffix != ".npz" and path.stat().st_mtime < seconds)


def _members(archive: Path) -> Iterator[tuple[str, float, bytes | None]]:
    """Yield (name, time, content) of each member of an archive; the content is None if it is of another kind."""
    with tarfile.open(archive, "r:") as tar:
        for member in tar:
            right = member.isreg() and NAME.fullmatch(member.name) and member.size <= LARGEST
            file = tar.extractfile(member) if right else None
            yield member.name, member.mtime, file.read() if file else None
