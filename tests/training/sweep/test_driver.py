"""The loop of a sweep: order, number at once, attempts, and what it does when something else ends it."""

from collections import Counter
from dataclasses import replace

import pytest
from sweep_processes import SMALL, Told

from replication.training.sweep.driver import run_all
from replication.training.sweep.task import ATTEMPTS

RUNS = [replace(SMALL, seed=seed) for seed in range(6)]


class ScriptedCrew:
    """Runs that end in order of their start, after dying as often as `deaths` says."""

    def __init__(self, deaths=None, kept=(), error=None):
        self.deaths, self.kept, self.error = Counter(deaths), kept, error
        self.working, self.started, self.most, self.stopped = [], [], 0, 0

    def busy(self):
        return len(self.working)

    def start(self, experiment):
        self.started.append(experiment)
        if experiment in self.kept:
            return "kept", None
        self.working.append(experiment)
        self.most = max(self.most, len(self.working))

    def events(self):
        assert self.working  # never waited for when nothing is at work
        experiment = self.working.pop(0)
        yield "progress", experiment, 100
        if experiment == self.error:
            raise OSError("No space left on device")
        self.deaths[experiment] -= 1
        yield ("died", experiment, "killed") if self.deaths[experiment] >= 0 else ("outcome", experiment, ("finished",))

    def stop(self):
        self.stopped += 1


def ends(crew, workers, runs=RUNS, **keywords):
    """[(run, outcome)] in the order of the reports."""
    told = Told()
    run_all(runs, crew, workers, told, **keywords)
    return [end[:2] for end in told.ends]


@pytest.mark.parametrize("workers", [1, 2, 3, 9])
def test_all_run_in_order_and_never_more_at_once(workers):
    crew = ScriptedCrew()
    assert ends(crew, workers) == [(run, "finished") for run in RUNS]
    assert crew.started == RUNS and crew.most == min(workers, len(RUNS)) and crew.stopped == 1


@pytest.mark.parametrize(("deaths", "outcome"), [(1, "finished"), (ATTEMPTS - 1, "finished"), (ATTEMPTS, "failed")])
def test_a_run_that_dies_is_next_again_until_its_attempts_are_used_up(deaths, outcome):
    crew = ScriptedCrew({RUNS[0]: deaths})
    assert ends(crew, 1) == [(RUNS[0], outcome)] + [(run, "finished") for run in RUNS[1:]]
    again = min(deaths, ATTEMPTS - 1)
    assert crew.started == [RUNS[0]] * again + RUNS


def test_what_needs_no_start_is_reported_and_takes_no_place():
    crew = ScriptedCrew(kept=RUNS[1:5])
    assert Counter(outcome for _, outcome in ends(crew, 2)) == Counter(kept=4, finished=2)
    assert ends(ScriptedCrew(kept=RUNS), 2) == [(run, "kept") for run in RUNS]


def test_an_error_of_no_single_run_ends_all_and_stops_the_crew():
    crew = ScriptedCrew(error=RUNS[1])
    with pytest.raises(OSError, match="No space"):
        ends(crew, 2)
    assert crew.stopped == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_when_time_is_up_those_at_work_end_and_no_other_begins(workers):
    crew = ScriptedCrew()
    told = ends(crew, workers, over=lambda: len(crew.started) >= 3)
    assert [run for run, _ in told] == crew.started == RUNS[:3] and crew.stopped == 1
    assert ends(ScriptedCrew(), workers, over=lambda: True) == []
