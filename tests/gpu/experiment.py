"""The suite ``smollm2-dolly-gpu`` within a time budget, several cells at a time on one card.

    python tests/gpu/experiment.py OUT --home HOME --seconds 500

trains the teacher, stores its states, and hands the cells to worker processes: the plain arms and
AdaKD seed by seed, then SFT, then the arm `EXTRA`. After each cell ``OUT`` gets
``results.jsonl.gz``, which ``adakd report`` makes a page of, for the pairs that are complete, and
``timeline.json``. A cell that has begun may use all the time that there is. What is left in the end
goes to the overhead and the page.

Seconds, from those measured with twelve processes on an H200 whose processor is slow (a forward
pass of 20 layers 40 ms, the backward pass 50 ms, whatever the batch; three times that where twelve
processes share the card; a decoding step of 20 layers 40 to 100 ms):

- imports 20, data 8, the teacher 25 + 120 steps of 0.25, its states 22: 105
- a cell: 100 steps of 2 x 0.32, scoring 480 decoding steps: 64 + 15 to 50, so 80 to 115
- twelve pairs' cells, then three of SFT and six of `EXTRA` (a fifth longer): 180 to 250
- the overhead and the page: 60

which is 285 to 355 for all 18 distilled cells. If a pass over twice the rows took twice as long,
which was not measured, it would be 105 + 2 * 180 = 465.
"""

import argparse
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from queue import Empty
from typing import Any

SUITE = "smollm2-dolly-gpu"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
CLOSE, PAGE, OVERHEAD = 8.0, 30.0, 75.0
"""Seconds that are left for stopping the workers; needed for the page; for the page with the
overhead."""
CELL_GIB = 8.0
"""Memory of a cell: a step of 4096 tokens and 30 layers takes 4.5 GiB beyond weights and AdamW."""
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
Sent = tuple[str, str, list[Any], float, str]
"""A cell's key, what was done of it (`TRAINED` or all), its records, the seconds, the error."""
TRAINED, ALL = "trained", ""


class Stopped(Exception):
    """The process was asked to end."""


def stopped(*_: Any) -> None:
    """End the process in order: what is done is brought back."""
    raise Stopped


def work(suite: Any, folder: Path, cells: Any, results: Any) -> None:
    """Train and score the cells that arrive, one after another, and send back their records."""
    from adakd.evaluation.harness import Harness, score, together
    from adakd.execution.workers import TASKS
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
                if assignment.training is not None:
                    results.put((key, TRAINED, [], time.monotonic() - start, ""))
            if not records or records[-1].status == "done":
                harness = Harness(place(context.load(assignment)), context.tokenizer, suite)
                groups: dict[str, list[Any]] = {}
                for job in planned.jobs:
                    if job.cell == assignment.cell:
                        groups.setdefault(job.answers, []).append(job)
                for some in together(groups.values(), suite, folder / TASKS):
                    records += score(harness, some, suite, folder / TASKS)
                del harness
        except Exception:
            error = traceback.format_exc()
        results.put((key, ALL, records, time.monotonic() - start, error))


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

    def finished(self, until: float) -> Iterator[tuple[list[Any], float]]:
        """Yield records and seconds of finished cells, waiting for one if all are at work."""
        wait = True
        while self.begun:
            if self.now > until or self.broken:
                return
            try:
                sent: Sent = self.results.get(timeout=1.0 if wait else 0.01)
            except Empty:
                if wait:
                    continue
                return
            key, done, records, seconds, error = sent
            if done == TRAINED:
                self.note(f"{self.begun[key]}: trained", self.now - seconds)
                continue
            wait = False
            self.note(self.begun.pop(key), self.now - seconds, error)
            yield records, seconds

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
    """Return what needs no teacher states or training, and the students, in their order.

    The pairs of plain arm and AdaKD come first, seed by seed; then SFT; `EXTRA` is last.
    """
    others = [one for one in planned.assignments if one.cell.role == "untrained"]
    students = [one for one in planned.assignments if one.training and one.cell.role != "teacher"]
    students.sort(key=lambda one: (one.cell.arm == EXTRA, not one.cell.has_teacher, one.cell.seed))
    return [planned.teacher, *others], students


@dataclass
class Kept:
    """What comes back, as far as the cells are done."""

    changes: list[str]
    """The changes of the suite for this machine."""
    folder: Path
    out: Path
    pool: Pool
    done: list[str] = field(default_factory=list)
    """The changes that leave what is done (:func:`done_suite`)."""

    def suite(self, *more: str) -> Any:
        """Return the suite of what is done."""
        from adakd import load_suite

        return load_suite(SUITE, [*self.changes, *self.done, *more])

    def update(self, planned: Any, store: Any) -> None:
        """Let the records describe the run of what is done, and write them."""
        from adakd.planning import plan
        from adakd.store.provenance import run_record

        done = done_suite(planned, store)
        if done and done != self.done:
            self.done = done
            store.add(run_record(plan(self.suite("timing.pairs=0"))))
            self.write()

    def write(self) -> None:
        """Write the records and the timeline; what ends the script leaves them whole."""
        results, part = self.folder / "results.jsonl", self.out / "part"
        timeline = json.dumps(self.pool.timeline, indent=1) + "\n"
        files = {"timeline.json": timeline.encode()}
        if results.exists():
            files["results.jsonl.gz"] = gzip.compress(results.read_bytes())
        for name, content in files.items():
            part.write_bytes(content)
            part.replace(self.out / name)


