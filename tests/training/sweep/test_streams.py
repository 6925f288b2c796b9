"""Runs in threads of one process: each gives what it gives alone, in order of priority, within a time limit."""

import functools
import os
import signal
import tarfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import pytest
import torch
from sweep_processes import SMALL, TIMES, Told, command, exit_code, here, start, wait_for

from replication.__main__ import main
from replication.data.sources import load
from replication.experiments.journal import read_journal
from replication.experiments.records import read_record, record_path
from replication.training.cifar.train import train
from replication.training.one_run import RunOptions
from replication.training.sweep import streams, task
from replication.training.sweep.sweep import _images, sweep

PLAIN = replace(SMALL, epochs=5)
DEFERRED = replace(PLAIN, beta=0.999, reweight_from=0.8)
OTHERS = [replace(SMALL, epochs=2, loss="sigmoid", beta=0.9), replace(SMALL, epochs=2, loss="balanced_softmax")]
RUNS = [DEFERRED, PLAIN, *OTHERS]
OWN = (*TIMES, "logits_fingerprint")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def without_times(record) -> dict:
    return {k: v for k, v in asdict(record).items() if k not in OWN}


def test_runs_at_once_are_the_runs_alone_and_the_journal_holds_them(tmp_path):
    """The deferred run, first in the queue, waits for the state of the plain one and starts from it."""
    options = replace(here(tmp_path), journal=tmp_path / "records.jsonl")
    assert sweep(RUNS, options, workers=2, engine="streams") == Counter(finished=4)
    data = load("digits")
    alone = {e.name: without_times(train(e, data, device="cpu")) for e in RUNS}
    rows = read_journal(tmp_path / "records.jsonl")
    assert {r.experiment.name: without_times(r) for r in rows} == alone
    assert all(r.concurrent_runs == 2 and r.logits_fingerprint for r in rows)
    assert [p.name for p in tmp_path.rglob("*.start")] == [f"{PLAIN.name}.epoch4.start"]
    assert sweep(RUNS, options, workers=2, engine="streams") == Counter(kept=4)


def test_at_the_time_limit_runs_stop_with_a_checkpoint_and_the_same_command_ends_them(tmp_path, monkeypatch):
    chosen = [replace(SMALL, epochs=6), replace(SMALL, epochs=6, seed=1), replace(SMALL, seed=2)]
    asked = []
    monkeypatch.setattr(streams._Crew, "over", lambda crew: len(asked) >= 3 or bool(asked.append(0)))
    outcomes = sweep(chosen, here(tmp_path), workers=2, engine="streams")
    assert outcomes["stopped"] and outcomes["not started"] and not outcomes["failed"]
    assert len(list(tmp_path.rglob("*.pt"))) == outcomes["stopped"]
    monkeypatch.undo()
    assert sweep(chosen, here(tmp_path), workers=2, engine="streams") == Counter(finished=3)
    assert not list(tmp_path.rglob("*.pt"))


def test_without_time_nothing_is_begun(tmp_path):
    options = replace(here(tmp_path), deadline=time.time() - 1)
    assert sweep(RUNS, options, workers=2, engine="streams") == Counter({"not started": 4})


def test_a_run_that_cannot_end_in_time_is_not_begun_and_a_shorter_one_is(tmp_path):
    long, short = replace(SMALL, epochs=200), SMALL
    options = replace(here(tmp_path), deadline=time.time() + 1000)
    crew = streams._Crew([long, short], options, Told({long: 200_000, short: 4_000}))
    assert crew._fits(long)  # nothing is known yet
    crew.rate.trained, crew.rate.began = 100_000, time.monotonic() - 1000  # so 90,000 images fit into 1000 seconds
    assert not crew._fits(long) and crew._take() == short
    crew.remaining[short] = 89_000
    assert not crew._fits(short)


def test_images_that_a_checkpoint_brings_are_no_speed(tmp_path):
    """Else a run that goes on would seem infinitely fast, and runs would begin that cannot end."""
    experiment, options = replace(SMALL, epochs=6), here(tmp_path)
    total = _images(experiment, options)
    started = streams._Crew([experiment], options, Told({experiment: total}))
    asked = []
    started.over = lambda: len(asked) >= 2 or bool(asked.append(0))  # before the run, and after epochs 2 and 4
    started.work(torch.device("cpu"))
    again = streams._Crew([experiment], options, Told({experiment: total}))
    again.work(torch.device("cpu"))
    assert record_path(experiment, options.runs(experiment)).exists()
    assert 0 < again.rate.trained < total / 2


def test_a_thread_waits_for_the_state_of_a_run_at_work_if_there_is_time_for_the_rest(tmp_path):
    """100,000 images each at 1,000 a second: the plain run has 30 seconds to go, the deferred one then needs 20."""
    options = replace(here(tmp_path), deadline=time.time() + 60)
    crew = streams._Crew([DEFERRED], options, Told({PLAIN: 100_000, DEFERRED: 100_000}))
    crew.rate.trained, crew.rate.began = 1_000_000, time.monotonic() - 1000
    crew.remaining[PLAIN] = 30_000
    assert crew._take() is None and crew._waiting()
    crew.remaining[PLAIN] = 40_000
    assert not crew._waiting()
    crew.remaining.clear()
    crew.left.appendleft(PLAIN)
    assert crew._take() is None and not crew._waiting()  # the plain run does not fit, and nobody else is at it


