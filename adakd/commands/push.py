"""Publish the students and the records of a run on the hub: for `adakd push`."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils._validators import validate_repo_id

from adakd.config import Pretrained, Pruned, Suite
from adakd.errors import AdakdError, did_you_mean, one_line
from adakd.planning import Cell
from adakd.progress import Progress, Silent
from adakd.reporting import write_report
from adakd.reporting.cards import UNKNOWN, Facts, records_card, student_card
from adakd.reporting.exports import item_lines
from adakd.reporting.sections.base import Context
from adakd.reporting.wording import as_yaml
from adakd.store import Store
from adakd.store.disk import writing
from adakd.store.records import RunRecord, TrainingRecord
from adakd.store.scrubbing import Scrubber
from adakd.training.integrity import check_files

TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
"""Variables of the environment that may hold the token."""
STUDENTS = ("sft", "distilled", "longer")
"""Roles whose models are published."""
_CARDS = (".json", ".jinja", ".txt", ".md")
_LONGEST = 96
"""Characters of a repository's name."""


@dataclass(frozen=True)
class Repository:
    """What goes into one repository of the hub."""

    id: str
    kind: str
    """``model`` or ``dataset``."""
    folder: Path


def push(
    folder: Path,
    to: str,
    only: Sequence[str] = (),
    license: str = UNKNOWN,
    base_model: str | None = None,
    private: bool = False,
    dry_run: Path | None = None,
    progress: Progress | None = None,
) -> list[Repository]:
    """Publish a run: a repository of its records, and one for each student with a card.

    Paths, secrets and private servers are taken out of records, cards and settings. The token is
    that of the environment variable HF_TOKEN.

    Args:
        folder: of the run.
        to: ``user/name`` of the records' repository; students are in ``user/name-METHOD-seedN``.
        only: methods whose students are published; all if empty.
        license: identifier of the hub, such as ``apache-2.0``.
        base_model: hub id of the student's base, where the suite has it as a local folder.
        private: create private repositories.
        dry_run: write what would be published into this folder, and publish nothing.
        progress: receives every stage; silent by default.

    Raises:
        AdakdError: no run in the folder, a wrong name, no token, or a hub that refuses.
    """
    progress = progress or Silent()
    _check_name(to)
    store = Store(folder)
    cells = _students(store, only)
    facts = Facts(to, license, base_model or _hub_base(store.suite()))
    if dry_run is not None:
        if dry_run.exists() and any(dry_run.iterdir()):
            raise AdakdError(f"--dry-run {dry_run}: is not empty: choose another folder")
        return list(_staged(store, cells, facts, dry_run))
    token = next((os.environ[name] for name in TOKENS if os.environ.get(name)), None)
    if token is None:
        raise AdakdError(
            f"push needs a token with write access in the environment variable {TOKENS[0]}; "
            "--dry-run FOLDER shows without one what would be published"
        )
    with tempfile.TemporaryDirectory(prefix=".push-", dir=folder) as draft:
        repositories = list(_staged(store, cells, facts, Path(draft)))
        api = HfApi(token=token)
        for repository in repositories:
            with progress.stage(f"publish {repository.id}", 1) as show:
                _upload(api, repository, private, Scrubber())
                show(1)
    return repositories


def _check_name(to: str, field: str = "--to") -> None:
    try:
        validate_repo_id(to)  # what every call of the hub's library checks first
    except HFValidationError as error:
        raise AdakdError(f"{field} {to}: {one_line(error)}") from None
    if "/" not in to:
        raise AdakdError(f"{field} {to}: expected USER/NAME, such as ada/my-run")


def _students(store: Store, only: Sequence[str]) -> list[tuple[Cell, TrainingRecord]]:
    """Return the trained students whose models are there.

    Raises:
        AdakdError: an unknown method, or one of which no model is there.
    """
    trained = [
        record
        for record in store.current(TrainingRecord)
        if record.cell.role in STUDENTS and record.status == "done" and record.files
    ]
    methods = {record.cell.method for record in trained}
    for method in only:
        if method not in methods:
            raise AdakdError(f"--only: no student {method!r}{did_you_mean(method, methods)}")
    found = [record for record in trained if not only or record.cell.method in only]
    return [(record.cell, record) for record in found if _model_folder(store, record.cell).is_dir()]


def _hub_base(suite: Suite) -> str | None:
    """Return the hub id of the students' base; None where that is a folder or from scratch."""
    base = suite.teacher.base if isinstance(suite.student, Pruned) else suite.student
    if not isinstance(base, Pretrained) or Path(base.model).exists() or base.gguf_file:
        return None
    return base.model if re.fullmatch(r"[\w.-]+/[\w.-]+", base.model) else None


def _model_folder(store: Store, cell: Cell) -> Path:
    return store.folder / "cells" / cell.key / "model"


