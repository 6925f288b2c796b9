"""A sweep on Ray: the records of a local sweep, written by the driver; a killed worker's run is taken up again."""

import builtins
import os
import signal
import socket
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest
from sweep_processes import CONTEXT, SMALL, content, here, hold_lock, start

from replication.experiments.records import read_record, record_path
from replication.training.sweep import cluster
from replication.training.sweep.driver import run_all
from replication.training.sweep.progress import Progress
from replication.training.sweep.sweep import sweep

RUNS = [replace(SMALL, beta=beta) for beta in (0.0, 0.9, 0.999)]


def test_without_ray_the_extra_is_named(monkeypatch, tmp_path):
    real = builtins.__import__

    def without_ray(name, *arguments, **keywords):
        if name.split(".")[0] == "ray":
            raise ImportError("No module named 'ray'")
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    with pytest.raises(ValueError, match=r"engine must be local unless Ray is installed.*\[cluster\]"):
        sweep(RUNS, here(tmp_path), engine="ray")


def test_a_negative_share_of_a_gpu_is_refused(tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed (extra `cluster`)")
    with pytest.raises(ValueError, match="gpus_per_run must be a number >= 0, got -1"):
        sweep(RUNS, here(tmp_path), engine="ray", gpus_per_run=-1)


class _FakeRay:
    """What the driver uses of Ray, in this process: tasks run when waited for; `deaths` die first."""

    class exceptions:
        class WorkerCrashedError(Exception): ...

        class NodeDiedError(Exception): ...

        class OutOfMemoryError(Exception): ...

    def __init__(self, deaths: int, death: str):
        self.deaths, self.death, self.told = deaths, getattr(self.exceptions, death), []
        fake = self

        class Queue:
            def __init__(self, **_):
                put = type("Method", (), {"remote": staticmethod(fake.told.append)})
                self.actor = type("Actor", (), {"put_nowait": put})

            def qsize(self):
                return len(fake.told)

            def get_nowait_batch(self, n):
                taken, fake.told[:] = fake.told[:n], fake.told[n:]
                return taken

        self.util = type("util", (), {"queue": type("queue", (), {"Queue": Queue})})

    def remote(self, **options):
        self.options = options
        return lambda function: type("Task", (), {"remote": staticmethod(lambda *a: lambda: function(*a))})

    def put(self, value):
        return value

    def wait(self, tasks, timeout):
        return tasks[:1], tasks[1:]

    def get(self, task):
        if self.deaths:
            self.deaths -= 1
            raise self.death
        return task()

    def cancel(self, task, force):
        pass


def run_tasks(results, deaths: int, runs=RUNS, death="WorkerCrashedError") -> Counter:
    """The tasks and the driver's loop, without Ray."""
    ray, outcomes = _FakeRay(deaths, death), Counter()
    with Progress(dict.fromkeys(runs, 10**6), outcomes) as progress:
        tasks = cluster._Tasks(ray, here(results), dict(num_cpus=1))
        run_all(runs, tasks, 2, progress)
    assert not tasks.flying
    return outcomes


def nodes(*resources, started=None):
    """A Ray of these nodes; how it was started is added to `started`."""
    alive = [dict(Alive=True, Resources=r) for r in resources]
    started = [] if started is None else started
    return SimpleNamespace(init=lambda **k: started.append(k), shutdown=lambda: None, nodes=lambda: alive)


@pytest.mark.parametrize(("threads", "share"), [(8, 0), (4, 1), (1, 2)])
def test_a_run_must_fit_one_node(tmp_path, monkeypatch, threads, share):
    """What two nodes have together is not enough, nor CPUs on one and a GPU on the other: Ray would wait for ever."""
    started = []
    monkeypatch.setattr(
        cluster, "_ray", lambda: nodes(dict(CPU=4), dict(CPU=2, GPU=1), dict(CPU=2, GPU=1), started=started)
    )
    with pytest.raises(ValueError, match="must fit one node of the cluster: none has"):
        cluster.run_on_ray(RUNS, replace(here(tmp_path), threads=threads), 1, None, gpus_per_run=share)
    assert started[0]["address"] == "local"  # none that is up already is joined


@pytest.mark.parametrize(("share", "device"), [(0.0, "cpu"), (0.5, "auto")])
def test_runs_that_asked_for_no_gpu_use_none(tmp_path, monkeypatch, share, device):
    """Ray hides no GPU from a task that asked for none, and "auto" would take it."""
    places = []
    ray = nodes(dict(CPU=8, GPU=1))

    monkeypatch.setattr(cluster, "_ray", lambda: ray)
    monkeypatch.setattr(cluster, "_Tasks", lambda ray, options, *_: places.append(options))
    monkeypatch.setattr(cluster, "run_all", lambda *_: None)
    options = replace(here(tmp_path), device="auto")
    cluster.run_on_ray(RUNS, options, 1, None, gpus_per_run=share)
    assert places[0].device == device


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "127.0.0.1", "no.such.host.invalid:6379", ":"])
def test_a_cluster_that_does_not_answer_is_given_up(tmp_path, monkeypatch, address):
    started = []
    monkeypatch.setattr(cluster, "_ray", lambda: nodes(dict(CPU=4), started=started))
    with pytest.raises(ValueError, match="address must be auto or HOST:PORT"):
        cluster.run_on_ray(RUNS, here(tmp_path), 1, None, address=address)
    assert not started


