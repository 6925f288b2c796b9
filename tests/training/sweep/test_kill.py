"""SIGKILL at random moments: what a run has done is not lost, and it ends as if nothing had happened, to the bit."""

import contextlib
import os
import random
import signal
import subprocess
import time
from dataclasses import replace

import pytest
from sweep_processes import SMALL, content, here, start, sweep_all

from replication.experiments.records import read_record, record_path

RUN = replace(SMALL, epochs=20, batch_size=64)
GRID = [
    replace(SMALL, loss=loss, beta=beta, seed=seed)
    for loss in ("softmax", "sigmoid")
    for beta in (0.0, 0.99)
    for seed in range(5)
]


def uninterrupted(results, experiments, workers=1) -> float:
    """Seconds that the sweep takes when left alone."""
    start(int).join()  # the server that starts processes is up from here on
    begin = time.monotonic()
    process = start(sweep_all, results, experiments, workers)
    process.join()
    assert process.exitcode == 0
    return time.monotonic() - begin


def records(results, experiments) -> list[dict]:
    return [content(record_path(e, here(results).runs(e))) for e in experiments]


def check_whole(results, experiments) -> None:
    """At any moment: each record that is there is whole and one of the experiments'; nothing was set aside."""
    folder = here(results).runs(experiments[0])
    names = {e.name for e in experiments}
    for path in folder.glob("*.json"):
        read_record(path)
        assert path.stem in names
    assert not (folder.parent / "quarantine").exists()


def test_a_run_killed_at_twenty_random_moments_ends_as_the_uninterrupted_one(tmp_path):
    seconds = uninterrupted(tmp_path / "whole", [RUN])
    draw, kills, ends = random.Random(0), 0, 0
    while kills < 20 or not ends:
        process = start(sweep_all, tmp_path / "killed", [RUN], 1)
        process.join(draw.uniform(0, 0.3 * seconds))
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            kills += process.exitcode == -signal.SIGKILL
        check_whole(tmp_path / "killed", [RUN])
        path = record_path(RUN, here(tmp_path / "killed").runs(RUN))
        if path.exists():
            assert content(path) == records(tmp_path / "whole", [RUN])[0]
            ends += 1
            path.unlink()  # and once more from the start, until there were enough kills
    print(f"{kills} kills, {ends} runs ended, each with the uninterrupted run's record")
    assert kills >= 20


def processes_of(sweep_process) -> list[int]:
    """The sweep and its workers: all that the server of start() has started and that is alive; none once it is gone."""

    def ps(*words: str) -> list[int]:  # ps itself fails where it finds no such process
        return [int(pid) for pid in subprocess.run(["ps", "-o", *words], stdout=subprocess.PIPE).stdout.split()]

    return [pid for server in ps("ppid=", "-p", str(sweep_process.pid)) for pid in ps("pid=", "--ppid", str(server))]


@pytest.mark.slow
def test_a_sweep_with_two_workers_killed_a_hundred_times_loses_doubles_and_tears_nothing(tmp_path):
    """Each kill strikes the sweep or one of its workers, drawn at random; a sweep that has ended is started again."""
    seconds = uninterrupted(tmp_path / "whole", GRID, workers=2)
    draw, kills, ends, process = random.Random(1), 0, 0, None
    done, kept = {}, records(tmp_path / "whole", GRID)
    folder = here(tmp_path / "killed").runs(GRID[0])
    while kills < 100:
        if process is None or not process.is_alive():
            process = start(sweep_all, tmp_path / "killed", GRID, 2)
        time.sleep(draw.uniform(0, 0.1 * seconds))
        alive = processes_of(process) if process.is_alive() else []
        if alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(draw.choice(alive), signal.SIGKILL)
                kills += 1
        check_whole(tmp_path / "killed", GRID)
        for path in folder.glob("*.json"):  # a record, once there, is not written again
            assert done.setdefault(path.name, path.stat().st_mtime_ns) == path.stat().st_mtime_ns
        if len(done) == len(GRID):
            process.join()
            assert records(tmp_path / "killed", GRID) == kept
            for path in folder.glob("*.json"):
                path.unlink()
            done, ends = {}, ends + 1
    process.join()
    while len(list(folder.glob("*.json"))) < len(GRID):
        sweep_all(tmp_path / "killed", GRID, 1)
    assert records(tmp_path / "killed", GRID) == kept
    print(f"{kills} kills, {ends + 1} grids of {len(GRID)} runs ended with the uninterrupted sweep's records")
