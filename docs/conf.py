"""Sphinx's settings for the site; `docs/build.py` gathers the pages and calls Sphinx."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # mathml.py

from numpy.typing import ArrayLike
from sphinx.util.typing import stringify_annotation

import replication

project = "Class-balanced loss"
author = "The class-balanced-replication authors"
version = release = replication.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "mathml"]
root_doc = "index"

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
myst_dmath_double_inline = True  # $$...$$ right below a line of text, as notebooks have it
myst_update_mathjax = False
html_math_renderer = "mathml"
nb_execution_mode = "off"  # build.py runs the notebooks
nb_merge_streams = True
nb_render_markdown_format = "myst"
nb_code_prompt_show = nb_code_prompt_hide = "setup"

default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_param = False

html_theme = "furo"
html_favicon = "_static/favicon.svg"
html_title = "Class-balanced loss, replicated"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type", "toc.not_included"]  # pages of results link each other


def name_array_like(app, what, name, obj, options, signature, returns):
    """Write ArrayLike by its name; Sphinx writes out the long union that it stands for."""
    return signature and signature.replace(stringify_annotation(ArrayLike, "smart"), "ArrayLike"), returns


def capitalise_raises(app, what, name, obj, options, lines):
    """Write "Raises" where Sphinx shows a field as it is spelled, which is in the docstrings of modules."""
    if what == "module":
        lines[:] = [line.replace(":raises ", ":Raises ", 1) for line in lines]


def setup(app):
    app.connect("autodoc-process-docstring", capitalise_raises)
    app.connect("autodoc-process-signature", name_array_like)
