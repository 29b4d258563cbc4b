"""Sphinx configuration: pages in Markdown, the command line and the API from the code."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "adakd"
author = "The adakd authors"
project_copyright = "The adakd authors, Apache-2.0"
version = release = installed_version("adakd")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "command_line",
    "mathml",
    "public_names",
    "settings_tables",
]
exclude_patterns = ["_build", "_generated"]

myst_enable_extensions = ["attrs_block", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

highlight_language = "none"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "exclude-members": "model_config"}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("ours", "notes")]
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = "adakd"
html_static_path = ["_static"]
html_css_files = ["adakd.css"]
html_copy_source = False
html_show_sphinx = False
html_math_renderer = "mathml"
