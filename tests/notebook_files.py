"""Notebooks as files.  nbformat is imported where it is used: its own imports take over a second."""

import time
from pathlib import Path


def read_notebook(path: Path):
    """The notebook, as nbformat gives it."""
    import nbformat

    return nbformat.read(path, as_version=4)


def write_notebook(path: Path, code: str, outputs=()) -> Path:
    """Write a notebook with a cell of parameters and a cell of this code, which has shown these outputs."""
    from nbformat import v4, write

    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [v4.new_code_cell("profile = ''", metadata={"tags": ["parameters"]})]
    cells.append(v4.new_code_cell(code, outputs=[v4.new_output("display_data", data=data) for data in outputs]))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    write(v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


def run_notebook(path: Path, folder: Path) -> str | None:
    """Execute it into FOLDER/copy.ipynb."""
    from replication.cli.notebooks import execute

    return execute(path, folder / "copy.ipynb", "smoke", folder, None, "cpu")


def hold_kernel(folder: Path) -> None:
    """Start a kernel, write its process id to FOLDER/pid, and stay."""
    from replication.cli.kernels import _Kernel

    kernel = _Kernel(str(folder / "c.json"), str(folder), {})
    kernel.start()
    (folder / "pid").write_text(str(kernel.pid))
    time.sleep(90)
