"""The verb adopt: records and checkpoints of another machine go on here; nothing else leaves an archive."""

import io
import os
import tarfile
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from report_records import record

from replication.__main__ import main
from replication.experiments.journal import append_to_journal
from replication.experiments.records import record_path
from replication.training import archives as packing
from replication.training import checkpoint
from replication.training.archives import pack_checkpoints, pack_logits, unpack
from replication.training.cifar.evaluation import write_logits

RUN = record(error=30.0)
UNFINISHED = [replace(RUN.experiment, seed=seed) for seed in range(1, 6)]


def saved(results, experiment, seconds=1e9, size=1000):
    """A checkpoint of that size and age in a folder of results."""
    path = results / experiment.profile / "checkpoints" / f"{experiment.name}.pt"
    checkpoint.save(path, experiment, "images", "float32", dict(step=7, filler="x" * size))
    os.utime(path, (seconds, seconds))
    return path


def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_records_and_checkpoints_arrive(tmp_path, capsys):
    away, home, out = tmp_path / "away", tmp_path / "home", tmp_path / "out"
    for experiment in UNFINISHED:
        saved(away, experiment)
    append_to_journal(out / "records.jsonl", RUN)
    archives, left_out = pack_checkpoints(away, out)
    assert [path.name for path in archives] == ["checkpoints-1.tar"] and not left_out
    assert main(["adopt", str(out / "records.jsonl"), "--results", str(home), "--commit", "0123abc"]) == 0
    assert "1 added, 0 there already" in capsys.readouterr().out
    assert record_path(RUN.experiment, home / "cpu" / "runs").is_file()
    held = files(home)
    assert {name: held[name] for name in files(away)} == files(away)
    path = home / "cpu" / "checkpoints" / f"{UNFINISHED[0].name}.pt"
    assert checkpoint.load(path, UNFINISHED[0], "images", "float32")["step"] == 7
    assert main(["adopt", str(out / "records.jsonl"), "--results", str(home)]) == 0
    assert files(home) == held


