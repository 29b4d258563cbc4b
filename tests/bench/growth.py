"""How a run grows: plan, load, restart and report of made-up runs of 50 to 5,000 cells.

``python tests/bench/growth.py`` takes a quarter of an hour and prints a table; ``--cells 50 500``
a minute. Each step is a process of its own, measured by its processor seconds and its most memory.
Nothing is trained or generated: the records are plausible numbers.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from made_records import PHASES, score, step, training

from adakd.config import Suite
from adakd.planning import PLAIN, Plan, plan

SEEDS, SETS, SAMPLINGS = 5, 5, 5
"""Training seeds of a method, sets, and sampling seeds: 25 scores of every cell."""
STEPS, ITEMS = 100, 20
CELLS = (50, 500, 5000)
"""Distilled cells of the runs; each has some controls on top."""
WORDS = "one two three four five six seven eight nine ten".split()


def suite(cells: int) -> Suite:
    """Return a suite with so many distilled cells: two arms of `SEEDS` seeds each."""
    generated = {"kind": "generated", "rows": 100}
    scratch = {"kind": "scratch", "config": {"model_type": "llama"}}
    labels = max(1, cells // (2 * SEEDS))
    lams = [(number + 1) / (labels + 1) for number in range(labels)]
    return Suite.model_validate(
        {
            "name": f"{cells}-cells",
            "seeds": list(range(1, SEEDS + 1)),
            "data": {"train": generated},
            "teacher": {"base": scratch, "sft": {"steps": STEPS}},
            "student": scratch,
            "divergences": [
                {"divergence": {"name": "skew_reverse_kl", "lam": lam}, "label": f"kl-{number}"}
                for number, lam in enumerate(lams)
            ],
            "training": {"steps": STEPS},
            "evaluation": {
                "sets": {f"set-{number}": generated for number in range(SETS)},
                "sampling": {"seeds": list(range(1, SAMPLINGS + 1))},
            },
        }
    )


def records(planned: Plan) -> Iterator[Any]:
    """Yield a training for every cell, a score for every job, and the timings."""
    from adakd.planning import timing_key
    from adakd.store.records import TeacherStatesRecord, TimedStep, TimingRecord

    chance = random.Random(0)

    def seconds() -> dict[str, float]:
        return {phase: chance.uniform(0.1, 0.2) for phase in PHASES}

    for assignment in planned.assignments:
        cell = assignment.cell
        steps = (
            step(
                number,
                chance.random(),
                learning_rate=1e-4 * (1 - number / STEPS),
                grad_norm=chance.random(),
                kept_ratio=1.0 if cell.arm == PLAIN else chance.uniform(0.5, 1),
                seconds=seconds(),
            )
            for number in range(1, STEPS + 1)
        )
        yield training(cell, steps, seconds=60.0, rows=100)
    skills = {cell.method: chance.gauss(0.3, 0.02) for cell in planned.cells}
    hardness = [chance.gauss(0, 0.1) for _ in range(ITEMS)]
    for job in planned.jobs:
        skill = skills[job.cell.method]
        values = [min(1.0, max(0.0, skill + one + chance.gauss(0, 0.1))) for one in hardness]
        yield score(job, values, lambda _: " ".join(chance.choices(WORDS, k=12)))
    once: set[str] = set()
    for assignment in planned.assignments:
        key = timing_key(assignment.recipe, planned.suite.timing)
        if assignment.cell.arm != PLAIN and key not in once:
            once.add(key)
            pairs = [
                tuple(
                    TimedStep(arm=arm, seconds=seconds(), peak_bytes=10**8)
                    for arm in (PLAIN, assignment.cell.arm)
                )
                for _ in range(planned.suite.timing.pairs)
            ]
            yield TimingRecord(
                key=key,
                divergence=str(assignment.cell.divergence),
                arm=assignment.cell.arm,
                device="cpu",
                tokens=100,
                pairs=tuple(pairs),
            )
    yield TeacherStatesRecord(
        key=planned.teacher_states_key, cache="fp16", sequences=100, readings=1000
    )


def write(cells: int, folder: Path) -> None:
    """Write a finished run with so many cells."""
    from adakd.store import Store
    from adakd.store.provenance import run_record

    planned = plan(suite(cells))
    store = Store(folder)
    store.add(run_record(planned))
    made = records(planned)
    while some := list(islice(made, 1000)):
        store.add(*some)


# --- what is measured -----------------------------------------------------------------------------


def do_plan(cells: int, folder: Path) -> None:
    """Make the plan and show it, as ``adakd plan``."""
    from adakd.commands.plan import plan_summary
    from adakd.console import PlainConsole

    with open("/dev/null", "w") as nowhere:
        PlainConsole(file=nowhere).print(plan_summary(plan(suite(cells))))


def do_load(cells: int, folder: Path) -> None:
    """Open the store."""
    from adakd.store import Store

    Store(folder)


def do_restart(cells: int, folder: Path) -> None:
    """Start a finished run again, up to its report."""
    from adakd.commands.run import run

    run(suite(cells), folder)


def do_report(cells: int, folder: Path) -> None:
    """Write the report."""
    from adakd.reporting import write_report

    write_report(folder)


DONE = {"plan": do_plan, "load": do_load, "restart": do_restart, "report": do_report}


def measured(step: str, cells: int, folder: Path) -> tuple[float, float]:
    """Return processor seconds and added memory of a step, in a process of its own."""
    command = [sys.executable, __file__, "--step", step, "--cells", str(cells)]
    done = subprocess.run([*command, "--folder", folder], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    seconds, memory = map(float, done.stdout.split())
    return seconds, memory


def one_step(step: str, cells: int, folder: Path) -> None:
    """Do a step, and print its processor seconds and the memory that it added."""
    import adakd.commands.plan
    import adakd.reporting

    if step == "restart":
        adakd.reporting.write_report = lambda folder: folder  # a step of its own
        import adakd.execution.flow
        import adakd.execution.serial
        import adakd.losses.dispatch

    before, start = most_memory(), time.process_time()
    DONE[step](cells, folder)
    print(time.process_time() - start, most_memory() - before)


def most_memory() -> int:
    """Return the most bytes that this process has had at a time."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, nargs="+", default=CELLS)
    parser.add_argument("--folder", type=Path, help="keep the runs here")
    parser.add_argument("--step", choices=DONE, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        one_step(given.step, given.cells[0], given.folder)
        return
    with tempfile.TemporaryDirectory() as scratch:
        print("| cells | scores | records | step | CPU s | ms a cell | memory |")
        print("|---|---|---|---|---|---|---|")
        for cells in given.cells:
            folder = (given.folder or Path(scratch)) / f"{cells}"
            if not folder.exists():
                write(cells, folder)
            size = (folder / "results.jsonl").stat().st_size
            planned = plan(suite(cells))
            for step in DONE:
                seconds, memory = measured(step, cells, folder)
                count, scores = len(planned.cells), len(planned.jobs)
                print(
                    f"| {count:,} | {scores:,} | {size / 1e6:,.0f} MB | {step} | {seconds:.2f} | "
                    f"{1000 * seconds / count:.1f} | {memory / 1e6:,.0f} MB |",
                    flush=True,
                )
            page, figures = (folder / name for name in ("report.html", "report.json"))
            sizes = [f"{file.stat().st_size / 1e6:.1f} MB" for file in (page, figures)]
            print(f"page {sizes[0]}, report.json {sizes[1]}", file=sys.stderr)


if __name__ == "__main__":
    main()
