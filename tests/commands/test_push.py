"""A run published on the hub: what goes there, what stays here, and what a user is told.

The hub is a server of this process that speaks what huggingface_hub asks for: repositories are
created, files announced and committed.
"""

import base64
import json
import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from adakd.commands.push import push
from adakd.errors import AdakdError
from adakd.reporting.report import Report
from adakd.store import Store
from adakd.store.records import RunRecord, ScoreRecord, TrainingRecord

TOKEN = "hf_" + "aTokenOfNobody" * 2
SECRET = "a-secret-of-the-environment"


@dataclass
class Hub:
    """A stand-in of the hub's API that keeps what it is given."""

    url: str
    refuses: int = 0
    """Status of every answer; 0 accepts all."""
    repositories: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def answer(self, method: str, path: str, token: str, body: bytes) -> tuple[int, Any]:
        self.tokens.add(token)
        self.asked.append(f"{method} {path}")
        if self.refuses:
            return self.refuses, {"error": f"refused, {token}"}
        if path == "/api/repos/create":
            wanted = json.loads(body)
            name = "/".join(filter(None, (wanted.get("organization"), wanted["name"])))
            kind = wanted.get("type") or "model"
            if f"{kind} {name}" in self.repositories:
                return 409, {"error": "exists", "url": f"{self.url}/{name}"}
            self.repositories[f"{kind} {name}"] = wanted
            return 200, {"url": f"{self.url}/{name}"}
        found = re.fullmatch(r"/api/(model|dataset)s/([^/]+/[^/]+)/(preupload|commit)/main", path)
        if found and found[3] == "preupload":
            names = [one["path"] for one in json.loads(body)["files"]]
            return 200, {"files": [
                {"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names
            ]}  # fmt: skip
        if found:
            lines = [json.loads(line) for line in body.splitlines() if line.strip()]
            kept = self.files.setdefault(f"{found[1]} {found[2]}", {})
            for line in lines:
                if line["key"] == "file":
                    kept[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            url = f"{self.url}/{found[2]}/commit/{'0' * 40}"
            return 200, {"success": True, "commitOid": "0" * 40, "commitUrl": url}
        found = re.fullmatch(r"/api/(model|dataset)s/([^/]+/[^/]+)(/revision/main)?", path)
        if found and f"{found[1]} {found[2]}" in self.repositories:
            return 200, {"id": found[2], "sha": "0" * 40, "siblings": [], "private": False}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if re.search(r"/(tree|paths-info)/", path):
            return 200, []
        return 404, {"error": f"no {path}"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that huggingface_hub talks to, and a token for it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            path = self.path.partition("?")[0]
            status, content = made.answer(self.command, path, token, self.rfile.read(size))
            text = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_POST = do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Hub(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", made.url)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def private_run(finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run whose records know the machine: folders, a secret, a token, a server."""
    run = Path(shutil.copytree(finished_run, tmp_path / "somebody" / "run"))
    monkeypatch.chdir(tmp_path / "somebody")
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("MY_API_KEY", SECRET)
    store = Store(run)
    start = store.of(RunRecord)[-1]
    suite = {**start.suite, "data": {**start.suite["data"], "folder": "/home/ada/data"}}
    command = f"adakd run {tmp_path}/somebody/suite.yaml --set data.folder=/home/ada/data"
    store.add(start.model_copy(update={"command": command, "suite": suite, "key": "private"}))
    failed = store.of(TrainingRecord)[-1]
    reason = f"{tmp_path}/somebody/x: {SECRET} {TOKEN} http://10.1.2.3:8000/v1?key=1"
    store.add(failed.model_copy(update={"reason": reason}))
    score = next(one for one in store.of(ScoreRecord) if one.has_texts)
    item = score.items[0].model_copy(update={"answer": f"{SECRET} at http://localhost:80/?a=b"})
    store.add(score.model_copy(update={"items": (item, *score.items[1:])}))
    return run


def metadata(card: str) -> Any:
    return yaml.safe_load(card.split("---\n")[1])


# --- a dry run --------------------------------------------------------------------------------


@pytest.fixture
def staged(private_run: Path, tmp_path: Path) -> Path:
    push(private_run, "ada/smoke", license="apache-2.0", dry_run=tmp_path / "public")
    return tmp_path / "public"


def test_nothing_of_the_machine_is_published(staged: Path, tmp_path: Path) -> None:
    texts = {
        file: file.read_text(encoding="utf-8", errors="replace")
        for file in staged.rglob("*")
        if file.is_file()
    }
    assert len(texts) > 10
    for file, text in texts.items():
        for private in (SECRET, TOKEN, "/home/ada", str(tmp_path), "10.1.2.3", "somebody"):
            assert private not in text, (file.name, private)
    records = texts[staged / "dataset" / "results.jsonl"]
    assert "adakd run suite.yaml --set data.folder=data" in records
    assert "[secret] at http://localhost:80/?a=b" in records  # an answer is what it is


def test_the_public_records_say_what_the_run_says(staged: Path, private_run: Path) -> None:
    ours, public = Store(private_run), Store(staged / "dataset")
    for kind in (TrainingRecord, ScoreRecord):
        assert [one.key for one in public.of(kind)] == [one.key for one in ours.of(kind)]
    assert Report.of(public).figures["answer"] == Report.of(ours).figures["answer"]
    lines = (staged / "dataset" / "scores.csv").read_text().splitlines()
    assert len(lines) == 1 + sum(len(one.items) for one in ours.current(ScoreRecord))


def test_a_card_has_method_scores_provenance_and_licence(staged: Path, private_run: Path) -> None:
    card = (staged / "models" / "smoke-reverse-kl-adakd-seed1" / "README.md").read_text()
    head = metadata(card)
    assert (head["license"], head["library_name"]) == ("apache-2.0", "transformers")
    shown = {
        (one["dataset"]["name"], one["metrics"][0]["name"]): one["metrics"][0]["value"]
        for one in head["model-index"][0]["results"]
    }
    scores = {
        (one.task, one.title): one.value * one.scale
        for one in Store(private_run).current(ScoreRecord)
        if one.cell.method == "reverse_kl + adakd"
    }
    assert shown == pytest.approx(scores, abs=1e-4)
    assert "AdaKD minus plain under reverse\\_kl: " in card
    assert "95 % " in card
    assert "in the suite micro" in card
    assert "torch " in card
    assert "Made with adakd" in card
    assert "(https://huggingface.co/datasets/ada/smoke)" in card


def test_a_published_model_loads_and_a_card_follows_each(staged: Path, private_run: Path) -> None:
    models = sorted((staged / "models").iterdir())
    assert [one.name for one in models] == [
        "smoke-reverse-kl-adakd-seed1", "smoke-reverse-kl-seed1", "smoke-sft-seed1",
    ]  # fmt: skip
    for folder in models:
        assert AutoModelForCausalLM.from_pretrained(folder).num_parameters() > 0
        assert AutoTokenizer.from_pretrained(folder).eos_token == "<end>"
    dataset = metadata((staged / "dataset" / "README.md").read_text())
    assert dataset["configs"] == [{"config_name": "scores", "data_files": "scores.csv"}]


# --- the hub ----------------------------------------------------------------------------------


def test_a_run_is_published(hub: Hub, finished_run: Path, tmp_path: Path, command_line) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run")
    before = {file for file in run.rglob("*") if file.name != ".lock"}
    done = command_line("push", run, "--to", "ada/smoke", "--only", "reverse_kl", "--private")
    assert (done.code, done.err) == (0, "")
    assert "published: model ada/smoke-reverse-kl-seed1" in done.out
    assert "the cards state no licence" in done.out
    assert TOKEN not in done.out
    assert set(hub.files) == {"dataset ada/smoke", "model ada/smoke-reverse-kl-seed1"}
    assert all(of.get("visibility") == "private" for of in hub.repositories.values())
    model = hub.files["model ada/smoke-reverse-kl-seed1"]
    record = next(r for r in Store(run).of(TrainingRecord) if r.cell.method == "reverse_kl")
    assert set(model) - {".gitattributes"} == {"README.md", *record.files}
    saved = run / "cells" / record.key / "model" / "model.safetensors"
    assert model["model.safetensors"] == saved.read_bytes()
    assert {"README.md", "results.jsonl", "report.html", "scores.csv"} <= set(
        hub.files["dataset ada/smoke"]
    )
    assert hub.tokens - {""} == {TOKEN}  # cards are checked by anybody
    assert {file for file in run.rglob("*") if file.name != ".lock"} == before


def test_the_same_command_again_publishes_again(hub: Hub, finished_run: Path, tmp_path) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run")
    for _ in range(2):
        push(run, "ada/smoke", only=["sft"])
    assert len(hub.repositories) == 2


@pytest.mark.parametrize(
    ("status", "said"), [(401, "is the token valid"), (403, "write access"), (404, "404")]
)
def test_a_hub_that_refuses_is_one_line_without_the_token(
    hub: Hub, status: int, said: str, finished_run: Path, tmp_path: Path, command_line
) -> None:
    hub.refuses = status
    run = shutil.copytree(finished_run, tmp_path / "run")
    done = command_line("push", run, "--to", "ada/smoke")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert said in done.err
    assert TOKEN not in done.err + done.out


def test_a_hub_that_is_not_there_is_one_line(
    hub: Hub, finished_run: Path, tmp_path: Path, command_line, monkeypatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    run = shutil.copytree(finished_run, tmp_path / "run")
    done = command_line("push", run, "--to", "ada/smoke", "--only", "sft")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "ada/smoke: " in done.err


def arguments(**changes: Any) -> list[str]:
    return [str(part) for pair in {"--to": "ada/smoke", **changes}.items() for part in pair]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"--to": "smoke"}, "expected USER/NAME"),
        ({"--to": "ada/a b"}, "--to ada/a b: "),
        ({"--only": "reverse-kl"}, "did you mean 'reverse_kl'"),
        ({}, "HF_TOKEN"),
    ],
    ids=str,
)
def test_what_cannot_be_published_is_one_line(
    changes, said, finished_run: Path, command_line, monkeypatch
) -> None:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    done = command_line("push", finished_run, *arguments(**changes))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert said in done.err


def test_offline_is_told(finished_run: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    run = shutil.copytree(finished_run, tmp_path / "run")
    with pytest.raises(AdakdError, match="HF_HUB_OFFLINE is set"):
        push(run, "ada/smoke", only=["sft"])


def test_a_model_that_was_changed_is_not_published(finished_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    record = next(r for r in Store(run).of(TrainingRecord) if r.cell.role == "sft")
    (run / "cells" / record.key / "model" / "config.json").write_text("{}")
    with pytest.raises(AdakdError, match="has changed since"):
        push(run, "ada/smoke", dry_run=tmp_path / "public")
