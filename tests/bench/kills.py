"""Kills a small run at random moments, cuts its power, and compares the records in the end.

``python tests/bench/kills.py`` takes ten minutes. Each trial disturbs a run a few times,
repeats it until it is done, and compares all its records, but for times, with those of a run that
nothing disturbed. Linux only: runs are forked from a process that has imported everything.
"""

import argparse
import gc
import importlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}

import yaml
from power import LOSSES, Disk

from adakd import cli

IMPORTED = ("adakd.execution.flow", "adakd.execution.serial", "nltk", "sklearn.metrics")
"""What a run imports when it needs it: here once for all runs."""

SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
CHANGING = {"seconds", "peak_bytes"}
"""Fields of records that no two runs share."""
PER_TRIAL = 3
"""Disturbances of one run at most."""


def _llama(hidden: int) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "tie_word_embeddings": True,
        "max_position_embeddings": 96,
    }


SUITE = {
    "description": "A run of seconds with every stage",
    "seeds": [1],
    "data": {
        "train": {"kind": "generated", "rows": 24},
        "template": "plain",
        "max_prompt_tokens": 64,
        "max_tokens": 96,
    },
    "teacher": {
        "base": {"kind": "scratch", "vocabulary": 400, "config": _llama(32)},
        "sft": {"steps": 4, "batch_size": 4, "learning_rate": 0.05, "save_every": 1},
    },
    "student": {"kind": "scratch", "config": _llama(16)},
    "divergences": [{"divergence": "forward_kl", "policy": "sequence_level"}],
    "training": {
        "steps": 4,
        "batch_size": 4,
        "learning_rate": 0.05,
        "schedule": "constant",  # so that a step too many shows
        "save_every": 1,
    },
    "evaluation": {
        "sets": {"puzzles": {"kind": "generated", "split": "test", "rows": 6}},
        "choices": [{"set": "puzzles"}],
        "sampling": {"do_sample": False, "max_new_tokens": 8},
        "batch_size": 6,
    },
    "diagnostics": {"every": 2},
    "timing": {"pairs": 1, "warmup": 0},
    "judges": ["rule"],
}


class Trials:
    """Runs of one suite that are disturbed and compared.

    Args:
        folder: an empty folder for suite, runs and what they print.
        seed: of the moments and of what cuts take.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.chance = folder, random.Random(seed)
        self.suite = folder / "small.yaml"
        self.suite.write_text(yaml.safe_dump(SUITE))
        self.ended: Counter[str] = Counter()
        self.expected = self._finished(self._new("undisturbed"))
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.seconds = used.ru_utime + used.ru_stime

    def kills(self, count: int) -> Iterator[bool]:
        """Send `count` signals to runs; yield for each trial whether its records are equal."""
        while count > 0:
            name = self._new("kills")
            for _ in range(min(PER_TRIAL, count)):
                number = self.chance.choice(SIGNALS)
                code = self._disturbed(name, number)
                if code == 0:
                    break  # it was done before
                count -= 1
                self._note(f"{number.name} ended with {code}", code in (-number, 128 + number))
            yield self._finished(name) == self.expected

    def cuts(self, count: int) -> Iterator[bool]:
        """Cut the power of runs `count` times; yield for each trial whether records are equal."""
        while count > 0:
            name = self._new("cuts")
            for _ in range(min(PER_TRIAL, count)):
                memory = Path(tempfile.mkdtemp(dir=self.folder))
                disk = Disk(self.folder / name, memory)
                code = self._disturbed(name, signal.SIGKILL, disk.watch)
                if code == 0:
                    break
                losses = LOSSES[count % len(LOSSES)]
                disk.cut(self.chance, losses)
                shutil.rmtree(memory)
                count -= 1
                self._note(f"power cut that took {losses}", code == -signal.SIGKILL)
            yield self._finished(name) == self.expected

    def _new(self, what: str) -> str:
        """Make the folder of a run and return its name."""
        name = f"{what}-{len([*self.folder.glob(f'{what}-*.log')])}"
        (self.folder / name).mkdir()
        return name

    def _note(self, what: str, as_it_should: bool) -> None:
        self.ended[what if as_it_should else f"WRONG: {what}"] += 1

    def _disturbed(
        self, name: str, number: signal.Signals, first: Callable[[], None] = lambda: None
    ) -> int:
        """Send a signal to a run at a random moment; return its exit code."""
        process, end = self._start(name, first), self.chance.random() * self.seconds
        while _processor_seconds(process) < end:
            if (ended := os.waitpid(process, os.WNOHANG))[0]:
                return os.waitstatus_to_exitcode(ended[1])
            time.sleep(0.002)
        os.kill(process, number)
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])

    def _finished(self, name: str) -> dict[tuple[str, str], Any]:
        """Run to the end and return the records, by kind and key; of a failure, its exit code."""
        code = os.waitstatus_to_exitcode(os.waitpid(self._start(name), 0)[1])
        if code:
            self._note(f"{name} cannot be repeated, exit code {code}", False)
            return {("exit code", name): code}
        found = records(self.folder / name / "run")
        strange = [*(self.folder / name).rglob("*checkpoint*"), *self.folder.rglob("*.draft")]
        if strange:
            self._note(f"left behind: {strange[0].relative_to(self.folder)}", False)
        return found

    def _start(self, name: str, first: Callable[[], None] = lambda: None) -> int:
        """Start the command line in a forked process and return its number."""
        if process := os.fork():
            return process
        with (self.folder / f"{name}.log").open("a") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        sys.argv = ["adakd", "run", str(self.suite), "--out", str(self.folder / name / "run")]
        code = 1
        try:
            first()
            cli.main()
        except SystemExit as error:
            code = int(error.code or 0)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


def _processor_seconds(process: int) -> float:
    """Return the processor time of a process, which other work on the machine does not change."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def records(run: Path) -> dict[tuple[str, str], Any]:
    """Return all records of a run but those of its starts, the last of each key, without times."""
    lines = (run / "results.jsonl").read_text(encoding="utf-8").split("\n")
    found = [json.loads(line) for line in lines if line]
    return {(one["kind"], one["key"]): _lasting(one) for one in found if one["kind"] != "run"}


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lasting(inner) for key, inner in value.items() if key not in CHANGING}
    return [*map(_lasting, value)] if isinstance(value, list) else value


def main() -> None:
    """Do the trials that the command line asks for; exit code 1 if any result differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="signals: SIGKILL, SIGINT, SIGTERM")
    parser.add_argument("--cuts", type=int, default=20, help="simulated power cuts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="keep runs and logs in this new folder")
    chosen = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the command line sets its own handler
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # runs need not look through what is here
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.out or Path(temporary)
        folder.mkdir(exist_ok=chosen.out is None)
        trials = Trials(folder.resolve(), chosen.seed)
        equal = {
            "kills": [*trials.kills(chosen.kills)],
            "power cuts": [*trials.cuts(chosen.cuts)],
        }
    for what, count in sorted(trials.ended.items()):
        print(f"{count:4}  {what}")
    for what, results in equal.items():
        print(f"{what}: {sum(results)} of {len(results)} runs end with equal records")
    print(f"{len(trials.expected)} records a run, {trials.seconds:.1f} s of the processor")
    wrong = any(what.startswith("WRONG") for what in trials.ended)
    sys.exit(wrong or not all(map(all, equal.values())))


if __name__ == "__main__":
    main()
