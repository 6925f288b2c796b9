"""The page on GPUs."""

import json

import pytest

from replication.report.analysis.profile import without_records
from replication.report.gpu import write_gpu_page

CHECKED = dict(device="NVIDIA X", torch="2.11", checks=dict(graph=True), details=dict(graph="20 steps"))
RATES = {"images/s, plain loop": 10_000, "images/s, 1 at once": 40_000, "images/s, 4 at once, compiled": 90_000}
LIMITS = {
    "bfloat16 multiplication, TFLOP/s": 500.0,
    "memory, GB/s": 3000,
    "operations an image, MFLOP": 400.0,
    "memory traffic an image, MB": 3.0,
}


@pytest.mark.parametrize(("plain", "words"), [(10_000, "9.0 times as many"), (12_000, "7.5 times as many")])
def test_the_best_rate_is_compared_with_the_plain_loop_and_the_limits(tmp_path, plain, words):
    """90,000 images of 400 MFLOP a second are 36 TFLOP/s, 7.2 % of 500; 3 MB each are 270 GB/s, 9 % of 3,000."""
    (tmp_path / "gpu").mkdir()
    numbers = RATES | LIMITS | {"images/s, plain loop": plain}
    (tmp_path / "gpu" / "check.json").write_text(json.dumps(CHECKED | dict(numbers=numbers)))
    write_gpu_page(tmp_path, without_records("paper").records)
    page = (tmp_path / "gpu" / "README.md").read_text()
    assert words in page and "That is 7 %" in page and "convolutions is 9 %" in page
    assert ("is met" in page) == (plain == 10_000)


def test_a_check_without_the_plain_loop_says_that_it_was_not_run(tmp_path):
    (tmp_path / "gpu").mkdir()
    (tmp_path / "gpu" / "check.json").write_text(json.dumps(CHECKED | dict(numbers={"images/s, 1 at once": 4})))
    write_gpu_page(tmp_path, without_records("paper").records)
    assert "Not run on a GPU" in (tmp_path / "gpu" / "README.md").read_text()
    assert not write_gpu_page(tmp_path / "elsewhere", without_records("paper").records)
