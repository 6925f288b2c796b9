"""The covering run: whole files or none, the same bytes for a seed, what is there is used, no torch."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from replication.data.image_set import ImageSet
from replication.data.pack import pack_path, write_pack
from replication.experiments import covering as covering_results
from replication.report.figures import covering as covering_figures
from replication.report.figures.style import draw_all
from replication.theory import covering
from replication.theory.departures import departures

COMMITTED = Path(__file__).parents[2] / "results" / "covering"
TABLES = ["departures.csv", "near_duplicates.csv", "random_crops.csv", "verify.csv", "wholly_inside.csv"]
FIGURES = ["covering", "departures", "effective_number", "near_duplicates", "wholly_inside", "z_scores"]
TINY = tuple(
    covering.Case(g, d, n, 20, 2, 4) for g, d, n in (("prototypes", 0, 1), ("prototypes", 0, 50), ("cubes", 1, 100))
)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(covering, "QUICK", TINY)
    small = departures([("uniform", 1), ("gaussian", 1)], 20, 10, resamples=5)
    monkeypatch.setattr(covering_results, "departures", lambda *_, **__: small)
    monkeypatch.setattr(covering_results, "PER_CLASS", 20)


def test_an_interrupted_write_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch):
    path = covering_results.write_csv(pd.DataFrame({"a": [1]}), tmp_path / "t.csv")

    def interrupted(self, target, **_):
        target.write(b"half a ta")
        raise KeyboardInterrupt

    monkeypatch.setattr(pd.DataFrame, "to_csv", interrupted)
    with pytest.raises(KeyboardInterrupt):
        covering_results.write_csv(pd.DataFrame({"a": [2]}), path)
    assert path.read_text() == "a\n1\n" and [p.name for p in tmp_path.iterdir()] == ["t.csv"]


def test_run_writes_the_same_tables_twice(tmp_path, tiny):
    for name in "ab":
        assert covering_results.run(tmp_path / name, full=False).passed
    assert sorted(p.name for p in (tmp_path / "a" / "covering").iterdir()) == TABLES
    for file in TABLES:
        assert (tmp_path / "a" / "covering" / file).read_bytes() == (tmp_path / "b" / "covering" / file).read_bytes(), (
            file
        )
    near = pd.read_csv(tmp_path / "a" / "covering" / "near_duplicates.csv")
    assert set(near.augmentation) == {"none", "crop and flip"} and set(near.dataset) == {"digits"}
    assert {"class_name", "radius", "draws", "pairs", "collisions", "N", "N_low", "N_high", "beta"} <= set(near)


def test_run_keeps_the_rows_of_data_sets_that_are_not_here(tmp_path, tiny):
    covering_results.run(tmp_path, full=False)
    path = tmp_path / "covering" / "near_duplicates.csv"
    digits = pd.read_csv(path)
    both = pd.concat([digits, digits.assign(dataset="cifar100")], ignore_index=True)
    covering_results.write_csv(both, path)
    covering_results.run(tmp_path, full=False)
    pd.testing.assert_frame_equal(pd.read_csv(path), both)


@pytest.mark.slow
def test_all_figures_are_the_same_twice(tmp_path):
    for name in "ab":
        shutil.copytree(COMMITTED, tmp_path / name, ignore=shutil.ignore_patterns("*.png", "*.pdf", "*.md"))
        draw_all(covering_figures.drawings(tmp_path / name))
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert files == sorted(TABLES + [f"{f}.{e}" for f in FIGURES for e in ("png", "pdf")])
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_prepare_takes_what_is_there(tmp_path, tiny, monkeypatch):
    """Smoke works on a copy of any tables; the other profiles want the committed sizes and run anew if smaller."""
    calls = []
    monkeypatch.setattr(covering_results, "run", lambda results, full, data_root: calls.append((results, full)))
    own, common = tmp_path / "smoke" / "covering", tmp_path / "covering"
    assert covering_results.prepare(tmp_path) == own
    for name in TABLES:
        covering_results.write_csv(covering.battery(TINY), common / name)
    covering_results.prepare(tmp_path)
    for name in TABLES:
        (own / name).write_text("of an earlier day")
    covering_results.prepare(tmp_path)
    assert all((own / name).read_bytes() == (common / name).read_bytes() for name in TABLES)
    assert covering_results.prepare(tmp_path, "cpu") == common
    monkeypatch.setattr(covering, "COMMITTED", TINY)
    covering_results.prepare(tmp_path, "cpu")
    assert calls == [(tmp_path / "smoke", False), (tmp_path, True)]


def test_verify_table_survives_the_file(tmp_path):
    frame = covering.verify(volume=10, draws=[1, 5, 20], replicates=50)
    read = pd.read_csv(covering_results.write_csv(frame, tmp_path / "verify.csv"))
    assert covering.check(read).passed and list(read) == covering.COLUMNS
    np.testing.assert_allclose(read["mean"], frame["mean"], rtol=1e-9)


def test_a_pack_is_left_out_of_the_near_duplicates(tmp_path, capsys):
    """It holds some images of a class only, and others would be compared without a word."""
    data = ImageSet(np.arange(40, dtype=np.uint8).reshape(40, 1, 1, 1), np.arange(40) % 2, ("a", "b"))
    write_pack(pack_path(tmp_path, "cifar10"), {"cifar10": (data, data)}, [(10, 0)])
    assert covering_results._training_images("cifar10", tmp_path) is None
    assert "pack" in capsys.readouterr().out
