"""Unpack on the machine what ``pack.py`` packed: needs bare Python and pip, and no network.

    python tests/gpu/unpack.py HOME [PACKED]

checks every folder of PACKED (``.gpu``) that is there by its digests, installs the wheels into
``HOME/site``, and puts data and weights into ``HOME/data`` and ``HOME/model``. Weights are joined
as soon as all their pieces have come, in this call or an earlier one.
"""

import gzip
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from pack import CHECKOUT, SUMS, WEIGHTS, digest


def wrong_files(folder: Path) -> list[str]:
    """Return what is wrong with the files of a packed folder, one line a file."""
    sums = folder / SUMS
    if not sums.exists():
        return [f"{sums}: missing"]
    found = []
    for line in sums.read_text(encoding="utf-8").splitlines():
        expected, _, name = line.partition("  ")
        file = folder / name
        if not file.is_file():
            found.append(f"{file}: missing")
        elif digest(file) != expected:
            found.append(f"{file}: its content is not what was packed")
    return found


def install(wheels: Path, site: Path) -> None:
    """Install wheels, and this checkout's name and version, which its records give."""
    files = sorted(map(str, wheels.glob("*.whl")))
    options = "--quiet --no-index --no-deps --no-compile --no-cache-dir --upgrade".split()
    quiet = ["--disable-pip-version-check", "--root-user-action=ignore"]
    pip = [sys.executable, "-m", "pip", "install", *options, *quiet, "--target", str(site)]
    subprocess.run([*pip, *files], check=True)
    settings = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name, version = settings["name"], settings["version"]
    about = site / f"{name}-{version}.dist-info"
    about.mkdir(exist_ok=True)
    about.joinpath("METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8"
    )


def unpack_data(packed: Path, data: Path) -> None:
    """Decompress the data sets."""
    for file in packed.rglob("*.gz"):
        target = data / file.relative_to(packed).with_suffix("")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(gzip.decompress(file.read_bytes()))


def join(pieces: Path, model: Path) -> str:
    """Join the pieces of the weights if they have all come; return what there is to say."""
    expected, _, name = (pieces / "whole").read_text(encoding="utf-8").strip().partition("  ")
    target = model / name
    if target.exists() and digest(target) == expected:
        return f"weights: {target}"
    numbers = sorted(int(file.suffix[1:]) for file in pieces.glob(f"{name}.*"))
    model.mkdir(parents=True, exist_ok=True)
    draft = target.with_suffix(".draft")
    with draft.open("wb") as stream:
        for number in numbers:
            with (pieces / f"{name}.{number}").open("rb") as source:
                shutil.copyfileobj(source, stream)
    if digest(draft) != expected:
        draft.unlink()
        return f"weights: pieces {numbers} have come, which is not all of {name}"
    draft.rename(target)
    return f"weights: {target}"


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.read_bytes() == other.read_bytes()


def unpack(packed: Path, home: Path) -> int:
    """Unpack all folders of `packed` into `home`; return the exit code."""
    folders = sorted(folder for folder in packed.glob("*") if folder.is_dir())
    done = home / "done"
    new = [folder for folder in folders if not _same(folder / SUMS, done / folder.name)]
    wrong = [line for folder in new for line in wrong_files(folder)]
    if wrong or not folders:
        print("\n".join(wrong) or f"{packed}: nothing is packed there; run tests/gpu/pack.py")
        return 2
    done.mkdir(parents=True, exist_ok=True)
    for folder in new:
        if (folder / "wheels").is_dir():
            install(folder / "wheels", home / "site")
        unpack_data(folder / "data", home / "data")
        shutil.copytree(folder / WEIGHTS, home / "pieces", dirs_exist_ok=True)
        shutil.copyfile(folder / SUMS, done / folder.name)
    print(join(home / "pieces", home / "model"))
    return 0


if __name__ == "__main__":
    packed = Path(sys.argv[2]) if len(sys.argv) > 2 else CHECKOUT / ".gpu"
    sys.exit(unpack(packed, Path(sys.argv[1])))
