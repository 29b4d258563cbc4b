"""Settings of a suite file: the models, methods and evaluations that are compared."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from adakd.config.allocation import Resources
from adakd.config.base import Config, SuitePath
from adakd.config.numbers import Share
from adakd.config.scoring import Evaluation
from adakd.config.sources import Data
from adakd.config.students import Elsewhere, Student, Teacher, Training
from adakd.errors import did_you_mean
from adakd.registry import PartSpec, Spec


class Timing(Config):
    """The overhead measurement: interleaved steps of both arms on the same batches."""

    pairs: int = Field(default=10, ge=0)
    """Measured pairs of steps; 0 turns the measurement off."""
    warmup: int = Field(default=2, ge=0)


class Diagnostics(Config):
    """Diagnostics of the distilled students' trainings; results are not affected."""

    every: int = Field(default=0, ge=0)
    """Steps between diagnostics; the first and last step are always included. 0 turns them off."""
    layer: int | None = None
    """Index of a decoder layer of the student (negative from the end) whose gradient is analysed
    too, with respect to its trained parameters. Each time this takes six more backward passes down
    to that layer."""


def _a_weight(given: Any) -> Any:
    """Check a weight here: a union of types would say of each why it does not fit."""
    number = isinstance(given, int | float) and not isinstance(given, bool) and given >= 0
    if not number and given != "dynamic":
        raise ValueError("must be a weight of at least 0, or dynamic")
    return given


CrossEntropy = Annotated[float | Literal["dynamic"], BeforeValidator(_a_weight)]
"""How the cross-entropy to the labels comes beside a divergence."""


class LossTerms(Config):
    """What the loss of every distilled student has besides its divergence."""

    cross_entropy: CrossEntropy = 0.0
    """Weight of the mean cross-entropy to the labels, which is added to the mean divergence. With
    ``dynamic`` it is 1, and the divergence is scaled to the value of the cross-entropy."""


class Controls(Config):
    """Controls shown beside the distilled students in every table."""

    sft: bool = True
    """Whether to train a student on the labels only, with the same training settings."""
    longer: Share = 0.0
    """Share of additional steps, such as 0.1, of a further plain student under every divergence:
    the result of spending an adaptive arm's extra time on plain training. 0 trains none."""
    check: bool = False
    """Whether the report proves that the run can see: it looks for a known difference, plain
    distillation over SFT (which is then trained even with ``sft: false``), and for none between
    plain trainings and a further student, an ``adakd`` arm whose settings change nothing. Of the
    first forward KL, else of the first divergence."""


TAKEN = ("teacher", "untrained", "sft", "file", "plain", "reference", "all", "again")
"""Reserved labels: tables and `adakd judge --against` use them with another meaning."""


class Baseline(Config):
    """A row of the tables: a divergence with a data policy, and a bridge between two tokenizers."""

    divergence: PartSpec
    policy: PartSpec = Spec(name="offline")
    bridge: PartSpec | None = None
    """The bridge of this row; the suite's if not given."""
    label: Annotated[str, Field(min_length=1)] | None = None
    """Name in tables; composed of divergence, policy and the row's own bridge if not given."""
    arms: tuple[str, ...] | None = None
    """The suite's arms to train besides the plain one; all if not given."""

    @model_validator(mode="after")
    def _no_other_meaning(self) -> "Baseline":
        if self.label in TAKEN:
            raise ValueError(f"label: {self.label!r} is reserved: choose another")
        return self

    def __str__(self) -> str:
        """Return the label, ``reverse_kl``, or ``reverse_kl, on_policy(lmbda=0.5), gold``."""
        policy = None if self.policy.name == "offline" else self.policy
        named = [str(part) for part in (self.divergence, policy, self.bridge) if part is not None]
        return self.label or ", ".join(named)


def _baseline(value: Any) -> Any:
    """Convert a bare divergence, a name or a spec, to a baseline."""
    for other in ("policy", "bridge"):
        if isinstance(value, dict) and {"name", other} <= value.keys():
            raise ValueError(
                f"with a `{other}:`, write the divergence's name as `divergence:` instead of "
                "`name:`"
            )
    alone = isinstance(value, str | Spec) or (isinstance(value, dict) and "name" in value)
    return {"divergence": value} if alone else value


BaselineSpec = Annotated[Baseline, BeforeValidator(_baseline)]
"""A :class:`Baseline` in suite files, where a bare divergence suffices."""


class Published(Config):
    """A table of the AdaKD paper that the report shows beside the run's own scores."""

    table: str
    """Its key in ``suites/paper/tables.json``."""
    model: str | None = None
    """Part of the table, such as ``qwen2-7b->1.5b``, if it has several."""
    rows: dict[str, str] = Field(min_length=1)
    """The published row for each of our methods, such as ``{"rkd + adakd": "rkd+adakd"}``."""
    judge: str | None = None
    """For a table of win rates: the judge whose win rates stand beside it, as a shipped name or a
    path. It is asked by ``adakd judge``, not in every run."""
    over: str | None = None
    """The method that gains are measured against; the plain arm of each divergence if not given."""


