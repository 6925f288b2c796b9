"""The check of a GPU: rehearsed on the CPU, seen to fail, and on a machine with CUDA a test for each of its claims."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from replication.__main__ import main
from replication.training import gpu_check
from replication.training.cifar.train import CifarRun
from replication.training.gpu_check import CHECKS, Check, check_gpu, choice, sweep_options

CPU = torch.device("cpu")
REPOSITORY = Path(__file__).parents[2]


def quiet(_: str) -> None:
    """Say nothing."""


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", CHECKS)
def test_on_cuda(name):
    check = Check(torch.device("cuda"))
    with check.same_bits():
        check.guarded(getattr(check, name))
    assert check.checks and all(check.checks.values()), check.details


def test_a_rehearsal_passes_and_says_how_to_train(tmp_path, capsys, monkeypatch):
    """On the CPU, by the command line; the file holds what the page on GPUs and `make gpu` read."""
    monkeypatch.setattr(gpu_check.Check, "profile", lambda check: None)
    path = tmp_path / "not yet there" / "check.json"
    assert main(["check-gpu", "--device", "cpu", "--no-compile", "--out", str(path)]) == 0
    found = json.loads(path.read_text())
    assert (
        len(found["checks"]) == 10
        and all(found["checks"].values())
        and found["checks"].keys() == found["details"].keys()
    )
    assert found["numbers"]["images/s, 1 at once"] > 0 and found["numbers"]["images/s, 2 at once"] > 0
    assert found["sweep_options"][:3] == ["--engine", "streams", "--workers"]
    assert " ".join(found["sweep_options"]) in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [["--device", "gpu"], ["--device", "cuda:99"], ["--seconds", "0"], ["--seconds", "nan"], ["--out", "."]],
)
def test_bad_options_end_with_2(arguments, capsys):
    assert main(["check-gpu", *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def other_weights(check, monkeypatch, wrong):
    """Let the runs for which `wrong` holds begin with weights that are a little off."""
    made = Check.make

    def make(check, *arguments, **keywords):
        run = made(check, *arguments, **keywords)
        if wrong(keywords):
            with torch.no_grad():
                run.model.classifier.bias[0] += 1e-2
        return run

    monkeypatch.setattr(Check, "make", make)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("cpu", lambda keywords: "device" in keywords), ("graph", lambda keywords: keywords.get("graphs"))],
    ids=["cpu", "graph"],
)
def test_a_difference_is_found(name, wrong, monkeypatch):
    check = Check(CPU, say=quiet)
    other_weights(check, monkeypatch, wrong)
    check.guarded(getattr(check, name))
    assert check.failed == {name} and not any(check.checks.values())


def test_a_stream_that_disturbs_another_is_found(monkeypatch):
    check = Check(CPU, say=quiet)
    monkeypatch.setattr(
        Check,
        "at_once",
        lambda check, fields, steps: ([check.train(check.make(fields[0]), steps)] * len(fields), 0, [0]),
    )
    check.guarded(check.streams)
    assert check.failed == {"streams"}


def test_a_checkpoint_that_loses_the_momentum_is_found(monkeypatch):
    def resume(run, path):
        resumed(run, path)
        for state in run.optimiser.state.values():
            state["momentum_buffer"].zero_()

    resumed = CifarRun.resume
    monkeypatch.setattr(CifarRun, "resume", resume)
    check = Check(CPU, say=quiet)
    check.guarded(check.resume)
    assert check.failed == {"resume"}


def test_a_check_that_raises_has_failed_and_the_others_go_on(monkeypatch):
    for name in ("cpu", "graph", "streams", "resume", "learns", "profile"):
        monkeypatch.setattr(Check, name, lambda check: None)
    monkeypatch.setattr(CifarRun, "_test", lambda run: (_ for _ in ()).throw(RuntimeError("no kernel image")))
    found = check_gpu("cpu", compile_too=False, say=quiet)
    failed = [name for name, held in found["checks"].items() if not held]
    assert failed == ["eager", "test", "evaluation"] and "no kernel image" in found["details"]["test"]
    assert found["sweep_options"] == ["--engine", "local", "--no-graphs", "--no-compile"]


def test_runs_that_do_not_fit_in_memory_are_no_failure(monkeypatch):
    made = Check.make

    def make(check, fields, **keywords):
        if fields.get("seed") == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return made(check, fields, **keywords)

    monkeypatch.setattr(Check, "make", make)
    check = Check(CPU, say=quiet)
    check.guarded(check.speed, (4, 2, 1))
    assert list(check.numbers) == ["images/s, 2 at once", "images/s, 1 at once"] and not check.failed


def test_without_time_there_is_no_measurement_of_the_compiled_network(monkeypatch):
    monkeypatch.setattr(Check, "compiled", lambda check: pytest.fail("compiled"))
    monkeypatch.setattr(Check, "profile", lambda check: pytest.fail("profiled"))
    for name in (*CHECKS[:-1], "evaluation"):
        monkeypatch.setattr(Check, name, lambda check: None)
    found = check_gpu("cpu", seconds=0.001, say=quiet)
    assert not found["checks"] and found["choice"]["workers"] in (1, 2)


def test_the_fewest_runs_at_once_that_come_near_the_best_rate_are_chosen():
    """The rates of an H100, and rates at which four compiled runs at once are as good as eight."""
    eager = {"images/s, 1 at once": 41090, "images/s, 4 at once": 73688, "images/s, 8 at once": 80268}
    assert choice(eager) == dict(workers=8, compile=False, images_per_second=80268)
    compiled = {"images/s, 8 at once, compiled": 95_000, "images/s, 4 at once, compiled": 93_000}
    assert choice(eager | compiled) == dict(workers=4, compile=True, images_per_second=93_000)
    assert choice({"compilation, s": 41.0}) is None


@pytest.mark.parametrize("name", CHECKS)
def test_each_failed_check_leaves_options_without_what_failed(name):
    options = sweep_options([name], dict(workers=4, compile=False))
    if name in ("cpu", "resume", "learns"):
        assert options is None
    elif name == "compiled":
        assert options == ["--engine", "streams", "--workers", "4", "--no-compile"]
    else:
        assert "streams" not in options and "--no-compile" in options
        assert ("--no-graphs" in options) == (name != "streams")


@pytest.mark.parametrize(
    ("options", "sweep_exits", "make_exits"),
    [(["--engine", "local"], 0, 0), (["--engine", "local"], 3, 0), (["--engine", "local"], 1, 2), (None, 0, 2)],
)
def test_make_gpu_runs_the_plan_with_the_options_of_the_check(options, sweep_exits, make_exits, tmp_path):
    """A stand-in for Python notes the sweep's arguments; exit 3, the time was up, is no error."""
    stand_in, called = tmp_path / "python", tmp_path / "called"
    stand_in.write_text(
        f'#!/bin/sh\nif [ "$1" = -c ]; then exec {sys.executable} "$@"; fi\necho "$@" > {called}\nexit {sweep_exits}\n'
    )
    stand_in.chmod(0o755)
    (tmp_path / "check.json").write_text(json.dumps({"sweep_options": options}))
    settings = [f"RUN={stand_in}", f"OUT={tmp_path}", "DATA=images", "LIMIT=7", "UPTO=B"]
    made = subprocess.run(["make", "-C", REPOSITORY, "gpu", *settings], capture_output=True, text=True)
    assert made.returncode == make_exits, made.stderr
    if options is None:
        assert not called.exists()
    else:
        wanted = f"--time-limit 7 --evaluate-every 10 --journal {tmp_path}/records.jsonl --engine local"
        assert called.read_text().strip() == f"-m replication sweep plan --upto B --data-root images {wanted}"