def test_the_newest_checkpoints_are_packed_and_no_archive_is_larger_than_it_may_be(tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "MAX_BYTES", 80_000)
    monkeypatch.setitem(packing.MOST, "checkpoints", 2)
    paths = [saved(tmp_path, experiment, 1e9 + k, 30_000) for k, experiment in enumerate(UNFINISHED)]
    archives, left_out = pack_checkpoints(tmp_path, tmp_path / "out")
    assert len(archives) == 2 and all(path.stat().st_size <= 80_000 for path in archives)
    held = []
    for path in archives:
        with tarfile.open(path) as tar:
            held.append([name.split("/")[-1] for name in tar.getnames()])
    assert held == [[paths[4].name, paths[3].name], [paths[2].name, paths[1].name]]
    assert left_out == [paths[0]]
    for path in paths[1:]:
        path.unlink()
    archives, _ = pack_checkpoints(tmp_path, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [archives[0].name]  # the second is of another time


def test_a_checkpoint_that_is_of_no_use_is_left(tmp_path):
    away, home = tmp_path / "away", tmp_path / "home"
    for experiment in (RUN.experiment, *UNFINISHED[:2]):
        saved(away, experiment, 1e9)
    RUN.write(home / "cpu" / "runs")  # finished here
    newer = saved(home, UNFINISHED[0], 2e9, 2000)
    older = saved(home, UNFINISHED[1], 5e8, 2000)
    before = newer.read_bytes()
    archives, _ = pack_checkpoints(away, tmp_path)
    taken, refused = unpack(archives, home)
    assert taken == [older] and not refused and newer.read_bytes() == before
    assert older.stat().st_mtime == 1e9


@pytest.mark.parametrize(
    "name", ["../evil/checkpoints/a.pt", "/tmp/checkpoints/a.pt", "cpu/checkpoints/../../a.pt", "cpu/runs/a.pt", "a.pt"]
)
def test_nothing_but_checkpoints_leaves_an_archive(tmp_path, name, capsys):
    good = saved(tmp_path / "away", UNFINISHED[0]).read_bytes()
    with tarfile.open(tmp_path / "checkpoints-1.tar", "w") as tar:
        for path, content in ((name, good), ("cpu/checkpoints/altered.pt", good[:-1]), ("cpu/checkpoints/b.pt", good)):
            member = tarfile.TarInfo(path)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("cpu/checkpoints/link.pt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.warns(UserWarning, match="is not whole or does not belong here"):
        assert main(["adopt", str(tmp_path / "none.jsonl"), "--results", str(tmp_path / "home")]) == 1
    assert list(files(tmp_path / "home")) == ["cpu/checkpoints/b.pt"]
    assert "1 taken, 3 that cannot be used" in capsys.readouterr().out


def test_a_cut_archive_gives_what_it_holds(tmp_path):
    for experiment in UNFINISHED:
        saved(tmp_path / "away", experiment, size=20_000)
    (archive,), _ = pack_checkpoints(tmp_path / "away", tmp_path)
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.warns(UserWarning):
        taken, refused = unpack([archive], tmp_path / "home")
    assert 0 < len(taken) < len(UNFINISHED) and refused


@pytest.mark.parametrize("arguments", [["none.jsonl"], ["."], ["none.jsonl", "--commit", "HEAD"]])
def test_bad_input_ends_with_2(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["adopt", *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "results").exists()


def test_a_bad_line_ends_with_1_and_the_rest_is_there(tmp_path):
    journal = tmp_path / "j"
    append_to_journal(journal, RUN)
    journal.write_text("{}\n" + journal.read_text())
    with pytest.warns(UserWarning, match="line 1"):
        assert main(["adopt", str(journal), "--results", str(tmp_path)]) == 1
    assert len(list(tmp_path.glob("cpu/runs/*.json"))) == 1


def with_logits(results, **fields):
    """A record in a folder of results, with random logits beside it."""
    run = record(**fields)
    path = record_path(run.experiment, results / run.experiment.profile / "runs").with_suffix(".npz")
    values = np.random.default_rng(run.experiment.seed).normal(size=(1000, 10))
    run = replace(run, logits_fingerprint=write_logits(path, values))
    run.write(path.parent)
    return run, path


def test_test_logits_come_home_beside_their_records(tmp_path, capsys):
    away, home, out = tmp_path / "away", tmp_path / "home", tmp_path / "out"
    runs = [with_logits(away, seed=seed) for seed in range(3)]
    for run, _ in runs[:2]:
        append_to_journal(out / "records.jsonl", run)
    archives, left_out = pack_logits(away, out, [run.experiment.name for run, _ in runs[:2]])
    assert [path.name for path in archives] == ["logits-1.tar"] and not left_out
    assert main(["adopt", str(out / "records.jsonl"), "--results", str(home)]) == 0
    assert "logits: 2 taken" in capsys.readouterr().out
    held = files(home)
    assert {name: content for name, content in held.items() if name.endswith(".npz")} == {
        path.relative_to(away).as_posix(): path.read_bytes() for _, path in runs[:2]
    }
    assert main(["adopt", str(out / "records.jsonl"), "--results", str(home)]) == 0
    assert files(home) == held


def test_logits_of_another_run_are_refused(tmp_path):
    """Without a record, of a record with another fingerprint, and no logits at all: nothing is written."""
    away, home = tmp_path / "away", tmp_path / "home"
    (first, path), (second, other), (third, broken) = (with_logits(away, seed=seed) for seed in range(3))
    replace(second, logits_fingerprint=first.logits_fingerprint).write(home / "cpu" / "runs")
    third.write(home / "cpu" / "runs")
    broken.write_bytes(b"no archive of arrays")
    archives, _ = pack_logits(away, tmp_path, [path.stem, other.stem, broken.stem])
    with pytest.warns(UserWarning, match="does not belong here"):
        assert unpack(archives, home) == ([], 3)
    assert not list(home.rglob("*.npz"))


def test_the_state_that_a_deferred_run_starts_from_comes_home_after_the_checkpoints(tmp_path):
    away, home = tmp_path / "away", tmp_path / "home"
    path = saved(away, UNFINISHED[0])
    start = saved(away, UNFINISHED[1]).rename(path.with_name(f"{UNFINISHED[1].name}.epoch24.start"))
    archives, _ = pack_checkpoints(away, tmp_path, [start, path.with_name("none.start")])
    with tarfile.open(archives[0]) as tar:
        assert [name.split("/")[-1] for name in tar.getnames()] == [path.name, start.name]
    taken, refused = unpack(archives, home)
    assert [p.name for p in taken] == [path.name, start.name] and not refused


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_sweep_with_a_journal_leaves_all_that_is_to_come_home(tmp_path, monkeypatch, interrupted):
    """Also if it is interrupted."""
    from replication.training.sweep import sweep as module

    name = UNFINISHED[0].name

    def runs(experiments, options, **keywords):
        run, _ = with_logits(options.results)
        append_to_journal(options.journal, run)
        saved(options.results, UNFINISHED[0])
        if interrupted:
            raise KeyboardInterrupt
        return Counter(finished=1)

    monkeypatch.setattr(module, "sweep", runs)
    arguments = ["sweep", "smoke", "--profile", "smoke", "--results", str(tmp_path / "results"), "--device", "cpu"]
    assert main([*arguments, "--journal", str(tmp_path / "out" / "j")]) == (130 if interrupted else 0)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["checkpoints-1.tar", "j", "logits-1.tar"]
    with tarfile.open(tmp_path / "out" / "checkpoints-1.tar") as tar:
        assert tar.getnames() == [f"cpu/checkpoints/{name}.pt"]
