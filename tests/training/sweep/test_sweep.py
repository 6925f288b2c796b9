"""Sweeps: what is done is kept, nothing is done twice, one bad run stops no other, Ctrl-C ends all of it."""

import json
import multiprocessing
import os
import signal
import sys
from collections import Counter
from dataclasses import replace
from itertools import product

import pytest
import torch
from PIL import Image
from sweep_processes import (
    CONTEXT,
    SMALL,
    Told,
    command,
    content,
    exit_code,
    here,
    hold_lock,
    start,
    sweep_all,
    wait_for,
)

from replication.__main__ import main
from replication.experiments.records import read_record, record_path
from replication.training.cifar import train as run
from replication.training.one_run import RunOptions, existing_record
from replication.training.run_lock import run_lock
from replication.training.sweep import workers
from replication.training.sweep.progress import Progress, state
from replication.training.sweep.sweep import sweep
from replication.training.sweep.task import DeviceLost
from replication.training.sweep.workers import run_in_workers

RUNS = [replace(SMALL, epochs=2, beta=beta) for beta in (0.0, 0.9, 0.999)]


def record_of(experiment, results):
    return record_path(experiment, here(results).runs(experiment))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A results folder in which all RUNS are done by two workers."""
    results = tmp_path_factory.mktemp("finished")
    before, workers.CONTEXT = workers.CONTEXT, CONTEXT
    try:
        assert sweep(RUNS, here(results), workers=2) == Counter(finished=3, kept=0)
    finally:
        workers.CONTEXT = before
    return results


@pytest.fixture
def quick_workers(monkeypatch):
    monkeypatch.setattr(workers, "CONTEXT", CONTEXT)


def test_workers_give_the_records_of_one_process(finished, tmp_path):
    assert sweep(RUNS[:1], here(tmp_path)) == Counter(finished=1, kept=0)
    assert content(record_of(RUNS[0], tmp_path)) == content(record_of(RUNS[0], finished))


def test_what_is_done_is_kept(finished, monkeypatch):
    monkeypatch.setattr(run, "train", lambda *a, **k: pytest.fail("trained again"))
    before = {e: record_of(e, finished).stat().st_mtime_ns for e in RUNS}
    assert sweep(RUNS, here(finished)) == Counter(kept=3)
    assert {e: record_of(e, finished).stat().st_mtime_ns for e in RUNS} == before


def test_a_record_in_another_precision_is_kept_and_said(finished, capsys):
    for precision, said in (("bfloat16", True), ("float32", False), (None, False)):
        assert sweep(RUNS, replace(here(finished), precision=precision)) == Counter(kept=3)
        assert ("3 there already in another precision" in capsys.readouterr().out) == said


def test_leaves_records_logits_and_locks_only(finished):
    names = [p.name for p in finished.rglob("*") if p.is_file()]
    wanted = [record_of(e, finished).with_suffix(ending).name for e in RUNS for ending in (".json", ".npz")]
    assert sorted(n for n in names if not n.endswith(".lock")) == sorted(wanted)


def test_an_experiment_named_twice_runs_once(tmp_path):
    assert sweep([RUNS[0], RUNS[0]], here(tmp_path)) == Counter(finished=1, kept=0)


@pytest.mark.parametrize("text", ["", "{}", '{"schema": 1, "experiment": {"dataset": "digits"}}'])
def test_a_broken_record_is_set_aside_and_done_anew(finished, tmp_path, text):
    path = record_of(RUNS[0], tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.warns(UserWarning, match="record cannot be used.*moved to"):
        assert sweep(RUNS[:1], here(tmp_path)) == Counter(finished=1, kept=0)
    assert content(path) == content(record_of(RUNS[0], finished))
    kept = list((tmp_path / RUNS[0].profile / "quarantine").iterdir())
    assert [p.read_text() for p in kept] == [text]


def test_another_runs_record_is_not_taken_for_this_one(finished, tmp_path):
    path = record_of(RUNS[1], tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text(record_of(RUNS[0], finished).read_text())
    with pytest.warns(UserWarning, match="not the record of its experiment"):
        assert existing_record(RUNS[1], here(tmp_path)) is None


def test_a_run_that_another_process_holds_is_left_to_it_until_that_dies(tmp_path):
    held = CONTEXT.Event()
    holder = start(hold_lock, tmp_path, RUNS[0], held)
    assert held.wait(60)
    assert sweep(RUNS[:1], here(tmp_path)) == Counter(elsewhere=1, kept=0)
    assert not record_of(RUNS[0], tmp_path).exists()
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert sweep(RUNS[:1], here(tmp_path)) == Counter(finished=1, kept=0)


def test_two_sweeps_at_once_share_the_runs_between_them(finished, tmp_path):
    both = [start(sweep_all, tmp_path, RUNS, 1) for _ in range(2)]
    for process in both:
        process.join()
    sweep(RUNS, here(tmp_path))  # a run that each left to the other would be missing: none is
    assert [content(record_of(e, tmp_path)) for e in RUNS] == [content(record_of(e, finished)) for e in RUNS]


def test_a_failed_run_does_not_stop_the_sweep(tmp_path, monkeypatch, capsys):
    train = run.train

    def fails_at_beta_0(experiment, *arguments, **keywords):
        if experiment.beta == 0:
            raise RuntimeError("no such kernel")
        return train(experiment, *arguments, **keywords)

    monkeypatch.setattr(run, "train", fails_at_beta_0)
    assert sweep(RUNS[:2], here(tmp_path)) == Counter(failed=1, finished=1, kept=0)
    assert "RuntimeError: no such kernel" in capsys.readouterr().out


def test_a_full_disk_stops_the_sweep(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run, "train", full)
    with pytest.raises(OSError, match="No space left"):
        sweep(RUNS, here(tmp_path))


def test_a_full_disk_in_a_worker_stops_the_sweep(tmp_path, quick_workers):
    for folder in {here(tmp_path).runs(e).parent for e in RUNS}:
        folder.mkdir(parents=True)
        (folder / "checkpoints").touch()  # a file where the folder should be
    with pytest.raises(OSError, match="checkpoints"):
        sweep([replace(e, epochs=4) for e in RUNS], here(tmp_path), workers=2)


def test_a_diverging_run_has_a_record_and_exit_code_1(tmp_path, capsys):
    arguments = "train --profile smoke --epochs 2 --imbalance 50 --base-learning-rate 1e30 --device cpu --threads 1"
    assert main([*arguments.split(), "--results", str(tmp_path)]) == 1
    assert "1 diverged" in capsys.readouterr().out
    (path,) = tmp_path.rglob("runs/*.json")
    assert read_record(path).status == "diverged"
    assert main([*arguments.split(), "--results", str(tmp_path)]) == 1  # there already: it is no other outcome now


def test_another_folder_of_images_is_not_the_run_that_is_there(tmp_path):
    """An experiment does not tell which folder it was on; its record does."""
    experiment = replace(SMALL, dataset="folder", imbalance_factor=2.0, epochs=2, batch_size=4)
    for root in (tmp_path / "a", tmp_path / "b"):
        for split, name, k in product(("train", "test"), ("x", "y"), range(4)):
            path = root / split / name / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32), (20 * k, ord(root.name), ord(name))).save(path)
    options = replace(here(tmp_path / "results"), data_root=tmp_path / "a")
    assert sweep([experiment], options) == Counter(finished=1)
    assert sweep([experiment], options) == Counter(kept=1)
    with pytest.raises(ValueError, match="data_root must hold the training images that folder_.* ran on"):
        sweep([experiment], replace(options, data_root=tmp_path / "b"))


class Unpicklable(Exception):
    def __reduce__(self):
        raise TypeError("no pickle of this")


class Unreadable(Exception):
    def __init__(self, *, what):
        super().__init__(what)


@pytest.mark.parametrize("error", [Unpicklable("a full disk"), Unreadable(what="a full disk")])
def test_an_error_that_cannot_be_sent_is_told_in_words(error):
    ours, theirs = multiprocessing.Pipe()
    workers._send_error(theirs, error)
    kind, received = ours.recv()
    assert kind == "error" and str(received) == f"{type(error).__name__}: a full disk"


def test_runs_that_others_did_meanwhile_are_done_too():
    outcomes = Counter(kept=2)
    with Progress(dict.fromkeys(RUNS[:2], 10), outcomes) as progress:
        progress.report(RUNS[0], "kept")
        progress.report(RUNS[1], "failed", None, "an error")
        assert progress.bar.desc == "2/2 runs: "


@pytest.mark.parametrize(("workers", "engine"), [(1, "local"), (2, "local"), (2, "streams")])
def test_progress_gets_every_point_of_the_curves(tmp_path, monkeypatch, quick_workers, workers, engine):
    points = {e: [] for e in RUNS[:2]}
    monkeypatch.setattr(
        Progress, "__call__", lambda _, e, news: points[e].append(news) if isinstance(news, dict) else None
    )
    sweep(RUNS[:2], here(tmp_path), workers=workers, engine=engine)
    assert points == {e: json.loads(record_of(e, tmp_path).read_text())["curve"] for e in RUNS[:2]}


def test_progress_shows_the_run_evaluated_last_until_it_ends():
    point = dict(epoch=1, training_loss=0.3142, error=24.6)
    with Progress(dict.fromkeys(RUNS[:2], 10), Counter()) as progress:
        progress(RUNS[0], point)
        progress(RUNS[1], point)
        assert progress.bar.postfix == state(RUNS[1], point)
        progress.report(RUNS[1], "stopped")
        assert progress.bar.postfix == state(RUNS[0], point)
        progress.report(RUNS[0], "stopped")
        assert progress.bar.postfix == ""


def test_a_lost_gpu_is_no_fault_of_the_run(tmp_path, monkeypatch):
    """After a CUDA error no later run of the process could use the GPU; out of memory, the next may well."""

    def raises(error):
        monkeypatch.setattr(run, "train", lambda *_, **__: (_ for _ in ()).throw(error))

    raises(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert sweep(RUNS, here(tmp_path)) == Counter(failed=3, kept=0)
    for error in (RuntimeError("CUDA error: an illegal memory access"), torch.AcceleratorError("unknown error")):
        raises(error)
        with pytest.raises(DeviceLost, match="the GPU is lost to this process"):
            sweep(RUNS, here(tmp_path))


def test_a_worker_that_lost_its_gpu_ends_so_that_another_takes_its_run(tmp_path, monkeypatch, capsys):
    def lost(*_, **__):
        raise DeviceLost("the GPU is lost to this process (CUDA error: device-side assert triggered)")

    ours, theirs = workers.CONTEXT.Pipe()
    ours.send(RUNS[0])
    monkeypatch.setattr(workers, "attempt", lost)
    monkeypatch.setattr(workers.signal, "signal", lambda *_: None)
    monkeypatch.setattr(workers.os, "_exit", sys.exit)
    with pytest.raises(SystemExit, match="1"):
        workers._work(theirs, here(tmp_path), 0)
    assert not ours.poll() and "device-side assert" in capsys.readouterr().out


def test_workers_take_turns_on_the_gpus_unless_one_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [workers._own_device("auto", slot) for slot in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert [workers._own_device(name, 1) for name in ("cpu", "cuda:0", "cuda")] == ["cpu", "cuda:0", "cuda:1"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert workers._own_device("auto", 1) == "auto"


class _Crew:
    """The workers of a sweep, and how to kill the worker of a run."""

    def __init__(self, monkeypatch):
        self.workers, made = [], workers._Worker.__init__
        monkeypatch.setattr(workers._Worker, "__init__", lambda w, *a: (made(w, *a), self.workers.append(w))[0])

    def kill(self, experiment) -> None:
        for worker in self.workers:
            if getattr(worker, "experiment", None) == experiment and worker.process.is_alive():
                os.kill(worker.process.pid, signal.SIGKILL)


def test_a_run_whose_worker_dies_is_taken_up_again(finished, tmp_path, monkeypatch, quick_workers):
    crew, killed = _Crew(monkeypatch), []

    def progress(experiment, images):
        if not killed:
            killed.append(experiment)
            crew.kill(experiment)

    told = Told(news=progress)
    run_in_workers(RUNS, here(tmp_path), 2, told)
    assert len(killed) == 1 and len(told.ends) == 3 and set(told.ends) == {(e, "finished") for e in RUNS}
    assert content(record_of(killed[0], tmp_path)) == content(record_of(killed[0], finished))


def test_a_run_whose_workers_always_die_fails_and_the_others_finish(tmp_path, monkeypatch, quick_workers):
    crew, kills = _Crew(monkeypatch), []

    def progress(experiment, images):
        if experiment == RUNS[1]:
            kills.append(images)
            crew.kill(experiment)

    told = Told(news=progress)
    run_in_workers(RUNS, here(tmp_path), 2, told)
    failed = (RUNS[1], "failed", "its worker process died (SIGKILL), 3 times")
    assert len(told.ends) == 3 and {failed, (RUNS[0], "finished"), (RUNS[2], "finished")} == set(told.ends)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "kill"])
def test_a_signal_ends_sweep_and_workers(tmp_path, number):
    """To the sweep alone: exit code 130, one line, no worker left."""
    arguments = "sweep pairs --profile smoke --imbalance 10 --losses softmax --workers 2 --threads 1 --device cpu"
    arguments = [*arguments.split(), "--results", str(tmp_path)]
    process = start(command, arguments, tmp_path / "errors")
    wait_for(lambda: len(list(tmp_path.rglob("*.pt"))) == 2)
    os.kill(process.pid, number)
    assert exit_code(process) == 130
    assert (tmp_path / "errors").read_text().strip().endswith("the same command goes on from here")
    assert "Traceback" not in (tmp_path / "errors").read_text()
    checkpoints = list(tmp_path.rglob("*.pt"))
    assert len(checkpoints) == 2
    before = [p.stat().st_mtime_ns for p in checkpoints]
    locks = list(tmp_path.rglob("*.lock"))
    assert len(locks) == 2
    for path in locks:
        with run_lock(path):  # its worker let go of it
            pass
    assert [p.stat().st_mtime_ns for p in checkpoints] == before  # and nobody trains on


@pytest.mark.parametrize(
    ("keywords", "words"),
    [(dict(workers=0), "workers must be .* >= 1, got 0"), (dict(engine="dask"), "engine must be .*dask")],
)
def test_bad_arguments_are_named(tmp_path, keywords, words):
    with pytest.raises(ValueError, match=words):
        sweep(RUNS, RunOptions(tmp_path), **keywords)
