"""The page on GPUs: the results of `check-gpu` on the GPU that was available, and the time of the runs on it."""

import json
from pathlib import Path

import pandas as pd

from replication.files import write_text

FOLDER = "gpu"
PASSED = {True: "yes", False: "**no**"}
SHARED_SWITCH = "8142a9e"  # the commit at which two threads shared torch's switch for TF32
GOAL = 8  # times the straightforward loop
PLAIN = "images/s, plain loop"
UNMEASURED = "Not run on a GPU: the plain loop (DataLoader, eager, float32) with which the speed is to be compared."


def write_gpu_page(results: Path | str, records: pd.DataFrame) -> list[Path]:
    """Write RESULTS/gpu/README.md from RESULTS/gpu/check.json and the records of runs on CUDA; [] without a check.

    Args:
        results: the folder of results.
        records: of full-protocol runs.
    """
    folder = Path(results) / FOLDER
    if not (folder / "check.json").is_file():
        return []
    found = json.loads((folder / "check.json").read_text(encoding="utf-8"))
    lines = [
        "# On a GPU",
        "",
        f"Generated from check.json, which `python -m replication check-gpu` wrote on one {found['device']} "
        f"(torch {found['torch']}), and from the records.",
        "",
        "| check | passed | what was compared |",
        "| --- | --- | --- |",
        *(f"| {name} | {PASSED[ok]} | {found['details'][name]} |" for name, ok in found["checks"].items()),
        "",
        "| measured | value |",
        "| --- | --- |",
        *(f"| {name} | {value:,} |" for name, value in found["numbers"].items()),
        "",
        *_runs(records),
        *_speed(found["numbers"]),
        "",
    ]
    return [folder / "check.json", write_text(folder / "README.md", "\n".join(lines))]


def _speed(numbers: dict[str, float]) -> list[str]:
    """The best rate against the plain loop and against the limits of the device."""
    if PLAIN not in numbers:
        return [UNMEASURED]
    name, best = max(((k, v) for k, v in numbers.items() if "at once" in k), key=lambda item: item[1])
    ratio = best / numbers[PLAIN]
    verdict = "met" if ratio >= GOAL else "missed"
    multiplied = best * numbers["operations an image, MFLOP"] / numbers["bfloat16 multiplication, TFLOP/s"] / 1e4
    moved = best * numbers["memory traffic an image, MB"] / numbers["memory, GB/s"] / 10
    return [
        "The plain loop (torchvision transforms in a DataLoader with 4 processes, eager, NCHW, float32) trains "
        f"{numbers[PLAIN]:,} images per second. The best of ours ({name.removeprefix('images/s, ')}) trains "
        f"{ratio:.1f} times as many; the goal, {GOAL} times, is {verdict}. That is {multiplied:.0f} % of the device's "
        "measured rate of bfloat16 multiplications, and the least memory traffic of the convolutions is "
        f"{moved:.0f} % of its measured bandwidth."
    ]


def _runs(records: pd.DataFrame) -> list[str]:
    """The runs on CUDA, a line for each device and number of runs at once."""
    on_cuda = records[records["device"].str.contains("NVIDIA", regex=False)] if len(records) else records
    if not len(on_cuda):
        return []
    kinds = on_cuda.groupby(["device", "concurrent_runs", "compiled"], dropna=False)
    rows = [
        f"| {device} | {at_once:g} | {compiled} | {len(runs)} | {runs['wall_seconds'].median():.0f} |"
        for (device, at_once, compiled), runs in kinds
    ]
    shared = on_cuda["git_commit"].str.startswith(SHARED_SWITCH, na=False).sum()
    flaw = [
        f"In {shared} of these runs (commit {SHARED_SWITCH}) the last evaluation may have used TF32 in place of "
        "float32, because threads shared a switch; in the check above the two differ by hundredths of a point.",
        "",
    ]
    head = ["| device | runs at once | compiled | runs of 200 epochs | seconds a run, median |", "| --- " * 5 + "|"]
    return [*head, *rows, "", *(flaw if shared else ())]