def _staged(
    store: Store, cells: Sequence[tuple[Cell, TrainingRecord]], facts: Facts, folder: Path
) -> Iterator[Repository]:
    """Write what is to be published, the records first, and yield each repository."""
    scrubber = Scrubber()
    names = _names(facts.records, [cell for cell, _ in cells])
    records = folder / "dataset"
    with writing(folder, store.folder):
        records.mkdir(parents=True)
        with (records / "results.jsonl").open("w", encoding="utf-8") as stream:
            for record in store.written():
                stream.write(json.dumps(scrubber.record(record), allow_nan=False) + "\n")
    public = Store(records)
    context = Context.of(public)
    write_report(records)
    texts = {
        "scores.csv": "".join(item_lines(public)),
        "suite.yaml": as_yaml(public.of(RunRecord)[-1].suite),
        "README.md": records_card(
            context, facts, {str(cell): names[cell.key] for cell, _ in cells}
        ),
    }
    _write(texts, records)
    _check_clean(records, scrubber)
    yield Repository(facts.records, "dataset", records)
    for cell, record in cells:
        model = folder / "models" / names[cell.key].partition("/")[2]
        _stage_model(store, cell, record, model, facts, scrubber)
        _write({"README.md": student_card(context, cell, facts, record.files)}, model)
        _check_clean(model, scrubber)
        yield Repository(names[cell.key], "model", model)


def _names(to: str, cells: Sequence[Cell]) -> dict[str, str]:
    """Return the repository of each student by its key: method and seed, as the hub can name them.

    Raises:
        AdakdError: the name would be too long for the hub.
    """
    found: dict[str, str] = {}
    for cell in cells:
        method = re.sub(r"[^a-z0-9]+", "-", cell.method.lower()).strip("-") or "student"
        name = f"{to}-{method}-seed{cell.seed}"
        if name in found.values():  # two methods that differ in signs alone
            name += f"-{cell.key[:6]}"
        if len(name) > _LONGEST:
            name = f"{to}-seed{cell.seed}-{cell.key}"
        _check_name(name, f"--to: the repository of {cell},")
        found[cell.key] = name
    return found


def _stage_model(
    store: Store, cell: Cell, record: TrainingRecord, folder: Path, facts: Facts, scrubber: Scrubber
) -> None:
    """Link the files of a model, and write its settings without what belongs to this machine.

    Raises:
        AdakdError: a file is not the one that the training saved.
    """
    source = _model_folder(store, cell)
    check_files(cell, source, record.files)
    with writing(folder, store.folder):
        folder.mkdir(parents=True)
        for name in record.files:
            if name.endswith(_CARDS) and name != "tokenizer.json":
                _write({name: _scrubbed(source / name, facts, scrubber)}, folder)
                continue
            try:
                os.link(source / name, folder / name)
            except OSError:  # another disk, or one without links
                shutil.copyfile(source / name, folder / name)


def _scrubbed(file: Path, facts: Facts, scrubber: Scrubber) -> str:
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".json":
        return scrubber.text(text)
    content = json.loads(text)
    if file.name == "adapter_config.json" and facts.base_model is not None:
        content["base_model_name_or_path"] = facts.base_model
    named = [name for name in content if name.endswith("name_or_path")]
    content |= {name: scrubber.settings(content[name]) for name in named}
    return json.dumps(scrubber.texts(content), indent=2, ensure_ascii=False) + "\n"


def _write(texts: dict[str, str], folder: Path) -> None:
    for name, text in texts.items():
        with writing(folder / name, folder):
            (folder / name).write_text(text, encoding="utf-8")


def _check_clean(folder: Path, scrubber: Scrubber) -> None:
    """Look through all texts a last time.

    Raises:
        AdakdError: one still holds what must not leave the machine.
    """
    for file in sorted(folder.iterdir()):
        if file.suffix in (*_CARDS, ".jsonl", ".csv", ".html", ".yaml"):
            for what in scrubber.found(file.read_text(encoding="utf-8")):
                raise AdakdError(
                    f"{file.name} would publish {what}: nothing was published; rename what it "
                    "stands in, or publish by hand from --dry-run"
                )


def _upload(api: HfApi, repository: Repository, private: bool, scrubber: Scrubber) -> None:
    """Create a repository if there is none, and commit its files.

    Raises:
        AdakdError: the hub cannot be reached, or refuses.
    """
    try:
        api.create_repo(
            repository.id, repo_type=repository.kind, private=private or None, exist_ok=True
        )
        api.upload_folder(
            repo_id=repository.id,
            repo_type=repository.kind,
            folder_path=repository.folder,
            commit_message="Made with adakd",
        )
    except OfflineModeIsEnabled:
        raise AdakdError(
            "push: HF_HUB_OFFLINE is set, so nothing can be published: unset it, or use --dry-run"
        ) from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        why = error.server_message or one_line(error)
        fix = {
            401: "; is the token valid?",
            403: "; has the token write access to this name?",
        }.get(status, "; the same command again goes on")
        raise AdakdError(f"{repository.id}: {status}, {scrubber.text(why)}{fix}") from None
    except Exception as error:  # of the network, in the libraries below
        raise AdakdError(
            f"{repository.id}: {scrubber.text(one_line(error))}; the same command again goes on"
        ) from None
