"""Checkpoints of a run: written aside and renamed, loaded without running code, set aside when they do not fit."""

import hashlib
import io
import os
import re
import tarfile
import time
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import replication
from replication.experiments.experiment import Experiment
from replication.files import whole_file

DIGEST = 32  # bytes of SHA-256 before the content: torch's own reader does not notice altered bytes
PACKED_NAME = re.compile(r"[a-z][a-z-]*/checkpoints/\w[\w.+-]*\.pt")  # relative, without dots that lead elsewhere
PACKED_HEADER = 4 * tarfile.BLOCKSIZE  # at most, of a member: a header, that of a long name, the name, the padding
LARGEST_PACKED = 2**31  # bytes: a size that a broken header gives is not asked of memory


def save(path: Path, experiment: Any, subset_fingerprint: str, precision: str, state: dict) -> None:
    """Write a checkpoint; the last good one stays until the new one is whole on disk.

    Args:
        path: where; its folder is made.
        experiment, subset_fingerprint, precision: whose state it is; `load` asks for the same.
        state: tensors, numbers, strings, and lists and dicts of them.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    content = io.BytesIO()
    torch.save(_identity(experiment, subset_fingerprint, precision) | dict(state=state), content)
    payload = content.getvalue()
    try:
        with whole_file(path) as file:
            file.write(hashlib.sha256(payload).digest() + payload)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}: the checkpoint cannot be written", str(path)) from error


def load(path: Path, experiment: Any, subset_fingerprint: str, precision: str, like: dict | None = None) -> dict | None:
    """The state that `save` was given, or None: no checkpoint, or one that is broken or foreign (named, set aside).

    Args:
        path, experiment, subset_fingerprint, precision: as `save` had them.
        like: a state with the layout that the run can take up (that of its beginning will do): the same keys, lengths
            of lists, shapes and types.  A checkpoint may hold more keys than it does, but no more tensors of a network.

    Raises:
        ValueError: a checkpoint of this run in another precision; hours of work, which a forgotten option must not end.
    """
    if not os.path.lexists(path):
        return None
    try:
        if not path.is_file():
            raise ValueError("it is not a regular file")
        content = path.read_bytes()
        if hashlib.sha256(content[DIGEST:]).digest() != content[:DIGEST]:
            raise ValueError("it is truncated or altered")
        held = torch.load(io.BytesIO(content[DIGEST:]), map_location="cpu", weights_only=True)
        for name, value in _identity(experiment, subset_fingerprint, precision).items():
            if held[name] != value and name != "precision":
                raise ValueError(f"its {name} is {held[name]!r}, not {value!r}")
        state, begun = held["state"], held["precision"]
        if like is not None:
            _check_layout(state, like)
    except Exception as error:  # torch raises many kinds for a file that is none of its own
        set_aside(path, f"checkpoint cannot be used ({str(error) or type(error).__name__})")
        return None
    if begun != precision:
        raise ValueError(
            f"precision must be {begun.split()[0]}, in which this run was begun, got {precision.split()[0]}; "
            f"to begin anew delete {path}"
        )
    return state


def _check_layout(state, like, place: str = "state") -> None:
    """Raise ValueError, naming the place, unless a state has every key of `like` and values of the same layout."""
    if isinstance(like, torch.Tensor):
        same = isinstance(state, torch.Tensor) and (state.shape, state.dtype) == (like.shape, like.dtype)
    elif isinstance(like, dict):
        tensors = bool(like) and all(isinstance(value, torch.Tensor) for value in like.values())  # no key more, then
        same = isinstance(state, dict) and (set(like) == set(state) if tensors else set(like) <= set(state))
        for key in like if same else ():
            _check_layout(state[key], like[key], f"{place}.{key}")
    elif isinstance(like, list):
        same = isinstance(state, list) and len(like) in (0, len(state))  # an empty one grows during the run
        for number, one in enumerate(like if same else ()):
            _check_layout(state[number], one, f"{place}[{number}]")
    elif isinstance(like, int | float) and not isinstance(like, bool):
        same = isinstance(state, int | float) and not isinstance(state, bool)
    else:
        same = isinstance(state, type(like))
    if not same:
        raise ValueError(f"it has another layout at {place}")


def _identity(experiment: Experiment, subset_fingerprint: str, precision: str) -> dict:
    """What a checkpoint and the run that takes it up must share; other software could go on with other numbers."""
    software = dict(torch_version=str(torch.__version__), package_version=replication.__version__)
    run = dict(experiment=asdict(experiment), subset_fingerprint=subset_fingerprint, precision=precision)
    return run | software


def set_aside(path: Path, reason: str) -> Path:
    """Move a file that cannot be used into quarantine/ beside its folder, with a warning; returns its new place."""
    folder = path.parent.parent / "quarantine"
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"{path.name}.{time.time_ns()}"
    try:
        os.replace(path, kept)
    except FileNotFoundError:  # another process was quicker
        return kept
    first = str(reason).splitlines()[0]
    warnings.warn(f"{path}: {first}; moved to {kept}, the run is done anew", stacklevel=3)
    return kept


def pack_checkpoints(
    results: Path | str, out: Path | str, max_bytes: int = 15 * 2**20, most: int = 4
) -> tuple[list[Path], list[Path]]:
    """Pack the checkpoints of unfinished runs into OUT/checkpoints-1.tar, ..., the newest first.

    Args:
        results: the folder of results; its RESULTS/*/checkpoints/*.pt are packed.
        out: the folder of the archives; older archives of that name are replaced or removed.
        max_bytes: of one archive.
        most: number of archives.

    Returns:
        (the archives, the checkpoints that did not fit).

    >>> pack_checkpoints("no/results/yet", "out")
    ([], [])
    """
    newest = sorted(Path(results).glob("*/checkpoints/*.pt"), key=lambda path: -path.stat().st_mtime_ns)
    loads: list[tuple[int, list[Path]]] = [(tarfile.RECORDSIZE, []) for _ in range(most)]
    left_out: list[Path] = []
    for path in newest:
        size = path.stat().st_size + PACKED_HEADER
        place = next((k for k, (full, _) in enumerate(loads) if full + size <= max_bytes), None)
        if place is None:
            left_out.append(path)
        else:
            full, held = loads[place]
            loads[place] = full + size, [*held, path]
    filled = [held for _, held in loads if held]
    archives = [Path(out) / f"checkpoints-{number}.tar" for number, _ in enumerate(filled, 1)]
    for archive, held in zip(archives, filled, strict=True):
        with whole_file(archive) as file, tarfile.open(fileobj=file, mode="w") as tar:
            for path in held:
                tar.add(path, path.relative_to(results).as_posix(), recursive=False)
    for old in set(Path(out).glob("checkpoints-*.tar")) - set(archives):
        old.unlink()
    return archives, left_out


def unpack_checkpoints(archives: Iterable[Path], results: Path | str) -> tuple[list[Path], int]:
    """Take packed checkpoints up, so that the same command goes on with them; (those taken, how many cannot be used).

    One of a run whose record is there, or that is not newer than the one there, is left.  Nothing but checkpoints is
    taken from an archive, and nothing is written outside RESULTS/<profile>/checkpoints.

    >>> unpack_checkpoints([], "results")
    ([], 0)
    """
    taken, refused = [], 0
    for archive in archives:
        try:
            for name, seconds, content in _packed(archive):
                if name is None:
                    refused += 1
                    continue
                path = Path(results) / name
                if (path.parents[1] / "runs" / f"{path.stem}.json").exists():
                    continue
                if path.exists() and path.stat().st_mtime >= seconds:
                    continue
                with whole_file(path) as file:
                    file.write(content)
                os.utime(path, (seconds, seconds))
                taken.append(path)
        except (tarfile.TarError, EOFError) as error:
            warnings.warn(f"{archive} cannot be read to its end: {error}", stacklevel=2)
            refused += 1
    return taken, refused


def _packed(archive: Path) -> Iterator[tuple[str | None, float, bytes]]:
    """(name, time, content) of each checkpoint in an archive; the name is None for what is no whole checkpoint."""
    with tarfile.open(archive, "r:") as tar:
        for member in tar:
            good = member.isreg() and PACKED_NAME.fullmatch(member.name) and member.size <= LARGEST_PACKED
            file = tar.extractfile(member) if good else None
            content = file.read() if file else b""
            if not content or hashlib.sha256(content[DIGEST:]).digest() != content[:DIGEST]:
                warnings.warn(f"{archive}: {member.name!r} is not a whole checkpoint of this package", stacklevel=3)
                yield None, 0.0, b""
            else:
                yield member.name, member.mtime, content
