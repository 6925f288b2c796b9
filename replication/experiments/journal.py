"""Journals: many records in one file, one line each, for a machine that returns few files."""

import json
import os
import threading
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from replication.experiments.large_scale import LargeScaleRecord
from replication.experiments.records import RunRecord, parse_record, read_record, record_path

_LOCK = threading.Lock()  # one line at a time, whichever thread has finished a run


def append_to_journal(path: Path | str, record: RunRecord) -> None:
    """Append a record to a journal as one line of JSON, flushed to disk; threads may share a journal.

    A line that a killed process left unfinished is ended first, so that it does not spoil the new one.

    Raises:
        ValueError: the record holds a number that is not finite.
        OSError: the disk is full or the folder cannot be written.
    """
    line = json.dumps(asdict(record), allow_nan=False).encode() + b"\n"
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with _LOCK, open(path, "a+b") as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
            line = line if file.read(1) == b"\n" else b"\n" + line
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def check_journal(path: Path | str) -> None:
    """Check that records can be appended to a journal, before hours of training are spent; it is created.

    Raises:
        ValueError: it cannot be written.

    >>> check_journal(os.devnull)
    """
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab"):
            pass
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        raise ValueError(f"journal must be a file that can be written, got {str(path)!r} ({error})") from error


def read_journal(path: Path | str) -> list[RunRecord]:
    """Read the records of a journal, CIFAR and large-scale, and check each like a record in a file of its own.

    A last line that was cut off is left out; a warning names any other line that is not a record.

    Raises:
        OSError: there is no such file, or it cannot be read.

    >>> read_journal(os.devnull)
    []
    """
    return [record for record in _checked_lines(Path(path)) if record]


def _checked_lines(path: Path) -> Iterator[RunRecord | None]:
    """Yield the record of each line, or None if it is not one, without a last line that was cut off."""
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        try:
            if line.strip():
                text = line.decode("utf-8-sig")
                yield parse_record(text, RunRecord if '"imbalance_factor"' in text else LargeScaleRecord)
        except ValueError as error:
            if number < len(lines):  # what has no line end was cut off, unless it is a record
                warnings.warn(f"{path}, line {number} is not a run record: {error}", stacklevel=3)
                yield None


@dataclass
class Adopted:
    """What `adopt_records` did with the records of a journal: names of runs, and sentences for a reader."""

    added: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)  # those that were there already
    different: list[str] = field(default_factory=list)  # of these, those with another error
    refused: int = 0  # lines that are no records


def adopt_records(path: Path | str, results: Path | str, commit: str | None = None) -> Adopted:
    """Write the records of a journal to RESULTS/<profile>/runs, except those that are there already.

    Args:
        path: the journal.
        results: the folder of results; what it holds is never altered.
        commit: the commit of the code that ran, for records that name none (a machine without git); it is then taken to
            be unmodified.

    Raises:
        OSError: the journal cannot be read, or the results cannot be written.

    >>> adopt_records(os.devnull, "results").added
    []
    """
    done = Adopted()
    for record in _checked_lines(Path(path)):
        if record is None:
            done.refused += 1
            continue
        if record.git_commit is None and commit is not None:
            record = replace(record, git_commit=commit, git_clean=True)
        _adopt(record, Path(results) / record.experiment.profile / "runs", done)
    return done


def _adopt(record: RunRecord, folder: Path, done: Adopted) -> None:
    name = record.experiment.name
    if not record_path(record.experiment, folder).exists():
        record.write(folder)
        done.added.append(name)
        return
    done.kept.append(name)
    try:
        there = read_record(record_path(record.experiment, folder), type(record))
    except ValueError as error:
        done.different.append(f"{name}: the record there cannot be read ({error})")
        return
    if (there.status, there.error) != (record.status, record.error):
        done.different.append(f"{name}: {_outcome(there)} there, {_outcome(record)} in the journal")


def _outcome(record: RunRecord) -> str:
    return record.status if record.error is None else f"{record.error:.2f} % error"
