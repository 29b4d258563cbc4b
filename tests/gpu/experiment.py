"""The suite ``smollm2-dolly-gpu`` within a time budget, several cells at a time on one card.

    python tests/gpu/experiment.py OUT --home HOME --seconds 300

trains the teacher, stores its states, and hands the cells to worker processes, seed by seed. When
the time is over no further cell begins. The finished seeds are then run as a suite, which finds
everything done, measures the overhead and writes the report. ``OUT`` gets ``results.jsonl.gz`` and
``timeline.json``.
"""

import argparse
import gzip
import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from queue import Empty
from typing import Any

SUITE = "smollm2-dolly-gpu"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
LAST = 35.0
"""Seconds that are kept for the last run: imports, overhead, report."""
SCRATCH = (
    "{kind: scratch, vocabulary: 49152, config: {model_type: llama, hidden_size: 576, "
    "intermediate_size: 1536, num_hidden_layers: 30, num_attention_heads: 9, "
    "num_key_value_heads: 3, tie_word_embeddings: true, max_position_embeddings: 2048}}"
)
"""A model of SmolLM2-135M's shape with random weights, to time the experiment without it."""
SETS = ("dolly", "self-inst", "vicuna", "sinst", "uinst")
TINY = (
    "seeds=[1]", "data.train.limit=60", "data.max_prompt_tokens=96", "data.max_tokens=128",
    "teacher.sft.steps=2", "teacher.sft.batch_size=2", "training.steps=2", "training.batch_size=2",
    "training.gradient_accumulation=2", "evaluation.sampling.max_new_tokens=4",
    "evaluation.batch_size=4", "timing.pairs=1", "timing.warmup=0",
    *(f"evaluation.sets.{name}.limit=3" for name in SETS),
)  # fmt: skip
SMALL = (
    "teacher.base={kind: scratch, vocabulary: 600, config: {model_type: llama, hidden_size: 32, "
    "intermediate_size: 64, num_hidden_layers: 30, num_attention_heads: 2, "
    "tie_word_embeddings: true, max_position_embeddings: 256}}"
)
"""A teacher for a trial of seconds on a CPU."""
EXTRA = "adakd_step"
"""The arm that is left out if the time does not suffice for all seeds of it."""
Made = tuple[str, list[Any], float, str]
"""A cell's key, its records, its seconds, and the error that it ended with, if any."""


class Stopped(Exception):
    """The process was asked to end."""


def stopped(*_: Any) -> None:
    """End the process in order: what is done is brought back."""
    raise Stopped


def work(suite: Any, folder: Path, cells: Any, results: Any) -> None:
    """Train and score the cells that arrive, one after another, and send back their records."""
    from adakd.evaluation.harness import Harness, score
    from adakd.execution.serial import TASKS
    from adakd.models.loading import place
    from adakd.planning import plan
    from adakd.training.context import RunContext
    from adakd.training.fitting import train
    from adakd.training.sequences import TrainingData
    from adakd.training.teacher_states import TeacherStates

    planned = plan(suite)
    context = RunContext(planned, folder)
    data = TrainingData(context)
    teacher, assignments = TeacherStates(data), {one.cell.key: one for one in planned.assignments}
    context.encoded  # noqa: B018  # tokenizer and data are read while the teacher is trained
    for key, saved in iter(cells.get, None):
        records: list[Any] = []
        start, error = time.monotonic(), ""
        try:
            context.saved |= saved
            assignment = assignments[key]
            if assignment.cell.role != "teacher":
                resolved = data.resolve(assignment)
                records.append(train(resolved, data, teacher, keep=records.append))
            if not records or records[-1].status == "done":
                harness = Harness(place(context.load(assignment)), context.tokenizer, suite)
                groups: dict[str, list[Any]] = {}
                for job in planned.jobs:
                    if job.cell == assignment.cell:
                        groups.setdefault(job.answers, []).append(job)
                for group in groups.values():
                    records += score(harness, group, suite, folder / TASKS)
                del harness
        except Exception:
            error = traceback.format_exc()
        results.put((key, records, time.monotonic() - start, error))