def test_a_deferred_run_without_the_state_of_its_plain_run_is_trained_whole(tmp_path):
    """The plain run is recorded, failed or in another process, or its state is gone: same record, more time."""
    whole = without_times(train(DEFERRED, load("digits"), device="cpu"))
    assert sweep([PLAIN], here(tmp_path)) == Counter(finished=1)
    assert not list(tmp_path.rglob("*.start"))
    assert sweep([PLAIN, DEFERRED], here(tmp_path), workers=2, engine="streams") == Counter(kept=1, finished=1)
    record = read_record(record_path(DEFERRED, here(tmp_path).runs(DEFERRED)))
    assert without_times(record) == whole


def test_a_deferred_run_goes_on_whole_after_its_plain_run_failed(tmp_path, monkeypatch):
    from replication.training.cifar import train as module

    def fails(experiment, *arguments, **keywords):
        if experiment == PLAIN:
            raise RuntimeError("out of memory")
        return train(experiment, *arguments, **keywords)

    monkeypatch.setattr(module, "train", fails)
    assert sweep([PLAIN, DEFERRED], here(tmp_path), workers=2, engine="streams") == Counter(failed=1, finished=1)


def test_a_stop_ends_a_run_on_the_cpu_at_its_next_step(tmp_path):
    """An evaluation may be an hour away there."""
    news = []

    def progress(_, images):
        news.append(images)
        crew.stop.set()

    options = here(tmp_path)
    told = Told({SMALL: _images(SMALL, options)}, progress)
    crew = streams._Crew([SMALL], options, told)
    crew.work(torch.device("cpu"))
    assert news == [SMALL.batch_size] and [outcome for _, outcome, _ in told.ends] == ["stopped"]


def test_a_data_set_is_read_once_whoever_asks(monkeypatch):
    """A plan goes from one data set to another and back, and threads ask at the same time."""
    read = []

    def slow(dataset, data_root):
        read.append(dataset)
        time.sleep(0.05)
        return dataset

    monkeypatch.setattr(task, "_load", functools.lru_cache(task._load.cache_parameters()["maxsize"])(slow))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(task.load_once, 8 * ["cifar10"]))
    for dataset in 2 * ("cifar10", "cifar20", "cifar100"):
        task.load_once(dataset)
    assert sorted(read) == ["cifar10", "cifar100", "cifar20"]


def test_one_bad_run_stops_no_other_and_a_full_disk_stops_all(tmp_path, monkeypatch):
    from replication.training.cifar import train as module

    def fails(experiment, *arguments, **keywords):
        if experiment.loss == "sigmoid":
            raise RuntimeError("out of memory")
        return train(experiment, *arguments, **keywords)

    monkeypatch.setattr(module, "train", fails)
    assert sweep(RUNS[2:], here(tmp_path / "a"), workers=2, engine="streams") == Counter(failed=1, finished=1)
    monkeypatch.setattr(module, "train", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        sweep(RUNS, here(tmp_path / "b"), workers=2, engine="streams")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "kill"])
def test_a_signal_ends_the_runs_with_their_checkpoints(tmp_path, number):
    """Exit code 130, one line, the last checkpoint of each run, packed beside the journal."""
    arguments = "sweep pairs --profile smoke --imbalance 10 --losses softmax --workers 2 --threads 1 --device cpu"
    places = ["--results", str(tmp_path), "--journal", str(tmp_path / "out" / "journal")]
    process = start(command, [*arguments.split(), "--engine", "streams", *places], tmp_path / "errors")
    wait_for(lambda: len(list(tmp_path.rglob("*.pt"))) == 2)
    os.kill(process.pid, number)
    assert exit_code(process) == 130
    errors = (tmp_path / "errors").read_text()
    assert errors.strip().endswith("the same command goes on from here") and "Traceback" not in errors
    with tarfile.open(tmp_path / "out" / "checkpoints-1.tar") as tar:
        assert len(tar.getnames()) == 2


@pytest.mark.parametrize("engine", ["local", "streams"])
def test_a_run_that_the_time_limit_ends_gives_exit_code_3(tmp_path, engine, capsys, monkeypatch):
    """The time is up at the first evaluation; a run that is not at its end then has a checkpoint."""
    asked = []
    monkeypatch.setattr(RunOptions, "over", lambda options: len(asked) >= 1 or bool(asked.append(0)))
    arguments = "sweep smoke --profile smoke --threads 1 --device cpu --time-limit 1000"
    assert main([*arguments.split(), "--engine", engine, "--results", str(tmp_path)]) == 3
    assert len(list(tmp_path.rglob("*.pt"))) == 1 and "1 stopped" in capsys.readouterr().out
