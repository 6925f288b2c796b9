"""Large-scale experiments: the paper's protocol as numbers (Section 5.4, Table 3, the authors' scripts)."""

import pytest

from replication.experiments.large_scale import LargeScaleExperiment, LargeScaleRecord, table3_rows
from replication.experiments.records import RunRecord, read_record, read_records
from replication.report.analysis import published as paper
from replication.training.schedule import LARGE_SCALE, learning_rate


@pytest.mark.parametrize(
    "dataset, published", [("iNaturalist 2017", 50905), ("iNaturalist 2018", 38454), ("ILSVRC 2012", 112603)]
)
def test_steps_are_those_of_the_authors_scripts(dataset, published):
    images = paper.published("table1").set_index("dataset").loc[dataset, "train_images"]
    assert LargeScaleExperiment().steps(int(images)) == published


def test_base_learning_rates_are_the_papers():
    focal = dict(loss="focal", gamma=0.5, beta=0.999)
    assert LargeScaleExperiment("inat2017", **focal).base_learning_rate == 0.4
    assert LargeScaleExperiment("inat2018", **focal).base_learning_rate == 0.4
    assert LargeScaleExperiment("ilsvrc2012", **focal).base_learning_rate == 0.2
    assert {LargeScaleExperiment(d).base_learning_rate for d in ("inat2017", "inat2018", "ilsvrc2012")} == {0.1}
    assert LargeScaleExperiment("inat2018", **focal).peak_learning_rate == pytest.approx(1.6)  # x 1024 / 256


def test_schedule_of_90_epochs():
    def rate(epoch):
        return learning_rate(epoch, epochs=90, base=1.6, drop_factor=0.1, points=LARGE_SCALE)

    assert [rate(e) for e in (0, 2.5, 5, 29.99)] == pytest.approx([0, 0.8, 1.6, 1.6])
    assert [rate(e) for e in (30, 59.99, 60, 79.99, 80, 90)] == pytest.approx(
        [0.16, 0.16, 0.016, 0.016, 0.0016, 0.0016]
    )


def test_table3_rows_are_those_of_the_published_table():
    ours = {(e.depth, e.loss, e.beta, e.size, e.dataset) for e in table3_rows()}
    printed = {
        (
            int(r.net[7:]),
            "focal" if r.loss == "CB Focal" else "softmax",
            r.beta if r.beta == r.beta else 0.0,
            r.input,
            dataset,
        )
        for r in paper.published("table3").itertuples()
        for dataset in ("inat2017", "inat2018", "ilsvrc2012")
    }
    assert ours == printed and len(table3_rows()) == 27
    assert len({e.name for e in table3_rows()}) == 27


def test_equal_experiments_have_one_name_and_every_field_counts():
    base = LargeScaleExperiment()
    assert LargeScaleExperiment(beta=0).name == base.name
    changed = [
        dict(depth=18),
        dict(size=320),
        dict(seed=1),
        dict(epochs=9),
        dict(batch_size=512),
        dict(weight_decay=0.0),
        dict(base_learning_rate=0.2),
        dict(beta=0.9),
        dict(loss="sigmoid"),
        dict(dataset="inat2017"),
    ]
    assert len({LargeScaleExperiment(**c).digest for c in changed} | {base.digest}) == len(changed) + 1


@pytest.mark.parametrize(
    "name, value",
    [
        ("dataset", "cifar10"),
        ("depth", 20),
        ("loss", "hinge"),
        ("beta", 1.5),
        ("beta", float("nan")),
        ("size", 100),
        ("size", 0),
        ("seed", -1),
        ("epochs", 0),
        ("epochs", True),
        ("batch_size", 0),
        ("batch_size", "8"),
        ("base_learning_rate", 0.0),
        ("weight_decay", -1.0),
        ("gamma", 0.5),
    ],
)
def test_guards_name_field_and_value(name, value):
    with pytest.raises(ValueError, match=f"{name} must be.*{value}"):
        LargeScaleExperiment(**{name: value})


@pytest.mark.parametrize("gamma", [None, -0.5, float("inf")])
def test_focal_needs_a_gamma_in_range(gamma):
    with pytest.raises(ValueError, match="gamma must be"):
        LargeScaleExperiment(loss="focal", gamma=gamma)


def _record(**changes):
    fields = dict(
        experiment=LargeScaleExperiment(),
        status="finished",
        error=25.0,
        best_error=24.0,
        best_epoch=80,
        error_per_class=None,
        class_names=["a", "b"],
        class_counts=[3, 1],
        curve=[dict(epoch=90, error=25.0, top5_error=8.0)],
        images_per_second=1.0,
        wall_seconds=2.0,
        dataset_fingerprint="0",
        subset_fingerprint="0",
        device="cpu",
        threads=1,
        precision="float32",
        compiled=False,
        torch_version="2",
        package_version="0",
        git_commit=None,
        git_clean=None,
        finished_at="",
        top5_error=8.0,
        processes=8,
        global_batch=1024,
        micro_batch=128,
        test_images=7,
        skipped_images=2,
    )
    return LargeScaleRecord(**fields | changes)


def test_record_keeps_processes_and_batch(tmp_path):
    path = _record().write(tmp_path)
    assert read_record(path, LargeScaleRecord) == _record()
    row = read_records(tmp_path, LargeScaleRecord).iloc[0]
    assert (row["processes"], row["global_batch"], row["skipped_images"], row["top5_error"]) == (8, 1024, 2, 8.0)
    assert row["profile"] == "large-scale"


def test_neither_reader_takes_the_others_records(tmp_path):
    with pytest.raises(ValueError, match="not a run record"):
        read_record(_record().write(tmp_path), RunRecord)
    with pytest.warns(UserWarning, match="not a run record"):
        assert not len(read_records(tmp_path))
