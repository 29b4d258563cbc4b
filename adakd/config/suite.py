"""What is compared with what: the whole content of a suite file."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from adakd.config.base import Config, SuitePath
from adakd.config.numbers import Share
from adakd.config.scoring import Evaluation
from adakd.config.sources import Data
from adakd.config.students import Student, Teacher, Training
from adakd.errors import did_you_mean
from adakd.registry import PartSpec, Spec


class Timing(Config):
    """The overhead measurement: steps of both arms taken in turn on the same batches."""

    pairs: int = Field(default=10, ge=0)
    """Counted pairs of steps; 0 turns the measurement off."""
    warmup: int = Field(default=2, ge=0)


class Diagnostics(Config):
    """A look inside the distilled students' trainings, for the report; it changes nothing there."""

    every: int = Field(default=0, ge=0)
    """Steps from one look to the next; the first and the last step are always looked at. 0 looks
    at none."""
    layer: int | None = None
    """Number of a decoder layer of the student, from 0 or, backwards, from -1: the gradient by its
    trained parameters is taken apart too. That takes six backward passes down to it a look."""


class Controls(Config):
    """What stands beside the distilled students in every table."""

    sft: bool = True
    """A student trained on the labels alone, with the students' own training settings."""
    longer: Share = 0.0
    """Under every divergence a plain student trained for this share of steps more, such as 0.1:
    what the time that an adaptive arm takes would have brought without it. 0 trains none."""


TAKEN = ("teacher", "untrained", "sft", "file", "plain", "reference", "all", "again")
"""What a row cannot be labelled: tables and `adakd judge --against` mean something else by it."""


class Baseline(Config):
    """A row of the tables: a divergence, on the sequences that a data policy hands out."""

    divergence: PartSpec
    policy: PartSpec = Spec(name="offline")
    label: Annotated[str, Field(min_length=1)] | None = None
    """What tables call it; made of the two parts if not given."""
    arms: tuple[str, ...] | None = None
    """Which of the suite's arms it has beside the plain one; all of them if not given."""

    @model_validator(mode="after")
    def _no_other_meaning(self) -> "Baseline":
        if self.label in TAKEN:
            raise ValueError(f"label: {self.label!r} has a meaning already: choose another")
        return self

    def __str__(self) -> str:
        """Return the label, ``reverse_kl``, or ``reverse_kl, on_policy(lmbda=0.5)``."""
        policy = "" if self.policy.name == "offline" else f", {self.policy}"
        return self.label or f"{self.divergence}{policy}"


def _baseline(value: Any) -> Any:
    """Return a divergence alone, by name or with settings, as the baseline that it stands for."""
    if isinstance(value, dict) and {"name", "policy"} <= value.keys():
        raise ValueError("write the divergence's name as `divergence:` where there is a `policy:`")
    alone = isinstance(value, str | Spec) or (isinstance(value, dict) and "name" in value)
    return {"divergence": value} if alone else value


BaselineSpec = Annotated[Baseline, BeforeValidator(_baseline)]
"""A :class:`Baseline` in suite files, where a divergence is enough."""


class Published(Config):
    """A table of the AdaKD paper, which the report sets beside the run's own scores."""

    table: str
    """Its key in ``suites/paper/tables.json``."""
    model: str | None = None
    """Which part of it, such as ``qwen2-7b->1.5b``, where it has several."""
    rows: dict[str, str] = Field(min_length=1)
    """The published row of each of our methods, such as ``{"rkd + adakd": "rkd+adakd"}``."""
    over: str | None = None
    """Our method that gains are counted from; the plain arm of each divergence if not given."""


class Suite(Config):
    """What is compared with what: the whole content of a suite file."""

    name: str
    """From the file's name."""
    version: PositiveInt = 1
    """Rises when scores stop being comparable with those of earlier versions."""
    description: str = ""
    plugins: tuple[SuitePath, ...] = ()
    """Python files that register parts, relative to the suite file."""
    seeds: tuple[int, ...] = Field(min_length=1)
    """Training seeds: initial weights, data order and dropout."""
    data: Data
    teacher: Teacher
    student: Student
    divergences: tuple[BaselineSpec, ...] = Field(min_length=1)
    arms: dict[str, PartSpec] = Field(default={"adakd": Spec(name="adakd")})
    """Token-adaptive arms by name; the plain arm is always there."""
    training: Training
    evaluation: Evaluation
    controls: Controls = Controls()
    timing: Timing = Timing()
    diagnostics: Diagnostics = Diagnostics()
    judges: tuple[str, ...] = ()
    """Judges that every run asks: shipped names or paths."""
    paper: tuple[Published, ...] = ()
    """Published tables that the report sets beside ours."""

    def arms_of(self, baseline: Baseline) -> dict[str, Spec]:
        """Return the arms of a baseline by name, without the plain one."""
        chosen = self.arms if baseline.arms is None else baseline.arms
        return {arm: spec for arm, spec in self.arms.items() if arm in chosen}

    @model_validator(mode="after")
    def _distinct(self) -> "Suite":
        labels = [str(baseline) for baseline in self.divergences]
        named_values = [("divergences", label) for label in labels]
        named_values += [("seeds", str(seed)) for seed in self.seeds]
        for what, value in named_values:
            if named_values.count((what, value)) > 1:
                raise ValueError(f"{what}: {value} is given twice")
        for name in {"plain", "none"} & set(self.arms):
            raise ValueError(f"arms: {name!r} is the plain arm, which is always there")
        for number, baseline in enumerate(self.divergences):
            for arm in set(baseline.arms or ()) - set(self.arms):
                raise ValueError(
                    f"divergences.{number}.arms: unknown arm {arm!r}{did_you_mean(arm, self.arms)}"
                )
        return self

    @model_validator(mode="after")
    def _room_for_prompts(self) -> "Suite":
        answer = self.evaluation.sampling.max_new_tokens
        if answer >= self.data.max_tokens:
            raise ValueError(
                f"evaluation.sampling.max_new_tokens ({answer}) leaves no room for a prompt: "
                f"lower it, or raise data.max_tokens ({self.data.max_tokens})"
            )
        return self
