"""Every block of the README and the docs works as it stands there.

Shell blocks run line by line in a folder with a finished run and the files that the pages name.
`adakd run` and judges that need a server or a model run in their plan form. A comment above a block
says where it is not run at all, and why.
"""

import gzip
import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, LlamaConfig

import adakd
from adakd.config import Published, Suite
from adakd.config.loading import load_suite
from adakd.execution.judgement import item_texts
from adakd.judging import load_panel
from adakd.store import Store

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("[!_]*.md"))]
PAGES = [page for page in PAGES if not {"_build", "_generated"} & set(page.parts)]
BLOCK = re.compile(r"(?:<!-- ([^>]+) -->\n)?```(sh|python|yaml)\n(.*?)```", re.DOTALL)
PART = re.compile(r'^@\w+\("(\w+)"[^)]*\)$', re.MULTILINE)
MOST_NOT_RUN = 6
ASKING = ("--judge", "--calibrate")
ASKS_NOBODY = {"rule"}
"""Shipped judges that need neither a server nor a model."""


@dataclass(frozen=True)
class Block:
    page: str
    mark: str
    """The comment above it."""
    language: str
    code: str

    @property
    def is_run(self) -> bool:
        return self.mark != "test" and not self.mark.startswith("not run: ")


def blocks_of(page: Path) -> list[Block]:
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [Block(page.relative_to(ROOT).as_posix(), *parts) for parts in found]


BLOCKS = {page.relative_to(ROOT).as_posix(): blocks_of(page) for page in PAGES}