class Suite(Config):
    """The content of a suite file: models, data, methods and evaluations."""

    name: str
    """Derived from the file's name."""
    version: PositiveInt = 1
    """Increased when scores are no longer comparable with earlier versions."""
    description: str = ""
    plugins: tuple[SuitePath, ...] = ()
    """Python files that register components, relative to the suite file."""
    seeds: tuple[int, ...] = Field(min_length=1)
    """Training seeds for initial weights, data order and dropout."""
    data: Data
    teacher: Teacher
    student: Student
    divergences: tuple[BaselineSpec, ...] = Field(min_length=1)
    arms: dict[str, PartSpec] = Field(default={"adakd": Spec(name="adakd")})
    """Token-adaptive arms by name; the plain arm is always included."""
    bridge: PartSpec | None = None
    """Compares a student and a teacher with different tokenizers: ``adakd ls bridges``. None where
    they share one. A row of the divergences may have a bridge of its own."""
    objective: LossTerms = LossTerms()
    training: Training
    evaluation: Evaluation
    controls: Controls = Controls()
    timing: Timing = Timing()
    diagnostics: Diagnostics = Diagnostics()
    judges: tuple[str, ...] = ()
    """Judges of every run, as shipped names or paths."""
    students: tuple[Elsewhere, ...] = ()
    """Students trained elsewhere, scored beside those of the run."""
    paper: tuple[Published, ...] = ()
    """Published tables that the report shows beside ours."""
    resources: Resources = Resources()
    ours: tuple[str, ...] = ()
    """Fields of a suite that follows a paper, such as ``training.epochs``, whose values no source
    gives: the report names them."""

    @property
    def checked(self) -> Baseline | None:
        """The row that ``controls.check`` is about; None where it is off."""
        if not self.controls.check:
            return None
        named = (one for one in self.divergences if one.divergence.name == "forward_kl")
        return next(named, self.divergences[0])

    @property
    def crosses(self) -> bool:
        """Whether student and teacher may have different tokenizers."""
        return any(self.bridge_of(baseline) is not None for baseline in self.divergences)

    def bridge_of(self, baseline: Baseline) -> Spec | None:
        """Return the bridge of a row; None where student and teacher share a tokenizer."""
        return baseline.bridge or self.bridge

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
                raise ValueError(f"{what}: {value} is listed twice: remove one")
        for name in {"plain", "none"} & set(self.arms):
            raise ValueError(
                f"arms: {name!r} is the plain arm, which is always included: rename this one"
            )
        for number, baseline in enumerate(self.divergences):
            for arm in set(baseline.arms or ()) - set(self.arms):
                raise ValueError(
                    f"divergences.{number}.arms: unknown arm {arm!r}{did_you_mean(arm, self.arms)}"
                )
        return self

    @model_validator(mode="after")
    def _bridged_throughout(self) -> "Suite":
        for number, baseline in enumerate(self.divergences):
            if self.crosses and self.bridge_of(baseline) is None:
                raise ValueError(
                    f"divergences.{number}: {baseline} has no bridge, and other rows have one: "
                    "name a `bridge:` here, or one for all rows beside `divergences:`"
                )
        return self

    @model_validator(mode="after")
    def _students_told_apart(self) -> "Suite":
        first: dict[tuple[str, int], int] = {}
        for number, student in enumerate(self.students):
            if student.name in TAKEN:
                raise ValueError(
                    f"students.{number}.name: {student.name!r} is reserved: choose another"
                )
            before = first.setdefault((student.name, student.seed), number)
            if before != number:
                raise ValueError(
                    f"students.{number}: {student.name!r} with seed {student.seed} is listed "
                    "twice: give each training of one method a seed of its own"
                )
        return self

    @model_validator(mode="after")
    def _gpus_for_devices(self) -> "Suite":
        sft = self.teacher.sft
        for kind, section, training in (
            ("teacher", "teacher.sft", sft),
            ("student", "training", self.training),
        ):
            gpus: float | None = getattr(self.resources, kind).gpus
            if training and training.devices > 1 and gpus not in (None, 0, training.devices):
                raise ValueError(
                    f"resources.{kind}.gpus: {gpus:g}, but {section}.devices: {training.devices} "
                    "take one each: leave it out, or set it to 0 for processes without a GPU"
                )
        return self

    @model_validator(mode="after")
    def _whole_layer(self) -> "Suite":
        if self.training.shard and self.diagnostics.every and self.diagnostics.layer is not None:
            raise ValueError(
                "diagnostics.layer: the gradient of one layer is analysed on one device, and "
                "training.shard: true leaves no device the whole layer: leave one of the two out"
            )
        return self

    @model_validator(mode="after")
    def _ours_exist(self) -> "Suite":
        for field in self.ours:
            node: Any = self
            for part in field.split("."):
                node = getattr(node, part, None)
            if node is None:
                raise ValueError(f"ours: {field!r} is no field that this suite sets: remove it")
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
