"""Records: written whole or not at all, read back equal, never silently wrong."""

import json
import math
import os
from dataclasses import replace

import pytest

from replication.experiments.experiment import Experiment
from replication.experiments.records import RunRecord, read_record, read_records, record_path


@pytest.fixture
def record():
    return RunRecord(
        experiment=Experiment(loss="focal", gamma=0.5, beta=0.999),
        status="finished",
        error=25.5,
        best_error=25.0,
        best_epoch=198,
        error_per_class=[1.0, 50.0],
        class_names=["cat", "dog"],
        class_counts=[100, 1],
        curve=[
            dict(epoch=2, learning_rate=0.04, training_loss=1.0, error=50.0),
            dict(epoch=200, learning_rate=1e-5, training_loss=0.1, error=25.5),
        ],
        images_per_second=480.0,
        wall_seconds=100.0,
        dataset_fingerprint="a" * 16,
        subset_fingerprint="b" * 16,
        device="CPU",
        threads=2,
        precision="float32",
        compiled=False,
        torch_version="2.6",
        package_version="0.1.0",
        git_commit=None,
        git_clean=None,
        finished_at="2026-11-25T00:00:00+00:00",
    )


def test_reads_back_equal(record, tmp_path):
    path = record.write(tmp_path)
    assert path == record_path(record.experiment, tmp_path)
    assert read_record(path) == record
    assert [p.name for p in tmp_path.iterdir()] == [path.name]  # nothing half-written beside it


def test_frame_has_a_row_a_run_and_keeps_the_headline_apart_from_the_best(record, tmp_path):
    record.write(tmp_path)
    replace(record, experiment=Experiment(seed=1), error=30.0).write(tmp_path)
    frame = read_records(tmp_path).set_index("seed")
    assert frame.loc[0, "error"] == 25.5 and frame.loc[0, "best_error"] == 25.0
    assert frame.loc[0, "gamma"] == 0.5 and math.isnan(frame.loc[1, "gamma"])
    assert frame.loc[0, "profile"] == "paper"


def test_empty_folder_gives_an_empty_frame_with_all_columns(tmp_path):
    frame = read_records(tmp_path / "nothing")
    assert len(frame) == 0 and {"error", "beta", "status", "curve"} <= set(frame.columns)


@pytest.mark.parametrize(
    "break_it",
    [
        lambda t: t[:200],
        lambda t: "",
        lambda t: "[1]",
        lambda t: t.replace('"beta": 0.999', '"beta": 9'),
        lambda t: t.replace('"error": 25.5,\n "best', '"error": "x",\n "best'),
    ],
)
def test_broken_records_are_named_and_left_out(record, tmp_path, break_it):
    path = record.write(tmp_path)
    path.write_text(break_it(path.read_text()))
    with pytest.raises(ValueError, match=path.name[:20]):
        read_record(path)
    with pytest.warns(UserWarning, match="not a run record|not the record"):
        assert len(read_records(tmp_path)) == 0


def test_a_record_under_another_name_is_refused(record, tmp_path):
    path = record.write(tmp_path)
    moved = path.rename(tmp_path / "other.json")
    with pytest.raises(ValueError, match="not the record of its experiment"):
        read_record(moved)