@pytest.mark.parametrize(
    ("init", "seconds", "said"), [("time.sleep(600)", 0.5, "within 0.5 s"), ("1 / 0", 60.0, "ZeroDivisionError")]
)
def test_what_answers_but_is_no_ray_is_given_up(tmp_path, monkeypatch, init, seconds, said):
    """Ray itself waits without end for a server that accepts the connection and says nothing."""
    (tmp_path / "ray.py").write_text(f"import time\ndef init(**_): {init}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    started = []
    monkeypatch.setattr(cluster, "_ray", lambda: nodes(dict(CPU=4), started=started))
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", seconds)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ValueError, match=f"address must.*{said}"):
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        cluster.run_on_ray(RUNS, here(tmp_path), 1, None, address=address)
    assert not started


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    results = tmp_path_factory.mktemp("local")
    sweep(RUNS, here(results))
    return results


def record_of(experiment, results):
    return record_path(experiment, here(results).runs(experiment))


def test_the_driver_writes_the_records_of_a_local_sweep(local, tmp_path):
    assert run_tasks(tmp_path, deaths=0) == Counter(finished=3)
    assert [content(record_of(e, tmp_path)) for e in RUNS] == [content(record_of(e, local)) for e in RUNS]
    assert not list(tmp_path.rglob("*.pt"))
    assert run_tasks(tmp_path, deaths=0) == Counter(kept=3)


@pytest.mark.parametrize(("before", "commits"), [(None, "d3"), ("a1", "a1, then d3"), ("d3", "d3")])
def test_a_copy_that_git_does_not_track_is_of_the_drivers_commit(local, monkeypatch, before, commits):
    monkeypatch.setattr(cluster, "git_state", lambda: ("d3", True))
    record = replace(read_record(record_of(RUNS[0], local)), git_commit=before, git_clean=None)
    assert cluster._with_commit(record).git_commit == commits
    assert cluster._with_commit(replace(record, git_clean=False)).git_commit == before


@pytest.mark.parametrize("death", ["WorkerCrashedError", "NodeDiedError", "OutOfMemoryError"])
def test_the_driver_tries_a_run_three_times(tmp_path, capsys, death):
    assert run_tasks(tmp_path, deaths=2, runs=RUNS[:1], death=death) == Counter(finished=1)
    record_of(RUNS[0], tmp_path).unlink()
    assert run_tasks(tmp_path, deaths=3, runs=RUNS[:1]) == Counter(failed=1)
    assert "its worker died (WorkerCrashedError), 3 times" in capsys.readouterr().out


def test_the_driver_leaves_what_another_process_holds(tmp_path):
    held = CONTEXT.Event()
    holder = start(hold_lock, tmp_path, RUNS[0], held)
    assert held.wait(60)
    assert run_tasks(tmp_path, deaths=0, runs=RUNS[:1]) == Counter(elsewhere=1)
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert run_tasks(tmp_path, deaths=0, runs=RUNS[:1]) == Counter(finished=1)


@pytest.mark.slow
def test_a_sweep_on_ray_outlives_a_killed_worker(local, tmp_path, monkeypatch):
    """Ray on this machine's CPU; the process of the first run that makes progress is killed with SIGKILL."""
    ray = pytest.importorskip("ray", reason="Ray is not installed (extra `cluster`)")
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    killed, call = [], Progress.__call__

    def kill_once(progress, experiment, images):
        if not killed:
            busy = [w for w in _ray_workers() if "_run" in w[1]]
            if busy:
                os.kill(busy[0][0], signal.SIGKILL)
                killed.append(experiment)
        call(progress, experiment, images)

    monkeypatch.setattr(Progress, "__call__", kill_once)
    runs = [replace(e, epochs=40) for e in RUNS]
    assert sweep(runs, here(tmp_path / "ray"), workers=2, engine="ray") == Counter(finished=3, kept=0)
    assert killed and not ray.is_initialized()
    sweep(runs, here(tmp_path / "local"))
    assert [content(record_of(e, tmp_path / "ray")) for e in runs] == [
        content(record_of(e, tmp_path / "local")) for e in runs
    ]


def _ray_workers() -> list[tuple[int, str]]:
    """Process ids and titles of Ray's workers; the title of a busy one is ray::<the task's name>."""
    import subprocess

    lines = subprocess.check_output(["ps", "-eo", "pid=,args="], text=True).splitlines()
    return [(int(pid), title) for pid, title in (line.split(None, 1) for line in lines) if title.startswith("ray::")]
