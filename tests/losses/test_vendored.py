"""The losses and theory/effective_number.py can be copied into another project, where nothing else of ours exists."""

import ast
import shutil
import sys
from pathlib import Path

from sweep_processes import doctests_of_a_copy, exit_code, start

PACKAGE = Path(__file__).resolve().parents[2] / "replication"
ALLOWED = {"torch", "numpy", "replication", *sys.stdlib_module_names}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def test_losses_import_torch_numpy_and_themselves():
    for path in (PACKAGE / "losses").glob("*.py"):
        for name in imported(path):
            assert name.split(".")[0] in ALLOWED, (path.name, name)
            if name.startswith("replication"):
                assert name.startswith(("replication.losses", "replication.theory.effective_number")), (path.name, name)


def test_losses_use_no_private_name_of_torch():
    for path in (PACKAGE / "losses").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
                assert "torch" not in ast.unparse(node), (path.name, ast.unparse(node))


def test_doctests_run_in_a_copy(tmp_path):
    copy = tmp_path / "replication"
    (copy / "theory").mkdir(parents=True)
    shutil.copytree(PACKAGE / "losses", copy / "losses")
    shutil.copy(PACKAGE / "theory" / "effective_number.py", copy / "theory")
    for folder in (copy, copy / "theory"):
        (folder / "__init__.py").touch()
    assert exit_code(start(doctests_of_a_copy, tmp_path)) == 0