@dataclass
class Pool:
    """Worker processes that take cells from a queue."""

    suite: Any
    folder: Path
    size: int
    started: float
    """When the experiment began, on the monotonic clock."""
    timeline: list[dict[str, Any]] = field(default_factory=list)
    """Name, beginning and end of all that was done, in seconds."""

    def __post_init__(self) -> None:
        spawn = get_context("spawn")
        self.cells, self.results = spawn.Queue(), spawn.Queue()
        given = self.suite, self.folder, self.cells, self.results
        self.workers = [
            spawn.Process(target=work, args=given, daemon=True) for _ in range(self.size)
        ]
        for worker in self.workers:
            worker.start()
        self.begun: dict[str, str] = {}
        """The names of the cells in the queue and at work, by their keys."""

    @property
    def broken(self) -> bool:
        """Whether no worker is left."""
        return not any(worker.is_alive() for worker in self.workers)

    @property
    def now(self) -> float:
        """Seconds since the experiment began."""
        return time.monotonic() - self.started

    def begin(self, cell: Any, saved: Any) -> None:
        """Hand a cell to the workers, with the hashes of the models that it may load."""
        self.begun[cell.key] = str(cell)
        self.cells.put((cell.key, saved))

    def finished(self, until: float) -> Iterator[Made]:
        """Yield what the workers have made, waiting for one cell if they are all at work."""
        wait = True
        while self.begun:
            if self.now > until or self.broken:
                return
            try:
                made: Made = self.results.get(timeout=1.0 if wait else 0.01)
            except Empty:
                if wait:
                    continue
                return
            wait = False
            key, _, seconds, error = made
            self.note(self.begun.pop(key), self.now - seconds, error)
            yield made

    def note(self, name: str, start: float, error: str = "") -> None:
        """Add a line to the timeline and print it."""
        line = {"name": name, "start": round(start, 1), "end": round(self.now, 1)}
        self.timeline.append(line | ({"error": error} if error else {}))
        print(f"{line['start']:7.1f} {line['end']:7.1f}  {name}", error[-1500:], flush=True)

    def stop(self) -> None:
        """End the workers."""
        for worker in self.workers:
            worker.kill()
        for worker in self.workers:
            worker.join()


def ordered(planned: Any) -> tuple[list[Any], list[Any]]:
    """Return the cells that need no teacher states, and the others, those of `EXTRA` last."""
    students = [one for one in planned.assignments if one.cell.role != "teacher"]
    free = [one for one in students if not one.cell.has_teacher]
    taught = [one for one in students if one.cell.has_teacher]
    taught.sort(key=lambda one: (one.cell.arm == EXTRA, one.cell.seed))
    return [planned.teacher, *free], taught


def experiment(suite: Any, folder: Path, size: int, seconds: float, pool: Pool) -> list[str]:
    """Do what the time allows; return the changes that leave what is done (:func:`done_suite`)."""
    from adakd.evaluation.tasks import write_tasks
    from adakd.execution.serial import TASKS
    from adakd.planning import plan
    from adakd.progress import Silent
    from adakd.store import Store, locked
    from adakd.training.context import RunContext
    from adakd.training.fitting import train
    from adakd.training.sequences import TrainingData
    from adakd.training.teacher_states import TeacherStates

    pool.note("imports", 0.0)
    planned = plan(suite)
    with locked(folder):
        store, context = Store(folder), RunContext(planned, folder)
        data = TrainingData(context)
        write_tasks(suite, context.tokenizer, folder / TASKS)
        pool.note("data", pool.now)
        start = pool.now
        store.add(train(data.resolve(planned.teacher), data, TeacherStates(data)))
        pool.note("train the teacher", start)
        waiting, taught = ordered(planned)
        spans: list[float] = []
        end = seconds + LAST / 3  # a cell that is nearly done may finish
        while waiting or taught or pool.begun:
            room = pool.now + max(spans, default=0.0) < seconds
            while waiting and room and (taught or len(pool.begun) < size):
                pool.begin(waiting.pop(0).cell, context.saved)
            if taught:  # while the workers do what needs no states
                start = pool.now
                TeacherStates(data).prepare(data.resolve(taught[0]), store, Silent())
                pool.note("store teacher states", start)
                waiting, taught = taught, []
            if not pool.begun:  # and no time to begin another
                break
            for _, records, took, _ in pool.finished(end):
                store.add(*records)
                spans.append(took)
            if pool.now > end or pool.broken:
                break
    pool.stop()
    return done_suite(planned, Store(folder))