def test_not_a_number_never_enters_a_record(record, tmp_path):
    with pytest.raises(ValueError):
        replace(record, error=math.nan).write(tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_last_good_record_stays_when_writing_fails(record, tmp_path, monkeypatch):
    path = record.write(tmp_path)
    before = path.read_text()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace(record, error=1.0).write(tmp_path)
    assert path.read_text() == before and len(list(tmp_path.iterdir())) == 1


def test_records_are_readable_json(record, tmp_path):
    data = json.loads(record.write(tmp_path).read_text())
    assert data["experiment"]["beta"] == 0.999 and data["schema"] == 1


def _change(**values):
    return lambda data: data.update(values) or data


def _drop(name):
    return lambda data: data.pop(name) and data


ODD = {  # what a file may hold that looks like a record
    "an error below 0": _change(error=-5),
    "an error above 100": _change(error=100.5),
    "an error beyond floats": _change(error=10**400),
    "no error though finished": _change(error=None),
    "an error though diverged": _change(status="diverged"),
    "another status": _change(status="paused"),
    "another schema": _change(schema=2),
    "a schema that is no number": _change(schema=None),
    "counts null": _change(class_counts=None),
    "counts negative": _change(class_counts=[100, -1]),
    "counts as floats": _change(class_counts=[100.0, 1.0]),
    "counts of other classes": _change(class_counts=[100, 10, 1]),
    "errors of other classes": _change(error_per_class=[1.0]),
    "errors per class as text": _change(error_per_class=["a", "b"]),
    "a name that is a number": _change(class_names=["cat", 7]),
    "a curve that is no list": _change(curve={}),
    "a curve of numbers": _change(curve=[1, 2]),
    "a curve without errors": _change(curve=[dict(epoch=2, training_loss=1.0)]),
    "a curve with text": _change(curve=[dict(epoch=2, error=1.0, training_loss="x")]),
    "a device that is no text": _change(device=["CPU"]),
    "text that is no UTF-8": _change(device="\ud800"),
    "threads beyond 64 bits": _change(threads=10**30),
    "threads that are true": _change(threads=True),
    "a rate that is infinite": _change(wall_seconds=math.inf),
    "compiled as a number": _change(compiled=1),
    "no counts": _change(class_counts=[], class_names=[], error_per_class=None),
    "a class without images": _change(class_counts=[100, 0]),
    "no names": _change(class_names=[]),
    "no errors per class though a list": _change(error_per_class=[]),
    "finished without a curve": _change(curve=[]),
    "a time below 0": _change(wall_seconds=-5),
    "threads below 0": _change(threads=-5),
    "no device": _drop("device"),
    "no experiment": _drop("experiment"),
    "an experiment null": _change(experiment=None),
    "an experiment with more fields": lambda data: data["experiment"].update(extra=1) or data,
    "an imbalance beyond floats": lambda data: data["experiment"].update(imbalance_factor=10**400) or data,
    "a list as loss": lambda data: data["experiment"].update(loss=["softmax"]) or data,
    "a bare number": lambda data: 7,
    "null": lambda data: None,
}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_record_is_named_and_the_others_are_read(odd, record, tmp_path):
    path = record.write(tmp_path)
    replace(record, experiment=Experiment(seed=1)).write(tmp_path)
    path.write_text(json.dumps(ODD[odd](json.loads(path.read_text()))))
    with pytest.warns(UserWarning) as caught:
        frame = read_records(tmp_path)
    assert [path.name in str(one.message) for one in caught] == [True] and len(str(caught[0].message)) < 600
    assert list(frame["seed"]) == [1]


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"schema": ' + "9" * 5000 + "}", '{"experiment": {}, "error": NaN}', "\0", "\ufeff"]
)
def test_odd_json_is_named_too(text, record, tmp_path):
    path = record.write(tmp_path)
    path.write_text(text, encoding="utf-8")
    with pytest.warns(UserWarning, match="is not a run record"):
        assert len(read_records(tmp_path)) == 0


def test_what_is_no_file_is_named_and_nobody_waits_for_it(record, tmp_path):
    record.write(tmp_path)
    (tmp_path / "folder.json").mkdir()
    (tmp_path / ".#lock.json").symlink_to("user@host.1234")  # as Emacs locks a file
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "latin.json").write_bytes('{"device": "Prozessor für alle"}'.encode("latin-1"))
    with pytest.warns(UserWarning) as caught:
        assert len(read_records(tmp_path)) == 1
    assert len(caught) == 4


def test_a_byte_order_mark_is_accepted_and_later_fields_are_left_out(record, tmp_path):
    path = record.write(tmp_path)
    data = json.loads(path.read_text()) | dict(of_a_later_version=[1, 2])
    path.write_text(json.dumps(data), encoding="utf-8-sig")
    assert read_record(path) == record
