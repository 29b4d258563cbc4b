"""A run folder made up by seeded numbers: everything that a real run records, in miniature."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from html.parser import HTMLParser
from itertools import product
from math import ceil
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest

from adakd.planning import Cell
from adakd.reporting.report import Report
from adakd.reporting.sections.base import Context
from adakd.store import Store
from adakd.store.records import (
    VETTED,
    ExampleRecord,
    Item,
    JudgeRecord,
    Record,
    RunRecord,
    ScoreRecord,
    TaskRecord,
    TimedStep,
    TimingRecord,
    TrainingRecord,
    VerdictRecord,
    VettingRecord,
)
from adakd.store.steps import Step, Steps

STORED = Path(__file__).parent / "stored"
"""Records of a real run; its README says how it was made."""
WORDS = "the quick answer is that a small model can copy what its teacher finds likely".split()


@dataclass(frozen=True)
class Made:
    """What the made-up run holds; every part can be left out."""

    effects: tuple[tuple[str, float], ...] = (
        ("forward_kl", 0.004),
        ("reverse_kl", 0.045),
        ("skew_reverse_kl(lam=0.1)", -0.035),
    )
    """Divergences and what the adaptive arm adds to ROUGE-L."""
    arms: tuple[str, ...] = ("adakd",)
    seeds: tuple[int, ...] = (10, 20, 30)
    samplings: tuple[int, ...] = (1, 2)
    sets: tuple[str, ...] = ("dolly", "self-inst")
    metrics: tuple[str, ...] = ("rouge_l",)
    items: int = 40
    steps: int = 60
    choices: bool = True
    tasks: bool = True
    timing: bool = True
    judge: bool = True
    examples: bool = True
    run: bool = True
    longer: float = 0.0
    """Of the control: the share of steps that plain twins are trained for beyond the plain arm."""
    longer_effect: float = 0.003
    """What that adds to ROUGE-L."""
    failed: tuple[str, str, int] | None = ("forward_kl", "adakd", 30)
    missing: tuple[str, str, int] | None = None
    text: str | None = None
    """Put into every text that a model, a user or a data set could have written."""


def cell(role: str, seed: int, divergence: str | None = None, arm: str = "plain") -> Cell:
    key = f"{role}-{seed}-{divergence}-{arm}"
    return Cell(role=role, seed=seed, divergence=divergence, arm=arm, key=key)


def cells(made: Made) -> list[Cell]:
    controls = [cell("teacher", made.seeds[0]), cell("untrained", made.seeds[0])]
    controls += [cell("sft", seed) for seed in made.seeds]
    distilled = [
        cell("distilled", seed, divergence, arm)
        for divergence, _ in made.effects
        for seed in made.seeds
        for arm in ("plain", *made.arms)
    ]
    longer = [
        cell("longer", seed, divergence).model_copy(update={"longer": made.longer})
        for divergence, _ in made.effects
        for seed in made.seeds
    ]
    return controls + distilled + (longer if made.longer else [])


def fill(folder: Path, made: Made) -> Store:
    """Write the records of `made` into a folder, all at once: a store flushes each to the disk."""
    folder.mkdir(parents=True)
    (folder / "results.jsonl").write_text(content(made), encoding="utf-8")
    return Store(folder)


@cache
def content(made: Made) -> str:
    return "".join(record.model_dump_json() + "\n" for record in records(made))


def records(made: Made) -> Iterator[Record]:
    rng = np.random.default_rng(0)
    if made.run:
        yield run_record(made)
    for one in cells(made):
        place = (one.divergence, "longer" if one.longer else one.arm, one.seed)
        if place == made.missing:
            continue
        if one.role in ("sft", "distilled", "longer"):
            yield training(one, made, place == made.failed, rng)
        if place != made.failed:
            yield from scores(one, made)
    parts = ((made.timing, timing), (made.judge, judgements), (made.examples, example_texts))
    for wanted, make in parts:
        yield from make(made) if wanted else ()


def run_record(made: Made) -> RunRecord:
    generated = {"kind": "generated", "rows": 100}
    specs = []
    for name, _ in made.effects:
        plain, _, settings = name.rstrip(")").partition("(")
        pairs = (pair.split("=") for pair in settings.split(", ") if pair)
        specs.append({"name": plain, **{key: float(value) for key, value in pairs}})
    return RunRecord(
        key="run-1",
        started="2026-02-03T04:05:06+00:00",
        command=f"adakd run mini --out runs/mini {made.text or ''}".strip(),
        suite={
            "name": "mini",
            "version": 2,
            "description": made.text or "A made-up run: three divergences, two sets, three seeds.",
            "seeds": list(made.seeds),
            "data": {"train": generated},
            "teacher": {"base": {"kind": "pretrained", "model": "gone/teacher"}},
            "student": {"kind": "pretrained", "model": "gone/student"},
            "divergences": specs,
            "arms": {arm: {"name": "adakd"} for arm in made.arms},
            "training": {"steps": made.steps},
            "evaluation": {
                "sets": {name: generated for name in made.sets},
                "choices": [{"set": made.sets[0]}] if made.choices else [],
                "tasks": [{"name": "arc_easy"}] if made.tasks else [],
                "sampling": {"seeds": list(made.samplings)},
            },
            "controls": {"longer": made.longer},
            "timing": {"pairs": 10 if made.timing else 0},
        },
        suite_digest="0123456789abcdef",
        cells=tuple(cells(made)),
        tasks=tuple(task_records(made)),
        wanted=tuple(wanted(made)),
        versions={"adakd": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0"},
        hardware={"device": "cpu", "processor": "a made-up processor", "memory": "16 GiB"},
        commit="89abcdef0123",
    )


def training(one: Cell, made: Made, failed: bool, rng: np.random.Generator) -> TrainingRecord:
    count = 17 if failed else ceil(made.steps * (1 + one.longer))
    adaptive = one.arm != "plain"
    steps = tuple(
        Step(
            step=number,
            loss=float(1.2 + 2.5 * np.exp(-number / 20) + rng.normal(0, 0.05)),
            learning_rate=5e-5,
            grad_norm=1.0,
            kept_ratio=float(1 - 0.5 * number / made.steps) if adaptive else 1.0,
            temperature=float(1 + 0.3 * np.sin(number / 9)) if adaptive else 1.0,
            seconds={"student": 0.1, "loss": 0.02},
        )
        for number in range(1, count + 1)
    )
    reason = made.text or "the loss is not finite at step 18: lower training.learning_rate"
    return TrainingRecord(
        key=one.key,
        cell=one,
        status="failed" if failed else "done",
        reason=reason if failed else None,
        steps=Steps.model_validate(steps),
        seconds=12.5,
        parameters=1000,
        trainable=1000,
        rows=100,
        left_out=3,
    )


def level(one: Cell, made: Made) -> float:
    of_role = {"teacher": 0.34, "untrained": 0.08, "sft": 0.24, "distilled": 0.26}
    of_role["longer"] = of_role["distilled"] + made.longer_effect
    base = of_role[one.role]
    return base + (dict(made.effects)[one.divergence or ""] if one.arm != "plain" else 0)


DISPLAYS = {"rouge_l": ("ROUGE-L", 100.0), "token_f1": ("token F1", 100.0)}
"""Title and scale of the metrics; of others by the sort of the task."""


def display(sort: str, metric: str) -> dict[str, Any]:
    shown = DISPLAYS.get(metric, ("accuracy" if sort == "choice" else metric, 100.0))
    return dict(zip(("title", "scale"), shown, strict=True))


def task_records(made: Made) -> Iterator[TaskRecord]:
    """Yield the columns; the metric of an lm-eval task is known once it is scored."""
    for metric in made.metrics:
        for name in made.sets:
            yield TaskRecord(name=name, sort="answers", metric=metric, **display("answers", metric))
    for task, sort, metric, _ in jobs(made):
        if sort == "choice":
            yield TaskRecord(name=task, sort=sort, metric=metric, **display(sort, metric))
        elif sort == "task":
            yield TaskRecord(name=task, sort=sort, metric="", title="")


def jobs(made: Made) -> list[tuple[str, str, str, int | None]]:
    """Task, sort, metric and sampling seed of every scoring of a cell."""
    asked = [
        (name, "answers", metric, s)
        for name in made.sets
        for s in made.samplings
        for metric in made.metrics
    ]
    asked += [(f"{made.sets[0]}-choice", "choice", "acc_norm", None)] if made.choices else []
    asked += [("arc_easy", "task", "acc_norm", None)] if made.tasks else []
    return asked


def wanted(made: Made) -> Iterator[str]:
    """Yield the keys of all cells, scores and timings."""
    for one in cells(made):
        yield one.key
        yield from (score_key(one, *job, made) for job in jobs(made))
    yield from (record.key for record in timing(made))


def score_key(
    one: Cell, task: str, sort: str, metric: str, sampling: int | None, made: Made
) -> str:
    further = f"-{metric}" if sort == "answers" and metric != made.metrics[0] else ""
    return f"{one.key}-{task}-{sampling}{further}"


def scores(one: Cell, made: Made) -> Iterator[ScoreRecord]:
    """Yield scores whose items and seeds have effects of their own, shared by both arms."""
    for task, sort, metric, sampling in jobs(made):
        of_items = np.random.default_rng(crc32(task.encode())).normal(0, 0.08, made.items)
        of_seed = np.random.default_rng(one.seed).normal(0, 0.008)
        own = np.random.default_rng(crc32(f"{one.key}-{task}-{sampling}".encode()))
        values = level(one, made) + of_items + of_seed + own.normal(0, 0.05, made.items)
        values = np.clip(values, 0, 1)
        if sort != "answers":
            values = (values > 0.25).astype(float)
        elif metric != made.metrics[0]:
            values = values**2
        lost = sort == "answers" and one.role in ("distilled", "longer") and made.items > 2
        yield score(one, task, sort, metric, sampling, values, made, unscored=2 if lost else 0)


def score(
    one: Cell,
    task: str,
    sort: str,
    metric: str,
    sampling: int | None,
    values: np.ndarray,
    made: Made,
    unscored: int = 0,
) -> ScoreRecord:
    items = []
    for number, value in enumerate(values):
        count = 8 + crc32(f"{one.key}-{number}".encode()) % 9
        words = " ".join(WORDS[(number + shift) % len(WORDS)] for shift in range(count))
        text = made.text or f"{one.method}: {words}."
        known = number >= unscored
        items.append(
            Item(
                id=f"{task}-{number}",
                value=float(value) if known else None,
                answer=text if sort == "answers" and metric == made.metrics[0] else None,
            )
        )
    return ScoreRecord(
        key=score_key(one, task, sort, metric, sampling, made),
        cell=one,
        task=task,
        sort=sort,
        metric=metric,
        **display(sort, metric),
        answers=f"{one.key}-{task}-{sampling}",
        sampling_seed=sampling,
        value=float(values[unscored:].mean()),
        n=len(values) - unscored,
        unscored=unscored,
        seconds=3.0,
        items=tuple(items),
    )


def timing(made: Made) -> Iterator[TimingRecord]:
    rng = np.random.default_rng(1)
    for (divergence, _), arm in product(made.effects, made.arms):
        yield TimingRecord(
            key=f"timing-{divergence}-{arm}",
            divergence=divergence,
            arm=arm,
            device="cpu",
            tokens=412,
            pairs=tuple((timed("plain", 0.02, rng), timed(arm, 0.07, rng)) for _ in range(10)),
        )


def timed(arm: str, loss: float, rng: np.random.Generator) -> TimedStep:
    means = {"teacher": 0.06, "student": 0.05, "loss": loss, "backward": 0.09, "optimizer": 0.01}
    seconds = {phase: float(value * rng.normal(1, 0.04)) for phase, value in means.items()}
    peak = 900 if arm == "plain" else 1080
    return TimedStep(arm=arm, seconds=seconds, peak_bytes=peak * 2**20)


def judgements(made: Made) -> Iterator[Record]:
    yield JudgeRecord(
        key="rule@0123abcd",
        name="rule",
        description=made.text or "ROUGE-L decides.",
        backend="rule",
        mode="rule",
        settings={"tie_margin": 0.02},
    )
    yield from known_pairs(made)
    yield from verdicts(made)


def known_pairs(made: Made) -> Iterator[VettingRecord]:
    for case, number, first in product(VETTED, range(10), (True, False)):
        yield VettingRecord(
            key=f"vetting-{case}-{number}-{first}",
            judge="rule@0123abcd",
            task=made.sets[0],
            item=f"{made.sets[0]}-{number}",
            case=case,
            right_first=first,
            length_difference={"truncated": 9, "other": 4 - 8 * (number % 2)}.get(case, 0),
            verdict="tie" if case == "same" or (case, number) == ("shuffled", 3) else "right",
            reason=made.text or "",
        )


def verdicts(made: Made) -> Iterator[VerdictRecord]:
    rng = np.random.default_rng(2)
    for divergence, effect in made.effects:
        for seed in made.seeds:
            if (divergence, "adakd", seed) in (made.failed, made.missing):
                continue
            for number in range(made.items):
                yield from both_orders(made, divergence, seed, number, effect, rng)


def both_orders(
    made: Made, divergence: str, seed: int, number: int, effect: float, rng: np.random.Generator
) -> Iterator[VerdictRecord]:
    own, other = (cell("distilled", seed, divergence, arm) for arm in ("adakd", "plain"))
    drawn = rng.random()
    wins = 0.35 + 5 * effect
    same = "candidate" if drawn < wins else "opponent" if drawn < 0.7 else "tie"
    for first in (True, False):
        said = same
        if 0.8 < drawn <= 0.92:
            said = "candidate" if first else "opponent"
        elif 0.92 < drawn <= 0.96:
            said = "failed" if first else same
        elif drawn > 0.96:
            said = "identical"
        reason = made.text or f"the answer shown {'first' if first else 'second'} is clearer"
        yield VerdictRecord(
            key=f"verdict-{divergence}-{seed}-{number}-{first}",
            judge="rule@0123abcd",
            against="plain",
            candidate=own,
            opponent=other,
            task=made.sets[0],
            item=f"{made.sets[0]}-{number}",
            sampling_seed=made.samplings[0],
            candidate_first=first,
            words=f"{divergence}-{seed}-{number}-{first}",
            verdict=said,
            reason="no verdict in the text" if said == "failed" else reason,
            seconds=0.4,
        )


def example_texts(made: Made) -> Iterator[ExampleRecord]:
    for task in made.sets:
        for number in range(3):
            yield ExampleRecord(
                key=f"example-{task}-{number}",
                task=task,
                item=f"{task}-{number}",
                question=made.text or f"Question {number} of {task}: what does a student copy?",
                reference=made.text or "What its teacher finds likely.",
            )


VOID = {"meta", "br", "input"}


class Page(HTMLParser):
    """The text, tags and addresses of a page, and its figures; fails on tags that do not match."""

    def __init__(self, written: str, figures: str = "{}") -> None:
        super().__init__()
        self.written = written
        self.numbers: dict[str, Any] = json.loads(figures)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.lines: list[str] = []
        self.feed(written)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.addresses += [
            str(value) for key, value in attrs if key in ("src", "href", "action", "data", "srcset")
        ]
        self.ids += [str(value) for key, value in attrs if key == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "svg"} & set(self.open) and data.strip():
            self.lines.append(" ".join(data.split()))

    @property
    def names(self) -> list[str]:
        return [tag for tag, _ in self.tags]

    @property
    def text(self) -> str:
        return " ".join(self.lines)

    @property
    def style(self) -> str:
        return self.written[self.written.index("<style>") : self.written.index("</style>")]

    def line(self, start: str) -> int:
        """Return the number of the first line that begins so."""
        return next(number for number, line in enumerate(self.lines) if line.startswith(start))


@pytest.fixture(scope="session")
def page_reader() -> Callable[[str], Page]:
    """Return the reader of written pages."""
    return Page


def page(store: Store) -> Page:
    """Render the page of a run."""
    report = Report.of(store)
    return Page(report.page, report.json)


@pytest.fixture(scope="session")
def page_of() -> Callable[[Store], Page]:
    """Return a function that renders the page of a run."""
    return page


@pytest.fixture(scope="session")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Context:
    """Return the context of a complete made-up run, which no test changes."""
    return Context.of(fill(tmp_path_factory.mktemp("complete") / "mini", Made()))


@pytest.fixture(scope="session")
def mini_page(mini: Context) -> Page:
    """Return the page of the complete made-up run, with three items of the judge's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adakd.reporting.judges.items.MOST", 3)
        return page(mini.store)


@pytest.fixture(scope="session")
def stored() -> Context:
    """Return the context of a real run, stored beside the tests."""
    return Context.of(Store(STORED))


@pytest.fixture(scope="session")
def stored_page(stored: Context) -> Page:
    """Return the page of the stored run."""
    return page(stored.store)


@pytest.fixture(scope="session")
def filled() -> Callable[..., Store]:
    """Return a function that makes a run folder; its arguments replace fields of ``Made``."""
    return lambda folder, **changes: fill(folder, replace(Made(), **changes))


@pytest.fixture
def made_store(tmp_path: Path) -> Callable[..., Store]:
    """Return a function that makes a run folder; its arguments replace fields of ``Made``."""

    def make(name: str = "mini", **changes: object) -> Store:
        return fill(tmp_path / name, replace(Made(), **changes))

    return make