def done_suite(planned: Any, store: Any) -> list[str]:
    """Return the changes that leave of a suite what is done: whole seeds, of all arms if it can be.

    Empty if no seed is done.
    """
    arms = {name: spec for name, spec in planned.suite.arms.items() if name != EXTRA}
    few, every = (_seeds(planned, store, but) for but in (EXTRA, None))
    if not few:
        return []
    if len(every) == len(few):
        return [f"seeds={every}"]
    kept = {name: spec.model_dump() for name, spec in arms.items()}
    return [f"seeds={few}", f"arms={json.dumps(kept)}"]


def _seeds(planned: Any, store: Any, but: str | None) -> list[int]:
    """Return the seeds whose cells all have their records, those of the arm `but` aside."""
    jobs = {job.cell.key for job in planned.jobs if job.key not in store}
    missing = [
        cell
        for cell in planned.cells
        if (cell.key in jobs or cell.key not in store) and cell.arm != but
    ]
    if any(cell.role in ("teacher", "untrained") for cell in missing):
        return []
    late = {cell.seed for cell in missing}
    return [seed for seed in planned.suite.seeds if seed not in late]


def options(given: argparse.Namespace) -> list[str]:
    """Return the changes of the suite for this machine."""
    home = given.home.resolve()
    model = [f"teacher.base.model={home / 'model'}", f"teacher.base.gguf_file={GGUF}"]
    if given.scratch:
        model = [f"teacher.base={SCRATCH}"]
    if given.tiny:
        model = [SMALL]
    return [f"data.folder={home / 'data'}", *model, *(TINY if given.tiny else ()), *given.set]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--home", type=Path, required=True, help="what unpack.py filled")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--processes", type=int, default=8, help="cells at a time")
    parser.add_argument("--scratch", action="store_true", help="random weights of the same shape")
    parser.add_argument("--device", choices=["cpu"], help="use no GPU")
    parser.add_argument("--tiny", action="store_true", help="a trial of seconds")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    given = parser.parse_args()
    started = time.monotonic()
    signal.signal(signal.SIGTERM, stopped)
    if given.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    threads = max(1, (os.cpu_count() or 1) // given.processes)
    os.environ |= {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}

    import adakd
    from adakd.cli import _quiet

    _quiet()
    changes = options(given)
    suite = adakd.load_suite(SUITE, changes)
    folder = given.home.resolve() / "experiment"
    shutil.rmtree(folder, ignore_errors=True)
    given.out.mkdir(parents=True, exist_ok=True)
    pool = Pool(suite, folder, given.processes, started)
    try:
        done = experiment(suite, folder, given.processes, given.seconds - LAST, pool)
        if done:
            start = pool.now
            whole = adakd.load_suite(SUITE, [*changes, *done])
            report = adakd.run(whole, folder)
            shutil.copyfile(report, given.out / "report.html")
            pool.note(f"overhead and report, {' '.join(done)}", start)
    finally:
        pool.stop()
        results = folder / "results.jsonl"
        if results.exists():
            (given.out / "results.jsonl.gz").write_bytes(gzip.compress(results.read_bytes()))
        timeline = json.dumps(pool.timeline, indent=1)
        (given.out / "timeline.json").write_text(timeline + "\n", encoding="utf-8")
    failed = [line["name"] for line in pool.timeline if "error" in line]
    sys.exit(f"experiment: failed: {', '.join(failed)}" if failed else 0 if done else 1)


if __name__ == "__main__":
    main()