# --- the folder of a reader -----------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished_run: Path) -> Path:
    """A folder with a finished run, answers, judges, data and a model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    for name in ("smoke", "laptop", "server"):
        shutil.copytree(finished_run, Path("runs", name))
    shutil.copy(ROOT / "suites" / "smoke.yaml", "smoke.yaml")
    shutil.copytree(ROOT / "suites" / "smoke-teacher", "smoke-teacher")
    for number, name in enumerate("abc"):
        Path(f"{name}.yaml").write_text(f"kind: rule\ntie_margin: 0.0{number}\n")
    long = "with so many words that no set leaves it out for being short"
    rows = [
        {"id": n, "instruction": f"Say {n}.", "output": f"the word {n} {long}"} for n in range(8)
    ]
    for name in ("dolly/valid", "self-inst/valid", "sinst/valid"):
        write_lines(Path("data", f"{name}.jsonl"), rows)
    to_learn = [{**row, "instruction": f"Write {row['id']}."} for row in rows]
    write_lines(Path("data", "dolly/train.jsonl"), to_learn)
    with gzip.open("questions.csv.gz", "wt") as table:
        table.write("question,context,answer\nWho?,It was Ada.,Ada\n")
    for name, answer in (("ours", "the word"), ("theirs", "a word")):
        write_lines(
            Path(f"{name}.jsonl"),
            [
                {**row, "reference": row["output"], "answer": f"{answer} {row['id']}"}
                for row in rows
            ],
        )
    of_fixed = [
        {"instruction": text.instruction, "input": text.input, "answer": "one and the same"}
        for texts in item_texts(Store(Path("runs/smoke")).suite()).values()
        for text in texts.values()
    ]
    write_lines(Path("gpt-4.jsonl"), of_fixed)
    turns = {"question_id": 1, "turns": ["Say it.", "Again."], "reference": ["it", "it"]}
    write_lines(Path("question.jsonl"), [turns])
    for name in ("mine", "vicuna-33b"):
        answer = {"question_id": 1, "choices": [{"turns": ["it", f"{name}"]}]}
        write_lines(Path(f"{name}.jsonl"), [answer])
    for name in ("FOLDER", "smollm2"):
        shutil.copytree(next(Path("runs/smoke/cells").glob("*/model")), name)
    Path("smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf").touch()
    return tmp_path


def write_lines(file: Path, rows: list[dict[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def tiny(layers: int) -> torch.nn.Module:
    config = LlamaConfig(
        vocab_size=29,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
    )
    torch.manual_seed(layers)
    return AutoModelForCausalLM.from_config(config)


@pytest.fixture
def names() -> dict[str, Any]:
    """The names that a block of a training loop takes for granted."""
    student = tiny(1)
    ids = torch.randint(29, (4, 12), generator=torch.Generator().manual_seed(0))
    return {
        "torch": torch,
        "student": student,
        "teacher": tiny(2),
        "batches": [{"input_ids": ids, "labels": ids}] * 12,
        "optimizer": torch.optim.AdamW(student.parameters(), lr=1e-2),
    }


# --- what a block does ----------------------------------------------------------------------


def commands(code: str) -> Iterator[list[str]]:
    for line in code.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


def quick(words: list[str]) -> list[str]:
    """Return a command in the form that takes no minutes, no key and no server."""
    if words[0] == "run":
        for option in ("--out", "--on"):
            place = words.index(option) if option in words else len(words)
            words = [*words[:place], *words[place + 2 :]]
        return ["plan", *words[1:]]
    judges = {value for name, value in pairwise(words) if name in ASKING}
    shipped = {judge for judge in judges if not judge.endswith(".yaml")}
    if words[0] == "judge" and not shipped <= ASKS_NOBODY and "--plan" not in words:
        return [*words, "--plan"]
    return words


def shell(block: Block, command: Callable[..., Any]) -> None:
    for program, *words in commands(block.code):
        assert program == "adakd", f"{block.page}: cannot run {program}: mark the block"
        done = command(*quick(words))
        assert (done.code, done.err) == (0, ""), f"{block.page}: adakd {shlex.join(words)}"


def python(block: Block, names: dict[str, Any]) -> None:
    """Run a block; a plug-in becomes a file for the blocks after it instead."""
    if part := PART.search(block.code):
        Path(f"{part[1]}.py").write_text(block.code)
    else:
        exec(compile(block.code, block.page, "exec"), names)


def settings(block: Block) -> None:
    """Load what a block of YAML says: a judge, published rows, or sections of a suite."""
    content = yaml.safe_load(block.code)
    if "kind" in content:
        Path("my-judge.yaml").touch()
        file = Path("judge-of-a-block.yaml")
        file.write_text(block.code)
        if content["kind"] == "jury":
            Path("my-judge.yaml").write_text("kind: rule\ntie_margin: 0.5\n")
        load_panel([str(file)])
    elif list(content) == ["paper"]:
        for section in content["paper"]:
            Published.model_validate(section)
    else:
        assert set(content) <= {"extends", *Suite.model_fields}, block.page
        file = Path("suite-of-a-block.yaml")
        file.write_text(yaml.safe_dump({"extends": "smoke"} | content))
        adakd.plan(load_suite(str(file)))


# --- the tests ------------------------------------------------------------------------------


@pytest.mark.parametrize("page", BLOCKS)
def test_the_blocks_of_a_page_work(
    page: str,
    here: Path,
    names: dict[str, Any],
    command_line: Callable[..., Any],
    finished_run: Path,
    stub_benchmarks: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(suite: Suite, folder: Path) -> Path:
        assert adakd.plan(suite).cells
        return finished_run / "report.html"

    monkeypatch.setattr(adakd, "run", run, raising=False)
    stub_benchmarks()
    for block in BLOCKS[page]:
        if not block.is_run:
            continue
        if block.language == "sh":
            shell(block, command_line)
        elif block.language == "python":
            python(block, names)
        else:
            settings(block)


def test_few_blocks_are_not_run_and_each_says_why() -> None:
    marks = [block.mark for blocks in BLOCKS.values() for block in blocks if not block.is_run]
    assert marks.count("test") == 1  # the one that runs these tests
    reasons = [mark.removeprefix("not run: ") for mark in marks if mark != "test"]
    assert len(reasons) <= MOST_NOT_RUN, reasons
    assert all(len(reason.split()) >= 5 for reason in reasons), reasons


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 700


def test_links_of_the_readme_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert len(links) > 10
    assert not [link for link in links if not (ROOT / link).exists()]


@pytest.mark.parametrize("page", ["README.md", "docs/training-loop.md"])
def test_the_training_loop_trains(page: str, names: dict[str, Any]) -> None:
    loop = next(block for block in BLOCKS[page] if block.language == "python")
    student, teacher, ids = names["student"], names["teacher"], names["batches"][0]["input_ids"]
    distance = []
    for _ in range(2):
        exec(loop.code, names)
        with torch.no_grad():
            gap = student(ids).logits.softmax(-1) - teacher(ids).logits.softmax(-1)
        distance.append(float(gap.abs().sum()))
    assert distance[1] < distance[0]


def test_every_section_of_the_report_is_explained() -> None:
    from adakd.reporting.sections import SECTIONS

    text = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
    headings = set(re.findall("^## (.+)$", text, re.MULTILINE))
    assert {section.title for section in SECTIONS} <= headings


def test_the_layers_of_the_docs_are_those_that_the_tests_hold() -> None:
    tests, docs = ROOT / "tests" / "test_layers.py", ROOT / "docs" / "architecture.md"
    tested = re.search(r'LAYERS = """(.*?)"""', tests.read_text(), re.DOTALL)
    shown = re.search(r"## Layers.*?```\n(.*?)```", docs.read_text(encoding="utf-8"), re.DOTALL)
    assert tested
    assert shown
    absent = {"__main__", "__init__"}  # no packages
    lines = (set(line.split()) - absent for line in tested[1].splitlines())
    assert [set(line.split()) for line in shown[1].splitlines()] == [line for line in lines if line]
