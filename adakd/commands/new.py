"""Write files to start from: for `adakd new`."""

import re
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from adakd.config import resources
from adakd.errors import AdakdError, UnknownName, did_you_mean

TEMPLATES = {
    "divergence": "divergence.py.j2",
    "bridge": "bridge.py.j2",
    "policy": "policy.py.j2",
    "metric": "metric.py.j2",
    "suite": "suite.yaml",
    "judge": "judge.yaml",
    "backend": "backend.py.j2",
}
_CODE = {"divergence", "bridge", "policy", "metric", "backend"}


def new(kind: str, name: str, folder: Path) -> Path:
    """Write a file to start from, which works as it is, and return its path.

    Args:
        kind: ``divergence``, ``bridge``, ``policy``, ``metric``, ``suite``, ``judge`` or
            ``backend`` (of a judge).
        name: of the new part; letters, digits, ``_`` and ``-``.
        folder: gets the file.

    Raises:
        AdakdError: an unknown kind, a bad name, or a file that exists already.
    """
    if kind not in TEMPLATES:
        raise UnknownName(f"cannot make a {kind!r}{did_you_mean(kind, TEMPLATES)}")
    if not re.fullmatch(r"[A-Za-z][\w-]*", name):
        raise AdakdError(f"{name!r}: a name is letters, digits, _ and -, a letter first")
    if kind in _CODE:
        name = name.replace("-", "_")
    template = resources.ROOT / "templates" / "new" / TEMPLATES[kind]
    file = folder / f"{name}{Path(template.name.removesuffix('.j2')).suffix}"
    if file.exists():
        raise AdakdError(f"{file} exists already: choose another name")
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    text = environment.from_string(template.read_text(encoding="utf-8")).render(name=name)
    file.write_text(text, encoding="utf-8")
    return file
