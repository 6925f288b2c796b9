"""Processes that tests start, interrupt and kill, sweeps above all: forks of a server that has torch loaded."""

import contextlib
import doctest
import importlib
import json
import multiprocessing
import os
import signal
import stat
import sys
import time
from pathlib import Path

from replication.experiments.experiment import PROFILES, Experiment
from replication.training.one_run import RunOptions
from replication.training.sweep import workers
from replication.training.sweep.sweep import sweep

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["replication.training.sweep.workers", "replication.training.cifar.train", "torch._dynamo", "sklearn.datasets"]
)
WORK = workers._work
SMALL = Experiment(dataset="digits", depth=8, epochs=4, batch_size=32, imbalance_factor=100)
TIMES = (
    "images_per_second",
    "wall_seconds",
    "finished_at",
    "git_commit",
    "git_clean",
    "concurrent_runs",
)  # and a commit made meanwhile


def content(path: Path) -> dict:
    """A record without what two runs of one experiment may differ in."""
    return {k: v for k, v in json.loads(path.read_text(encoding="utf-8")).items() if k not in TIMES}


def here(results: Path) -> RunOptions:
    return RunOptions(results, device="cpu", threads=1)


class Told:
    """In place of `Progress`: keeps how runs ended, in order of the reports, and gives their progress to `news`."""

    def __init__(self, images=None, news=lambda *_: None):
        self.images, self.news, self.ends = images, news, []

    def __call__(self, experiment, news):
        self.news(experiment, news)

    def report(self, experiment, outcome, record=None, error=None):
        self.ends.append((experiment, outcome) if error is None else (experiment, outcome, error))


def start(target, *arguments) -> multiprocessing.Process:
    """A started process that has imported all it needs by the time this returns."""
    ready = CONTEXT.Event()
    process = CONTEXT.Process(target=_quietly, args=(ready, target, arguments))
    process.start()
    if not ready.wait(120):
        raise TimeoutError("the process did not start")
    return process


def exit_code(process: multiprocessing.Process, seconds: float = 120) -> int | None:
    """How a process that a signal was to end has ended; None if it had to be killed."""
    process.join(seconds)
    code = process.exitcode
    if code is None:
        process.kill()
    return code


def _quietly(ready, target, arguments) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job started with & inherits "ignore"
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # the server may have been started by a sweep's crew
    workers.CONTEXT, workers._work = multiprocessing.get_context("fork"), _work_alone  # workers start in milliseconds
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    ready.set()
    sys.exit(target(*arguments))


def _work_alone(connection, options: RunOptions, slot: int) -> None:
    """A worker; a fork holds its sweep's ends of all pipes too, and would not see the sweep die: it lets them go."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as in a process that is not a fork
    for fd in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):  # that of the listing is closed already
            if fd != connection.fileno() and stat.S_ISSOCK(os.fstat(fd).st_mode):
                os.close(fd)
    WORK(connection, options, slot)


def sweep_all(results: Path, experiments: list[Experiment], workers: int) -> None:
    sweep(experiments, here(results), workers=workers)


def command(arguments: list[str], errors: Path) -> int:
    """The command line, its standard error in a file; runs of the smoke profile are too long to end by themselves."""
    from replication.__main__ import main

    PROFILES["smoke"]["epochs"] = 2000
    sys.stderr = open(errors, "w", encoding="utf-8", buffering=1)  # noqa: SIM115
    return main(arguments)


def command_without_streams(arguments: list[str]) -> int:
    """The command line as in a process that was started with `>&- 2>&-`."""
    from replication.__main__ import main

    os.close(1)
    os.close(2)
    sys.stdout = sys.stderr = None
    code = main(arguments)
    return code if sys.stdout and sys.stderr else 9  # tqdm and others write to them without looking


def doctests_of_a_copy(folder: Path) -> int:
    """Run those of FOLDER/replication, in a process that has forgotten this package."""
    for name in [name for name in sys.modules if name.split(".")[0] == "replication"]:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    attempted = 0
    for path in sorted(folder.rglob("*.py")):
        name = ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")
        module = importlib.import_module(name)
        found = doctest.testmod(module)
        if Path(module.__file__) != path or found.failed:
            print(module, found, file=sys.stderr)
            return 1
        attempted += found.attempted
    return 0 if attempted >= 20 else 1


def hold_lock(results: Path, experiment: Experiment, held) -> None:
    from replication.training.one_run import lock

    with lock(experiment, here(results)):
        held.set()
        time.sleep(600)


def wait_for(condition, seconds: float = 120) -> None:
    """Until it is true; TimeoutError if that takes too long."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("what the test waits for did not happen")
        time.sleep(0.01)