def experiment(suite: Any, folder: Path, size: int, end: float, pool: Pool, kept: Kept) -> None:
    """Do what the time allows, and keep the records of each cell as soon as it is done."""
    from adakd.evaluation.tasks import write_tasks
    from adakd.execution.workers import TASKS
    from adakd.planning import plan
    from adakd.progress import Silent
    from adakd.store import Store, locked
    from adakd.training.context import RunContext
    from adakd.training.fitting import train
    from adakd.training.sequences import TrainingData
    from adakd.training.teacher_states import TeacherStates

    pool.note("imports", 0.0)
    start = pool.now
    planned = plan(suite)
    with locked(folder):
        store, context = Store(folder), RunContext(planned, folder)
        data = TrainingData(context)
        write_tasks(suite, context.tokenizer, folder / TASKS)
        context.encoded  # noqa: B018  # read now, so that the timeline tells it from the teacher
        pool.note("data", start)
        start = pool.now
        store.add(train(data.resolve(planned.teacher), data, TeacherStates(data)))
        free_memory()
        pool.note("train the teacher", start)
        waiting, taught = ordered(planned)
        spans: list[float] = []
        while waiting or taught or pool.begun:
            room = pool.now + max(spans, default=0.0) < end
            while waiting and room and (taught or len(pool.begun) < size):
                pool.begin(waiting.pop(0).cell, context.saved)
            if taught:  # while the workers do what needs no states
                start = pool.now
                teacher = TeacherStates(data)
                seconds = teacher.prepare(data.resolve(taught[0]), None, Silent())
                store.add(teacher.record(seconds))
                free_memory()
                pool.note("store teacher states", start)
                waiting, taught = taught, []
            kept.update(planned, store)  # the workers have what to do
            if not pool.begun:  # and no time to begin another
                break
            for records, took in pool.finished(end):
                store.add(*records)
                spans.append(took)
                kept.write()
            if pool.now > end or pool.broken:
                break
        kept.update(planned, store)


def free_memory() -> None:
    """Return unused memory to the card, for the workers."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def done_suite(planned: Any, store: Any) -> list[str]:
    """Return the changes that leave of a suite what is done; empty if no pair is.

    The most pairs of a plain arm and AdaKD, then the arm `EXTRA`, then SFT: what would cost a pair
    is left out.
    """
    suite = planned.suite
    unscored = {job.cell.key for job in planned.jobs if job.key not in store}
    missing = [one for one in planned.cells if one.key in unscored or one.key not in store]
    if any(cell.role in ("teacher", "untrained") for cell in missing):
        return []
    rows = [str(baseline) for baseline in suite.divergences]
    some, both = [rows, *([row] for row in rows)], (True, False)
    best: tuple[int, bool, bool] = (0, False, False)
    changes: list[str] = []
    for names, extra, sft in product(some, both, both):
        late = {
            cell.seed
            for cell in missing
            if (sft if cell.role == "sft" else cell.divergence in names)
            and (extra or cell.arm != EXTRA)
        }
        seeds = [seed for seed in suite.seeds if seed not in late]
        found = len(names) * len(seeds), extra, sft
        if seeds and found > best:
            best, changes = found, [f"seeds={seeds}"]
            if names != rows:
                changes.append(f"divergences={json.dumps(names)}")
            if not extra:
                arms = {name: arm.model_dump() for name, arm in suite.arms.items() if name != EXTRA}
                changes.append(f"arms={json.dumps(arms)}")
            if not sft:
                changes.append("controls.sft=false")
    return changes


def options(given: argparse.Namespace) -> list[str]:
    """Return the changes of the suite for this machine."""
    home = given.home.resolve()
    model = [f"teacher.base.model={home / 'model'}", f"teacher.base.gguf_file={GGUF}"]
    if given.scratch:
        model = [f"teacher.base={SCRATCH}"]
    if given.tiny:
        model = [SMALL]
    return [f"data.folder={home / 'data'}", *model, *(TINY if given.tiny else ()), *given.set]


def processes(most: int) -> int:
    """Return how many cells the card holds at a time."""
    query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    with suppress(OSError, ValueError):
        found = subprocess.run(query, capture_output=True, text=True, check=False).stdout
        return max(1, min(most, int(float(found.split()[0]) / 1024 / CELL_GIB)))
    return most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--home", type=Path, required=True, help="what unpack.py filled")
    parser.add_argument("--seconds", type=float, default=500.0)
    parser.add_argument("--processes", type=int, default=12, help="cells at a time, at most")
    parser.add_argument("--scratch", action="store_true", help="random weights of the same shape")
    parser.add_argument("--device", choices=["cpu"], help="use no GPU")
    parser.add_argument("--tiny", action="store_true", help="a trial of seconds")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    given = parser.parse_args()
    started = time.monotonic()
    signal.signal(signal.SIGTERM, stopped)
    if given.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

    import adakd
    from adakd.cli import _quiet

    _quiet()
    changes = options(given)
    suite = adakd.load_suite(SUITE, changes)
    folder = given.home.resolve() / "experiment"
    shutil.rmtree(folder, ignore_errors=True)
    given.out.mkdir(parents=True, exist_ok=True)
    size = processes(given.processes)
    pool = Pool(suite, folder, size, started)
    kept = Kept(changes, folder, given.out, pool)
    try:
        experiment(suite, folder, size, given.seconds - CLOSE, pool, kept)
        pool.stop()
        left = given.seconds - pool.now
        if kept.done and left > PAGE:
            start, more = pool.now, () if left > OVERHEAD else ("timing.pairs=0",)
            report = adakd.run(kept.suite(*more), folder)
            shutil.copyfile(report, given.out / "report.html")
            pool.note("page" if more else "overhead and page", start)
    finally:
        pool.stop()
        kept.write()
    print("done:", " ".join(kept.done) or "no pair", flush=True)
    failed = [line["name"] for line in pool.timeline if "error" in line]
    sys.exit(f"experiment: failed: {', '.join(failed)}" if failed else 0 if kept.done else 1)


if __name__ == "__main__":
    main()
