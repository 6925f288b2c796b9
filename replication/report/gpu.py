"""The page on GPUs: the results of `check-gpu` on the GPU that was available, and the time of the runs on it."""

import json
from pathlib import Path

import pandas as pd

from replication.files import write_text
from replication.report.front_page import TEMPLATES

SHARED_SWITCH = "8142a9e"  # the commit at which two threads shared torch's switch for TF32
PLAIN = "images/s, plain loop"


def write_gpu_page(results: Path | str, records: pd.DataFrame) -> list[Path]:
    """Write RESULTS/gpu/README.md from RESULTS/gpu/check.json and the records that ran on CUDA; [] without a check."""
    folder = Path(results) / "gpu"
    if not (folder / "check.json").is_file():
        return []
    found = json.loads((folder / "check.json").read_text(encoding="utf-8"))
    on_cuda = records[records["device"].str.contains("NVIDIA", regex=False, na=False)]
    kinds = on_cuda.groupby(["device", "concurrent_runs", "compiled"], dropna=False)["wall_seconds"]
    page = TEMPLATES.get_template("gpu.md.j2").render(
        found,
        runs=kinds.agg(["size", "median"]).reset_index().to_dict("records"),
        shared=on_cuda["git_commit"].str.startswith(SHARED_SWITCH, na=False).sum(),
        shared_switch=SHARED_SWITCH,
        speed=_speed(found["numbers"]),
    )
    return [folder / "check.json", write_text(folder / "README.md", page)]


def _speed(numbers: dict[str, float]) -> dict:
    """Compare the best rate with the plain loop and, in percent, with the limits of the device; {} without a loop."""
    if PLAIN not in numbers:
        return {}
    best = max((name for name in numbers if "at once" in name), key=numbers.__getitem__)
    work = numbers[best] * numbers["operations an image, MFLOP"] / 1e4
    traffic = numbers[best] * numbers["memory traffic an image, MB"] / 10
    return dict(
        plain=numbers[PLAIN],
        best=best.removeprefix("images/s, "),
        ratio=numbers[best] / numbers[PLAIN],
        multiplied=work / numbers["bfloat16 multiplication, TFLOP/s"],
        moved=traffic / numbers["memory, GB/s"],
    )
