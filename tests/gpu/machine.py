"""Write down the card, the driver and the versions of a machine: ``machine.py FILE.json``."""

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

PACKAGES = ("torch", "triton", "transformers", "peft", "accelerate", "liger-kernel", "lm-eval")
ASKED = "name,driver_version,memory.total,clocks.max.sm,clocks.max.mem,power.limit"


def card() -> dict[str, str]:
    """Return what ``nvidia-smi`` says about the first GPU; empty without one."""
    command = ["nvidia-smi", f"--query-gpu={ASKED}", "--format=csv,noheader", "--id=0"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(zip(ASKED.split(","), said.stdout.strip().split(", "), strict=False))


def versions() -> dict[str, str]:
    """Return the versions of the packages that decide times and numbers."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def main() -> None:
    content = {
        "card": card(),
        "cuda": torch.version.cuda,
        "versions": versions(),
        "system": f"{platform.system()} {platform.release()}",
        "cores": os.cpu_count(),
    }
    Path(sys.argv[1]).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(content))


if __name__ == "__main__":
    main()
