"""The rooms of the package import one way only, without circles; the rooms that read records work without torch."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import replication

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "replication"
BELOW = {  # room -> the rooms that it may import beside itself; files.py is open to all
    "theory": set(),
    "losses": {"theory"},
    "data": {"theory", "losses"},
    "experiments": {"theory", "losses", "data"},
    "training": {"theory", "losses", "data", "experiments"},
    "report": {"theory", "losses", "data", "experiments"},
    "cli": {"theory", "losses", "data", "experiments", "training", "report"},
}
REPORT_BELOW = {  # the same inside report; the modules beside them write pages from all of these
    "analysis": set(),
    "claims": {"analysis"},
    "figures": {"analysis"},
    "tables": {"analysis", "claims"},
}
WITHOUT_TORCH = ("theory", "experiments", "report", "cli")
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def imported(module: str) -> set[str]:
    """The modules of this package that a module imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {name if (name := f"{node.module}.{a.name}") in MODULES else node.module for a in node.names}
    return {name for name in found if name.split(".")[0] == "replication"}


def room(module: str, floor: int = 1) -> str | None:
    """The first folder of a module's name (floor 1), or that inside `report` (floor 2)."""
    parts = module.split(".")
    return parts[floor] if len(parts) > floor else None


def against(module: str, targets: set[str]) -> list[str]:
    """The imports of a module that go against the order of the rooms."""
    mine, wrong = room(module), []
    for target in targets - {module}:
        theirs = room(target)
        if theirs in BELOW and mine in BELOW and theirs != mine and theirs not in BELOW[mine]:
            wrong.append(f"{module} imports {target}")
        if mine == theirs == "report":
            inner, other = room(module, 2), room(target, 2)
            if inner in REPORT_BELOW and other != inner and other not in REPORT_BELOW[inner]:
                wrong.append(f"{module} imports {target}")
    return wrong


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_follow_the_order_of_the_rooms(module):
    assert not against(module, imported(module))


def test_no_module_imports_itself_by_a_detour():
    graph = {module: imported(module) & set(MODULES) - {module} for module in MODULES if module != "replication"}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_rooms_that_read_records_work_without_torch(tmp_path):
    """Their modules are imported, and a report is written."""
    modules = [name for name in sorted(MODULES) if room(name) in WITHOUT_TORCH]
    code = f"""
import importlib, sys
for name in {["replication", "replication.__main__", *modules]!r}:
    importlib.import_module(name)
    assert "torch" not in sys.modules, name
sys.modules["replication.report.site"].rebuild({str(tmp_path)!r}, figures=False)
assert "torch" not in sys.modules
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr[-500:]


def test_every_room_is_ruled():
    assert {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()} | {"losses"} == set(BELOW)
    assert set(replication._HOME.values()) <= {name.removeprefix("replication.") for name in MODULES}


def test_the_rule_can_fail():
    assert against("replication.theory.covering", {"replication.report.site"})
    assert against("replication.report.site", {"replication.training.loop"})
    assert against("replication.report.analysis.measured", {"replication.report.figures.style"})
    assert not against("replication.cli.training", {"replication.training.loop"})
