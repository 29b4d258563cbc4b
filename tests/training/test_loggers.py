"""Each training in loggers of its own: where its events go, and whose run is ended."""

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from transformers import TrainerCallback
from transformers.integrations import integration_utils

from adakd.errors import AdakdError
from adakd.planning import Cell
from adakd.training.loggers import logged

NAMES = ("TENSORBOARD_LOGGING_DIR", "WANDB_PROJECT", "WANDB_DIR", "WANDB_QUIET")
CELL = Cell(role="distilled", seed=3, divergence="skew_kl(a=0.1), x/y", arm="adakd", key="k")


class Wandb(ModuleType):
    """Weights & Biases as far as a training knows it."""

    run: Any = None

    def finish(self) -> None:
        self.run = None


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Wandb:
    made = Wandb("wandb")
    monkeypatch.setitem(sys.modules, "wandb", made)
    return made


@pytest.fixture(autouse=True)
def _without_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def settings(make_suite: Any) -> Any:
    return make_suite({"training.report_to": ["tensorboard", "wandb"]}).training


def environment() -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in NAMES}


def test_a_training_has_a_place_of_its_own(settings: Any, tmp_path: Path) -> None:
    before = environment()
    with logged(settings, tmp_path, "my/suite", CELL):
        inside = environment()
    assert inside == {
        "TENSORBOARD_LOGGING_DIR": str(tmp_path / "logs" / "skew_kl-a=0.1-x-y-adakd-seed3"),
        "WANDB_PROJECT": "my-suite",
        "WANDB_DIR": str(tmp_path),
        "WANDB_QUIET": "true",
    }
    assert environment() == before == dict.fromkeys(NAMES)


def test_what_the_user_has_set_holds(settings: Any, tmp_path: Path, monkeypatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "/mine")
    with logged(settings, tmp_path, "suite", CELL):
        assert environment() == {
            "TENSORBOARD_LOGGING_DIR": "/mine/skew_kl-a=0.1-x-y-adakd-seed3",
            "WANDB_PROJECT": "/mine",
            "WANDB_DIR": "/mine",
            "WANDB_QUIET": "/mine",
        }
    assert environment() == dict.fromkeys(NAMES, "/mine")


@pytest.mark.parametrize("fails", [False, True])
def test_the_run_of_a_training_ends_with_it(
    fails: bool, settings: Any, tmp_path: Path, wandb: Wandb
) -> None:
    def train() -> None:
        with logged(settings, tmp_path, "suite", CELL):
            wandb.run = "of this training"
            if fails:
                raise ValueError("stopped")

    if fails:
        with pytest.raises(ValueError, match="stopped"):
            train()
    else:
        train()
    assert wandb.run is None
    assert environment() == dict.fromkeys(NAMES)


@pytest.mark.parametrize(("role", "section"), [("teacher", "teacher.sft"), ("sft", "training")])
def test_a_logger_that_fails_is_one_line(
    role: Any, section: str, settings: Any, tmp_path: Path
) -> None:
    error = type("UsageError", (Exception,), {"__module__": "wandb.errors.errors"})
    cell = Cell(role=role, seed=1, key="k")
    with (
        pytest.raises(AdakdError, match=rf"^{section}\.report_to: wandb fails \(No API key\)"),
        logged(settings, tmp_path, "suite", cell),
    ):
        raise error("No API key")


def test_a_run_of_the_caller_goes_on(settings: Any, tmp_path: Path, wandb: Wandb) -> None:
    wandb.run = "of the caller"
    with logged(settings, tmp_path, "suite", CELL):
        pass
    assert wandb.run == "of the caller"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str | None, str, int]]:
    """A logger named ``spy`` that notes where a training's events would go, and its steps."""
    found: list[tuple[str | None, str, int]] = []

    class Spy(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.place = os.environ.get(NAMES[0])

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            found.append((self.place, args.run_name, len(state.log_history)))

    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "spy", Spy)
    return found


def test_each_training_of_a_run_is_logged_apart(told: Any, make_suite, tmp_path: Path) -> None:
    from tests.conftest import Trainings

    trainings = Trainings(make_suite({"training.report_to": ["spy"]}), tmp_path / "run")
    for role in ("teacher", "sft"):
        trainings.train(trainings.find(role))
    assert told == [(str(tmp_path / "run" / "logs" / "sft-seed1"), "sft, seed 1", 5)]


def test_tensorboard_keeps_its_events(make_suite, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tests.conftest import Trainings

    trainings = Trainings(make_suite({"training.report_to": ["tensorboard"]}), tmp_path / "run")
    for role in ("teacher", "sft"):
        trainings.train(trainings.find(role))
    (events,) = (tmp_path / "run" / "logs" / "sft-seed1").glob("events.out.tfevents.*")
    assert events.stat().st_size > 1000
