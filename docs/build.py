"""Build the site: python docs/build.py [--out DIR] [--profile PROFILE] [--results DIR]
[--data-root DIR].

The pages keep their places relative to each other: README.md becomes the index, and docs/, results/ and notebooks/ lie
below it, so that a link works on the site as it does in the repository. The notebooks run first, on a copy of the
results and with the records that these hold, unless `python -m replication reproduce` left executed copies there.
"""

import argparse
import gc
import re
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from sphinx.cmd.build import main as sphinx

from replication.cli.notebooks import NOTEBOOKS, execute
from replication.experiments.experiment import PROFILES

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "CITATION.cff")
TAGS = {  # the notebooks' tags, and MyST's for the same
    "hide-input": "remove-input",
    "fold": "hide-input",
    "parameters": "remove-input",
    "injected-parameters": "remove-input",
}
CONTENTS = """
```{toctree}
:hidden:
:caption: Results
:glob:

results/README
results/*/README
```

```{toctree}
:hidden:
:caption: Use the loss

docs/guides/pytorch
docs/guides/lightning
docs/guides/hugging_face
docs/beta
docs/api
```

```{toctree}
:hidden:
:caption: Reproduce

docs/training
docs/large_scale
docs/gpu
CONTRIBUTING
CHANGELOG
```

```{toctree}
:hidden:
:caption: Notebooks
:glob:

notebooks/*
```
"""


def gather(stage: Path, results: Path) -> None:
    """Copy all pages, and the tables and figures that they show, into one folder."""
    stage.mkdir()
    (stage / "index.md").write_text((ROOT / "README.md").read_text(encoding="utf-8") + CONTENTS, encoding="utf-8")
    for name in PAGES:
        shutil.copy(ROOT / name, stage)
    shutil.copytree(ROOT / "docs", stage / "docs", ignore=shutil.ignore_patterns("*.py", "__pycache__", "_static"))
    ignored = shutil.ignore_patterns("checkpoints", "quarantine", "site", "*.html", "*.lock")
    for folder in (ROOT / "results", results):  # results elsewhere come on top of those that are committed
        shutil.copytree(folder, stage / "results", ignore=ignored, dirs_exist_ok=True)
    for path in (stage / "results").rglob("*.md"):  # a table's caption becomes the title of its page
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r"\A\*\*(.*)\*\*$", r"# \1", text, flags=re.MULTILINE), encoding="utf-8")
    (stage / "notebooks").mkdir()


def run_notebooks(stage: Path, profile: str, data_root: Path | None) -> None:
    """Put an executed copy of each notebook in place; SystemExit names one that failed."""
    for notebook in sorted(NOTEBOOKS.glob("[0-9]*.ipynb")):
        copy, done = stage / "notebooks" / notebook.name, stage / "results" / profile / "notebooks" / notebook.name
        if done.exists():
            shutil.copy(done, copy)
        else:
            print(f"running {notebook.name} ({profile} profile)", flush=True)
            if failure := execute(notebook, copy, profile, stage / "results", data_root, "cpu"):
                sys.exit(f"error: {notebook.name} failed: {failure}")
        fold(copy)


def fold(path: Path) -> None:
    """Say in the site's words which inputs of a notebook are folded and which are left out."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        cell.metadata["tags"] = sorted({TAGS[tag] for tag in tags if tag in TAGS})
    nbformat.write(notebook, path)


def build(out: Path, profile: str, results: Path, data_root: Path | None = None) -> int:
    """Write the site to `out`; Sphinx's exit code."""
    with tempfile.TemporaryDirectory() as folder:
        stage, html = Path(folder, "pages"), Path(folder, "site")
        gather(stage, results)
        run_notebooks(stage, profile, data_root)
        for runs in stage.glob("results/*/notebooks"):
            shutil.rmtree(runs)
        code = sphinx(["-q", "-b", "html", "-c", str(ROOT / "docs"), "-d", f"{folder}/doctrees", str(stage), str(html)])
        shutil.copytree(html, out, dirs_exist_ok=True)
    return code


def main() -> int:
    gc.set_threshold(100_000, 20, 20)  # Sphinx keeps its trees to the end: the collector spent 1.2 of 8.4 s on them
    parser = argparse.ArgumentParser(description="Build the site.")
    parser.add_argument("--out", type=Path, default=ROOT / "site", help="folder to write (default: site)")
    parser.add_argument("--profile", choices=PROFILES, default="cpu", help="records in the notebooks (default: cpu)")
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="results to show (default: results)")
    parser.add_argument("--data-root", type=Path, help="images for notebook 03 (default: scikit-learn's digits)")
    args = parser.parse_args()
    code = build(args.out.resolve(), args.profile, args.results.resolve(), args.data_root)
    print(f"open {args.out / 'index.html'}")
    return code


if __name__ == "__main__":
    sys.exit(main())
