"""A journal: each record a line, whole after any kill; adopted records are the ones that went in, and replace none."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import pytest
from report_records import record

from replication.experiments.journal import adopt_records, append_to_journal, read_journal
from replication.experiments.large_scale import LargeScaleExperiment, LargeScaleRecord
from replication.experiments.records import RunRecord, read_record, record_path

RUNS = [record(error=30.0 + seed, seed=seed) for seed in range(8)]


@pytest.fixture
def journal(tmp_path):
    for run in RUNS:
        append_to_journal(tmp_path / "out" / "records.jsonl", run)
    return tmp_path / "out" / "records.jsonl"


def test_gives_back_what_was_added(journal):
    assert read_journal(journal) == RUNS
    assert len(journal.read_text().splitlines()) == len(RUNS)


def test_threads_share_a_journal(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda run: append_to_journal(tmp_path / "j", run), RUNS * 5))
    held = read_journal(tmp_path / "j")
    assert sorted(run.error for run in held) == sorted(run.error for run in RUNS * 5)


@pytest.mark.parametrize("cut", [1, 2, 100, 0.5])
def test_a_torn_last_line_is_left_out_and_spoils_no_later_one(journal, cut):
    content = journal.read_bytes()
    last = len(content.splitlines()[-1])
    journal.write_bytes(content[: -int(cut * last) if isinstance(cut, float) else -cut])
    assert read_journal(journal) == (RUNS if cut == 1 else RUNS[:-1])  # 1: only the line end is missing
    append_to_journal(journal, RUNS[-1])
    if cut == 1:
        assert read_journal(journal) == [*RUNS, RUNS[-1]]
    else:
        with pytest.warns(UserWarning, match="line 8 is not a run record"):
            assert read_journal(journal) == RUNS


def test_a_bad_line_is_named_and_the_others_are_read(journal):
    lines = journal.read_text().splitlines(keepends=True)
    lines[2] = lines[2].replace('"error": 32.0', '"error": -5')
    journal.write_text("".join(lines))
    with pytest.warns(UserWarning, match="line 3 is not a run record"):
        assert read_journal(journal) == RUNS[:2] + RUNS[3:]


def test_what_json_cannot_hold_is_refused_and_leaves_the_journal_as_it_was(journal):
    before = journal.read_bytes()
    with pytest.raises(ValueError):
        append_to_journal(journal, replace(RUNS[0], error=float("nan")))
    assert journal.read_bytes() == before


def test_adopted_records_are_those_of_the_journal(journal, tmp_path):
    done = adopt_records(journal, tmp_path / "results", commit="0123abc")
    assert done.added == [run.experiment.name for run in RUNS] and not done.kept and not done.refused
    for run in RUNS:
        path = record_path(run.experiment, tmp_path / "results" / "cpu" / "runs")
        assert read_record(path) == replace(run, git_commit="0123abc", git_clean=True)


def test_a_commit_that_a_record_names_stays(tmp_path):
    run = replace(RUNS[0], git_commit="feed123", git_clean=False)
    append_to_journal(tmp_path / "j", run)
    adopt_records(tmp_path / "j", tmp_path, commit="0123abc")
    assert read_record(record_path(run.experiment, tmp_path / "cpu" / "runs")) == run


def test_a_record_without_a_commit_is_not_called_clean(journal, tmp_path):
    adopt_records(journal, tmp_path)
    held = read_record(record_path(RUNS[0].experiment, tmp_path / "cpu" / "runs"))
    assert held.git_commit is None and held.git_clean is None


def test_what_is_there_is_kept_and_another_error_is_named(journal, tmp_path):
    folder = tmp_path / "cpu" / "runs"
    RUNS[0].write(folder)
    other = replace(RUNS[1], error=90.0)
    other.write(folder)
    done = adopt_records(journal, tmp_path)
    assert done.kept == [RUNS[0].experiment.name, RUNS[1].experiment.name] and len(done.added) == len(RUNS) - 2
    assert [sentence.split(":")[0] for sentence in done.different] == [RUNS[1].experiment.name]
    assert "90.00" in done.different[0] and "31.00" in done.different[0]
    assert read_record(record_path(other.experiment, folder)) == other
    assert not adopt_records(journal, tmp_path).added  # a second time adds nothing


def test_a_large_scale_record_comes_through_too(tmp_path):
    shared = vars(RUNS[0]) | dict(experiment=LargeScaleExperiment(), error_per_class=[None, *[30.0] * 9])
    run = LargeScaleRecord(**shared, top5_error=8.0)
    append_to_journal(tmp_path / "j", run)
    append_to_journal(tmp_path / "j", RUNS[0])
    adopt_records(tmp_path / "j", tmp_path)
    path = record_path(run.experiment, tmp_path / "large-scale" / "runs")
    assert read_record(path, LargeScaleRecord) == run
    assert json.loads(path.read_text()) == asdict(run)
    assert [type(held) for held in read_journal(tmp_path / "j")] == [LargeScaleRecord, RunRecord]
