"""A module imports from those above it (theory, losses, data, training, report), never back; where torch may be."""

import ast
import subprocess
import sys
from pathlib import Path

import replication

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "replication"
ROOMS = ["theory", "losses", "data", "training", "report"]
LOSSES = ("losses", "loss_terms", "loss_arguments", "focal")
FILES = sorted(p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE or p.stem in LOSSES)
WITHOUT_TORCH = (
    ["replication", "replication.__main__"]
    + [
        f"replication.training.{name}"
        for name in (
            "records",
            "experiment",
            "schedule",
            "large_scale_experiment",
            "large_scale_command",
            "sweep_command",
        )
    ]
    + [
        ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for room in ("theory", "report")
        for p in sorted((PACKAGE / room).rglob("*.py"))
    ]
)


def room_of(module: str) -> str | None:
    """The room of a dotted module or public name of this package; the losses' own helpers belong to losses."""
    parts = module.split(".")
    if len(parts) == 2 and parts[1] in replication._HOME:
        parts = ["replication", *replication._HOME[parts[1]].split(".")]
    if parts[0] != "replication" or len(parts) < 2:
        return None
    return parts[1] if parts[1] in ROOMS else "losses" if parts[1] in LOSSES else None


def imported(path: Path):
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.rsplit(".", node.level)[0] + "." if node.level else ""
            yield (base + (node.module or "")).rstrip(".")
            yield from (f"{base}{node.module or ''}.{alias.name}".replace("..", ".") for alias in node.names)


def test_imports_go_one_way():
    wrong = []
    for path in FILES:
        mine = room_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
        theirs = {name: room_of(name) for name in imported(path)}
        wrong += [f"{path} imports {n}" for n, room in theirs.items() if room and ROOMS.index(room) > ROOMS.index(mine)]
    assert not wrong


def test_theory_records_and_report_import_without_torch():
    code = f"""
import importlib, sys
for name in {WITHOUT_TORCH!r}:
    importlib.import_module(name)
    assert "torch" not in sys.modules, name
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr[-500:]


def test_the_rule_can_fail():
    assert room_of("replication.ClassBalancedLoss") == "losses"
    assert room_of("replication.report.tables") == "report" and room_of("numpy") is None
    path = PACKAGE / "theory" / "effective_number.py"
    assert not any(room_of(name) == "report" for name in imported(path))
    assert any(room_of(name) == "training" for name in imported(PACKAGE / "report" / "measured.py"))
