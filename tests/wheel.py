"""Checks a built wheel: `python tests/wheel.py FOLDER`; the tests themselves run on it."""

import sys
from pathlib import Path
from zipfile import ZipFile

SHIPPED = (
    "suites/smoke.yaml",
    "suites/smoke-teacher.yaml",
    "suites/smoke-teacher/config.json",
    "suites/smoke-teacher/model.safetensors",
    "suites/smoke-teacher/tokenizer.json",
    "suites/paper/tables.json",
    "judges/rule.yaml",
    "templates/new/suite.yaml",
    "bench/bench.ini",
    "bench/test_loss.py",
)

(wheel,) = Path(sys.argv[1]).glob("adakd-*.whl")
names = ZipFile(wheel).namelist()
strange = [n for n in names if not n.startswith(("adakd/", "adakd-"))]
missing = [n for n in SHIPPED if f"adakd/_data/{n}" not in names]
assert not strange, f"would land in site-packages beside adakd: {strange}"
assert not missing, f"not in the wheel: {missing}"
assert "adakd/py.typed" in names
print(f"{wheel.name}: {len(names)} files, all of them adakd's")
