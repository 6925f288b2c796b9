"""The command line: what goes wrong ends with exit code 2 and one line that names it; help reads well."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sweep_processes import command_without_streams, exit_code, start

from replication.__main__ import KEEP_MEMORY, main
from replication.experiments.experiment import PROFILES, Experiment
from replication.experiments.records import read_records
from replication.training.one_run import RunOptions, lock

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["train", "--profile", "smoke", "--epochs", "1", "--imbalance", "10", "--device", "cpu", "--threads", "1"]


@pytest.mark.parametrize(
    ("arguments", "name", "allowed"),
    [
        (["train", "--dataset", "svhn"], "dataset", "cifar10"),
        (["train", "--dataset", "digits", "--imbalance", "0.5"], "imbalance", ">= 1"),
        (["train", "--dataset", "digits", "--imbalance", "1000"], "imbalance", "at most"),
        (["train", "--dataset", "digits", "--beta", "1.5"], "beta", r"\[0, 1\]"),
        (["train", "--dataset", "digits", "--beta", "nan"], "beta", r"\[0, 1\]"),
        (["train", "--dataset", "digits", "--beta", "x"], "beta", "float"),
        (["train", "--dataset", "digits", "--loss", "focal"], "gamma", ">= 0"),
        (["train", "--dataset", "digits", "--device", "tpu"], "device", "auto"),
        (["train", "--dataset", "digits", "--threads", "0"], "threads", ">= 1"),
        (["train", "--dataset", "cifar10"], "data_root", "--data-root"),
        (["train", "--dataset", "cifar10", "--data-root", "/nowhere"], "data_root", "exists"),
        (["sweep", "heatmap"], "GRID", "heat-map"),
        (["sweep", "smoke", "--profile", "smoke", "--workers", "0"], "workers", ">= 1"),
        (["sweep", "smoke", "--profile", "smoke", "--betas", "0.5"], "betas", "among those of the grid"),
        (["sweep", "smoke", "--profile", "smoke", "--gpus-per-run", "0.5"], "gpus-per-run", "--engine ray"),
        (["sweep", "plan", "--upto", "A", "--dataset", "cifar100"], "dataset", "among those of the grid"),
        (["sweep", "plan", "--upto", "A", "--seeds", "7"], "seeds", "among those of the grid"),
        (["covering", "--full", "--volume", "10"], "full", "without"),
        (["covering", "--full", "--dim", "2"], "full", "without"),
        (["covering", "--dim", "2"], "dim", "cubes or balls"),
        (["covering", "--data-root", "."], "data-root", "full"),
        (["covering", "--volume", "0.5"], "volume", ">= 1"),
        (["covering", "--volume", "10", "--draws", "-1"], "draws", ">= 0"),
        (["covering", "--volume", "1e10"], "volume", "at most 1e"),
        (["covering", "--volume", "1e18"], "volume", "at most 1e"),
        (["covering", "--geometry", "cubes", "--dim", "2", "--volume", "1e10"], "draws", "at most 5e"),
        (["reproduce", "--data-root", "/nowhere"], "data_root", "a folder"),
        (["train", "--profile", "smoke", "--download"], "download", "off"),
        (["covering", "--replicates", "1"], "replicates", ">= 2"),
        (["covering", "--replicates", str(10**15)], "replicates", "at most"),
        (["covering", "--replicates", "9" * 400], "replicates", "at most"),
        (["covering", "--volume", "1e300"], "volume", "at most 1e"),
        (["covering", "--volume", "1e300", "--geometry", "cubes", "--dim", "2", "--draws", "5"], "volume", "at most"),
        (["covering", "--draws", "9" * 400], "draws", ">= 0"),
        (["covering", "--draws", str(10**19)], "draws", ">= 0"),
        (["covering", "--geometry", "cubes", "--dim", "9" * 400], "d must", "1 to 6"),
        (["covering", "--geometry", "cubes", "--dim", "3", "--draws", str(10**8)], "draws", "at most"),
        (["covering", "--seed", "-1"], "seed", ">= 0"),
        (["covering", "--volume", "10", "--seed", "-1"], "seed", ">= 0"),
        (["reproduce", "--profile", "gpu"], "profile", "smoke"),
        (["report", "--results", "/proc/nothing"], "results", "holds records"),
        (["reproduce", "--results", "/proc/nothing"], "results", "can be written"),
        (["train", "--profile", "smoke", "--seed", "-1"], "seed", ">= 0"),
        (["train", "--profile", "smoke", "--seed", "9" * 4000], "seed", "at most"),
        (["train", "--profile", "smoke", "--seed", "9" * 5000], "seed", "int"),
        (["train", "--profile", "smoke", "--epochs", str(10**18)], "epochs", "at most"),
        (["train", "--profile", "smoke", "--depth", str(6 * 10**9 + 2)], "depth", "1202"),
        (["train", "--profile", "smoke", "--batch-size", "10000", "--epochs", "1"], "batch_size", "at most"),
        (["train", "--profile", "smoke", "--weight-decay", "1e400"], "weight_decay", ">= 0"),
        (["train", "--profile", "smoke", "--device", "meta"], "device", "cpu"),
        (["train", "--profile", "smoke", "--device", "hpu"], "device", "cpu"),
        (["train", "--profile", "smoke", "--device", "cpu:x"], "device", "cpu"),
        (["train", "--profile", "smoke", "--threads", "100000"], "threads", "at most"),
        (["train", "--results", "~no-such-user/x"], "results", "home"),
        (["train", "--profile", "smoke", "--results", "a\0b"], "results", "can be written"),
        (["sweep", "smoke", "--profile", "smoke", "--seeds", "-1"], "seed", ">= 0"),
        (["sweep", "smoke", "--profile", "smoke", "--imbalance", "nan"], "imbalance", "among"),
        (["train", "--profile", "smoke", "--loss", "focal", "--gamma", "1e300"], "gamma", "at most 1e"),
        (["train", "--profile", "smoke", "--journal", "/"], "journal", "can be written"),
        (["large-scale", "--dataset", "folder", "--data-root", ".", "--threads", "100000"], "threads", "at most"),
        (["covering", "--full", "--data-root", "/nowhere"], "data-root", "exists"),
        (["reproduce", "--device", "hpu"], "device", "cpu"),
        (["pack", "x", "--data-root", ".", "--runs", "50:0", "--max-mib", "nan"], "max-mib", "> 0"),
        (["report", "--results", ""], "results", "a path"),
        ([], "VERB", "required"),
    ],
)
def test_bad_input_is_one_line(arguments, name, allowed, capsys, tmp_path):
    if "--results" not in arguments and arguments and arguments[0] not in ("covering", "pack"):
        arguments = [*arguments, "--results", str(tmp_path)]
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code
    printed = capsys.readouterr()
    assert code == 2
    assert len(printed.err.strip().splitlines()) == 1 and not printed.out
    assert re.search(name, printed.err) and re.search(allowed, printed.err)
    assert len(printed.err) < 700  # no value of thousands of digits is repeated


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's settings")
@pytest.mark.parametrize(
    ("arguments", "set_before", "restarts"),
    [
        ("train", None, True),
        ("large-scale", None, True),
        ("train", "glibc.malloc.check=0", False),
        ("train --help", None, False),
        ("sweep smoke -h", None, False),
        ("report --help", None, False),
        ("--version", None, False),
    ],
)
def test_training_keeps_the_memory_that_it_frees(arguments, set_before, restarts):
    """The process that trains starts anew with the settings, unless the user made some; no other one does."""
    program = (
        "import os, runpy, sys; import replication.__main__; "
        "os.execve = lambda *a: (print(a[2]['GLIBC_TUNABLES']), os._exit(0)); "
        "os.dup2(1, 2); runpy.run_module('replication', run_name='__main__')"
    )
    environment = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
    if set_before:
        environment["GLIBC_TUNABLES"] = set_before
    command = [sys.executable, "-u", "-c", program, *arguments.split(), "--beta", "x"]  # ends before torch is imported
    printed = subprocess.run(command, env=environment, capture_output=True, text=True).stdout
    assert (KEEP_MEMORY in printed) == restarts


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["train", "--help"], ["report", "--help"]])
def test_help_is_quick(arguments):
    """Under 0.3 seconds of CPU: none of the libraries that take longer than that to import is asked for."""
    slow = {"torch", "pandas", "scipy", "matplotlib", "sklearn", "joblib", "nbformat", "papermill", "ray"}
    program = (
        "import runpy, sys, atexit; atexit.register(lambda: print(*sys.modules)); "
        "runpy.run_module('replication', run_name='__main__')"
    )
    command = [sys.executable, "-c", program, *arguments]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert not slow & set(printed.splitlines()[-1].split())


def test_home_is_expanded_where_the_shell_leaves_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main([*SMALL, "--results=~/there"]) == 0
    assert len(list((tmp_path / "there").glob("custom/runs/*.json"))) == 1 and not Path("~").exists()


def closed(arguments: str, streams: str, cwd=ROOT) -> subprocess.CompletedProcess:
    """`python ARGUMENTS` from a shell that closes the streams, such as "2>&-"."""
    command = ["sh", "-c", f"exec {sys.executable} {arguments} {streams}"]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=os.environ | {"PYTHONPATH": str(ROOT)})


@pytest.mark.skipif(sys.platform == "win32", reason="the shell's closed streams")
@pytest.mark.parametrize("streams", ["2>&-", ">&-", ">&- 2>&-"])
def test_no_file_takes_the_number_of_a_closed_stream(streams, tmp_path):
    """What a library prints to the stream would land in the file."""
    (tmp_path / "program.py").write_text(
        "import sys; from replication.__main__ import _open_missing_streams as start; start()\n"
        "print('out'); print('error', file=sys.stderr); open('file', 'w').write(str(open('other', 'w').fileno()))"
    )
    done = closed("program.py", streams, tmp_path)
    assert done.returncode == 0 and int((tmp_path / "file").read_text()) > 2
    assert done.stdout == ("" if ">&-" in streams.split() else "out\n")
    assert done.stderr == ("" if "2>&-" in streams else "error\n")


@pytest.mark.skipif(sys.platform == "win32", reason="the shell's closed streams")
def test_closed_streams_are_no_error(tmp_path):
    assert exit_code(start(command_without_streams, [*SMALL, "--results", str(tmp_path)])) == 0
    (path,) = tmp_path.glob("custom/runs/*.json")
    assert json.loads(path.read_text())["status"] == "finished"
    assert closed("-m replication train --beta x", ">&- 2>&-").returncode == 2  # after the restart, too


@pytest.mark.skipif(sys.platform == "win32", reason="the shell's closed streams")
def test_closed_streams_are_open_in_worker_processes():
    """A worker of joblib ends at once if its standard error is closed."""
    child = "import os; os.fstat(2)"
    code = "import subprocess, sys; from replication.__main__ import _open_missing_streams; _open_missing_streams(); "
    code += f"sys.exit(subprocess.run([sys.executable, '-c', {child!r}]).returncode)"
    assert subprocess.run(["sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, code], cwd=ROOT).returncode == 0


def test_a_run_that_another_process_has_is_not_a_success(tmp_path, capsys):
    """It ends with 3: no record is there yet, and the same command goes on."""
    experiment = Experiment(**PROFILES["smoke"] | dict(epochs=1, imbalance_factor=10.0))
    with lock(experiment, RunOptions(tmp_path)):
        assert main([*SMALL, "--results", str(tmp_path)]) == 3
    assert "1 at work in another process" in capsys.readouterr().out
    assert main([*SMALL, "--results", str(tmp_path)]) == 0


CUDA_MEMORY = "CUDA out of memory. Tried to allocate 7.00 GiB"


@pytest.mark.parametrize(
    "error", [MemoryError("Unable to allocate 7.11 PiB"), OverflowError("too large"), RuntimeError(CUDA_MEMORY)]
)
def test_ends_of_memory_and_of_integers_are_one_line(error, monkeypatch, capsys):
    def raises(*_):
        raise error

    monkeypatch.setattr("replication.theory.covering.battery", raises)
    assert main(["covering"]) == 2
    printed = capsys.readouterr().err
    assert str(error) in printed and len(printed.splitlines()) == 1


def test_results_that_cannot_be_written(tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("")
    large = ["large-scale", "--dataset", "folder", "--data-root", str(tmp_path), "--depth", "18", "--epochs", "1"]
    for arguments in (SMALL, large):
        assert main([*arguments, "--results", str(blocked)]) == 2
        last = capsys.readouterr().err.splitlines()[-1]
        assert re.fullmatch(r"error: results must be a folder that can be written, got .*", last)


def test_train_writes_a_record_once(tmp_path, capsys):
    assert main([*SMALL, "--results", str(tmp_path), "--precision", "bfloat16"]) == 0
    assert "1 finished" in capsys.readouterr().out
    (path,) = tmp_path.glob("custom/runs/*.json")
    record = json.loads(path.read_text())
    assert record["experiment"]["epochs"] == 1 and record["status"] == "finished"
    assert record["precision"] == "bfloat16 autocast" and record["threads"] == 1
    assert main([*SMALL, "--results", str(tmp_path)]) == 0
    assert "1 there already" in capsys.readouterr().out
    assert json.loads(path.read_text()) == record


def test_a_folder_trains_on_its_own_counts(tmp_path, capsys):
    """Weights follow from the counts 12, 6, 2; --imbalance cuts the data as for any set."""
    rng = np.random.default_rng(0)
    for split, sizes in (("train", (12, 6, 2)), ("test", (2, 2, 2))):
        for name, n in zip("abc", sizes, strict=True):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for i in range(n):
                pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "data" / split / name / f"{i}.png")
    options = "--depth 8 --epochs 1 --batch-size 4 --beta 0.99 --device cpu --threads 1"
    places = ["--data-root", str(tmp_path / "data"), "--results", str(tmp_path)]
    arguments = ["train", "--dataset", "folder", *options.split(), *places]
    assert main(arguments) == 0 and main([*arguments, "--imbalance", "natural"]) == 0
    assert "1 there already" in capsys.readouterr().out
    (path,) = tmp_path.glob("custom/runs/*.json")
    assert json.loads(path.read_text())["class_counts"] == [12, 6, 2]
    assert read_records(path.parent)["imbalance_factor"].tolist() == [6.0]
    assert main([*arguments, "--imbalance", "2"]) == 0
    [said] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("--imbalance")]
    assert "keeps 4 of 20 images, 2 to 1 of a class" in said and "natural keeps all" in said
    assert {tuple(counts) for counts in read_records(path.parent)["class_counts"]} == {(12, 6, 2), (2, 1, 1)}


def test_a_bug_is_not_called_bad_input(monkeypatch):
    monkeypatch.setattr("replication.theory.covering.battery", lambda *_: [][0])
    with pytest.raises(IndexError):
        main(["covering"])


def raises(error):
    raise error


@pytest.mark.parametrize(
    ("fails", "said"),
    [
        (lambda *_, **__: raises(RuntimeError("no such kernel")), "RuntimeError: no such kernel"),
        (lambda *_, **__: torch.empty(2**60), "out of memory on this machine: fewer workers, .*allocate"),
        (lambda *_, **__: np.empty(2**50), "out of memory on this machine: fewer workers, .*allocate"),
        (lambda *_, **__: raises(torch.OutOfMemoryError(CUDA_MEMORY)), "out of memory on the GPU: .*7.00 GiB"),
    ],
)
def test_a_run_that_fails_says_why_in_one_line_and_names_no_record(fails, said, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("replication.training.sweep.task.train_one", fails)
    assert main([*SMALL, "--results", str(tmp_path)]) == 1
    *_, line, last = capsys.readouterr().out.splitlines()
    assert last == "1 failed" and re.fullmatch(rf"failed: digits_\S+ \({said}.*\)", line) and len(line) < 400


@pytest.mark.parametrize(("verb", "goes_on"), [("train", True), ("report", False)])
def test_an_interrupted_verb_promises_what_it_keeps(verb, goes_on, tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("replication.training.sweep.sweep.sweep", interrupted)
    monkeypatch.setattr("replication.report.site.rebuild", interrupted)
    arguments = SMALL if verb == "train" else [verb]
    assert main([*arguments, "--results", str(tmp_path)]) == 130
    assert ("goes on from here" in capsys.readouterr().err) == goes_on


@pytest.mark.parametrize("verb", ["", "reproduce", "covering", "train", "sweep", "pack", "report", "large-scale"])
def test_help_reads_well(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*([verb] if verb else []), "--help"])
    printed = capsys.readouterr()
    assert not stop.value.code and not printed.err
    options = re.findall(r"^  (--[\w-]+)[^\n]*((?:\n {10,}[^\n]+)*)", printed.out, re.MULTILINE)
    assert options or not verb
    for option, more in options:
        line = next(x for x in printed.out.splitlines() if x.startswith(f"  {option}"))
        assert more.strip() or "  " in line.strip(), f"{verb} {option} says nothing"


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("moment", ["package", "torch"])
def test_ctrl_c_during_imports_is_one_word(moment, tmp_path):
    """Ctrl-C during an import ends the process, whatever error the library makes of it."""
    started = "replication.cli.options" if moment == "package" else "torch.nn"
    program = f"""
import os, runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job started with & inherits "ignore"
class Interrupt:
    def find_spec(self, name, *_):
        if name == {started!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
sys.argv[1:] = {[*SMALL, "--results", str(tmp_path)]!r}
runpy.run_module("replication", run_name="__main__")
"""
    environment = os.environ | dict(GLIBC_TUNABLES="glibc.malloc.check=0")  # no restart
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, cwd=ROOT)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
