"""Run the notebooks in order and keep the executed copies, as .ipynb and HTML, with an index page of the results."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from replication.cli.options import one_line
from replication.files import write_text

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
TEMPLATES = PackageLoader("replication.report")


def reproduce(profile: str, results: Path, data_root: Path | None = None, device: str = "auto") -> int:
    """Execute notebooks/NN_*.ipynb top to bottom with papermill under one profile.

    Writes RESULTS/<profile>/notebooks/NN_*.ipynb and .html, RESULTS/<profile>/index.html and, if Sphinx is installed,
    the site in RESULTS/<profile>/site.

    Returns:
        0, or 1 if a notebook failed (it is named with its cell and error, and what was executed is kept) or the site.

    Raises:
        ValueError: there are no notebooks beside the package (an installation without the repository), or data_root is
            given and not a folder.
    """
    if data_root is not None and not data_root.expanduser().is_dir():
        raise ValueError(f"data_root must be a folder of images, got {data_root}")
    names = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
    if not names:
        raise ValueError(f"notebooks must lie in {NOTEBOOKS}: run this from a clone of the repository")
    started = time.monotonic()
    folder = results / profile / "notebooks"
    folder.mkdir(parents=True, exist_ok=True)
    pages = []
    with ThreadPoolExecutor(1) as pool:  # writes a notebook's page while the next one runs
        for number, notebook in enumerate(names, 1):
            print(f"[{number}/{len(names)}] {notebook.stem} ({profile} profile)", flush=True)
            copy = folder / notebook.name
            copy.unlink(missing_ok=True)  # else a failure could show what an earlier run left
            failure = execute(notebook, copy, profile, results, data_root, device)
            if copy.exists():
                pages.append(pool.submit(write_html, copy.absolute()))  # papermill changes the folder meanwhile
            if failure:
                print(f"{notebook.name} failed: {failure}; what was executed is in {copy}")
                break
    for page in pages:
        page.result()
    if failure:
        return 1
    index = write_index(results / profile, profile)
    if find_spec("sphinx"):  # the extra docs
        try:
            index = write_site(results, profile)
        except subprocess.CalledProcessError:
            print(f"the site could not be built (its error is above); the notebooks are complete: open {index}")
            return 1
    minutes = (time.monotonic() - started) / 60
    print(f"figures: {results / profile / 'notebooks' / 'figures'}, tables: {results / profile / 'tables'}")
    print(f"reproduced in {minutes:.1f} minutes ({profile} profile, {len(names)} notebooks): open {index}")
    return 0


def execute(notebook: Path, copy: Path, profile: str, results: Path, data_root: Path | None, device: str) -> str | None:
    """Run one notebook in the folder of the notebooks and save it as `copy`; return an error message, or None."""
    import papermill
    from nbclient.exceptions import DeadKernelError

    from replication.cli.kernels import own_kernel

    folders = dict(results=results, data_root=data_root and data_root.expanduser())
    parameters = {name: path and os.path.relpath(path.resolve(), notebook.parent) for name, path in folders.items()}
    parameters |= dict(profile=profile, device=device)
    try:
        with own_kernel(NOTEBOOKS) as kernel:
            source, target = _without_fields(notebook), _without_fields(copy)
            # The kernel may end at once: all its output is saved by then.
            kernel |= dict(cwd=notebook.parent, kernel_name="python3", shutdown_kernel="immediate")
            papermill.execute_notebook(source, target, parameters, **kernel)
    except papermill.PapermillExecutionError as error:
        return one_line(f"cell {error.exec_count}: {error.ename}: {error.evalue}")
    except (DeadKernelError, RuntimeError) as error:  # the kernel did not start, or was killed for memory, say
        return one_line(error)
    finally:
        if copy.exists():
            _forget_paths(copy)
    return None


def _without_fields(path: Path) -> str:
    """Escape a path for papermill, which would replace {names} in it by parameters."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _forget_paths(copy: Path) -> None:
    """Remove the absolute paths of this machine, which papermill writes, from an executed copy."""
    notebook = json.loads(copy.read_text(encoding="utf-8"))
    for key in ("input_path", "output_path"):
        notebook["metadata"].get("papermill", {}).pop(key, None)
    write_text(copy, json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


def write_html(copy: Path) -> Path:
    """Write the executed notebook as an HTML page beside it; inputs tagged "fold" are folded, "hide-input" left out."""
    return write_text(copy.with_suffix(".html"), _exporter().from_filename(str(copy))[0])


@cache
def _exporter():
    """Return nbconvert's exporter, whose templates are compiled once for all pages."""
    from nbconvert import HTMLExporter

    return HTMLExporter(
        extra_loaders=[TEMPLATES],
        template_file="folded.html.j2",
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )


def write_site(results: Path, profile: str) -> Path:
    """Write the pages of `make site` with this profile's notebooks to RESULTS/<profile>/site; return their index."""
    out = results / profile / "site"
    build = [sys.executable, str(NOTEBOOKS.parent / "docs" / "build.py")]
    options = ["--out", str(out), "--profile", profile, "--results", str(results)]
    subprocess.run([*build, *options], check=True, stdout=subprocess.DEVNULL)
    return out / "index.html"


def write_index(folder: Path, profile: str) -> Path:
    """Write FOLDER/index.html, with all figures and links to the notebooks and tables."""
    from replication.report.figures.style import figure_caption  # matplotlib

    environment = Environment(
        loader=TEMPLATES, undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("index.html.j2").render(
        profile=profile,
        folder=folder,
        notebooks=sorted((folder / "notebooks").glob("*.html")),
        tables=sorted(folder.glob("**/tables/*.md")),
        figures=sorted([*folder.glob("*/*.png"), *folder.glob("notebooks/figures/*.png")]),
        caption=figure_caption,
    )
    return write_text(folder / "index.html", page)
