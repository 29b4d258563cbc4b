"""The records of a run folder, one for each finished piece of work.

Every record has the version of the schema and the key of its piece of work.
"""

from typing import Any, Literal

from pydantic import Field, NonNegativeInt, field_validator

from adakd.config import Config
from adakd.config.judge import Asks, Prices, Vetting
from adakd.planning import Cell
from adakd.store.steps import Phase, Steps

SCHEMA = 3
"""Rises with the form of the records; :mod:`adakd.store.upgrade` reads older ones."""


class PartRecord(Config):
    """A registered part that a run uses, with all of its settings."""

    of: str
    """The label of a divergence's rows, an arm, or the title of a metric."""
    sort: str
    """The kind of part, such as ``divergence``."""
    name: str
    settings: dict[str, Any]
    ours: tuple[str, ...] = ()
    """Settings whose values are not from a paper."""


Sort = Literal["answers", "choice", "task"]
"""An instruction set, a multiple-choice task made of one, or any lm-eval task."""


class TaskRecord(Config):
    """A column of the tables: a task and a metric, and how its values are shown."""

    name: str
    sort: Sort
    metric: str
    """Empty where only a score tells it: the first metric of an lm-eval task."""
    title: str
    """The metric in tables and sentences."""
    scale: float = 1.0
    """Stored values are multiplied by this: 100 for shares."""
    higher_is_better: bool = True

    @property
    def key(self) -> tuple[str, str]:
        """Task and metric, which tell columns apart."""
        return self.name, self.metric

    @property
    def unit(self) -> str:
        """The metric with its scale, such as ``accuracy × 100``."""
        return self.title if self.scale == 1 else f"{self.title} × {self.scale:g}"


class RunRecord(Config):
    """One start of the command, with suite, versions and hardware; the last describes the run."""

    kind: Literal["run"] = "run"
    schema_version: int = SCHEMA
    key: str
    started: str
    """UTC, ISO 8601."""
    command: str
    suite: dict[str, Any]
    """The suite as resolved, overrides included."""
    suite_digest: str
    parts: tuple[PartRecord, ...] = ()
    """The parts of the suite's rows, arms and metrics."""
    cells: tuple[Cell, ...] = ()
    """Everything to train and score, in the order of the plan."""
    tasks: tuple[TaskRecord, ...] = ()
    """Everything to score it on, in the order of the plan."""
    wanted: tuple[str, ...]
    """Keys of the cells, scores and timings of this run; others are of earlier settings."""
    versions: dict[str, str]
    hardware: dict[str, str]
    commit: str | None


class TeacherStatesRecord(Config):
    """How the teacher's outputs for all trainings of a run were obtained."""

    kind: Literal["teaching"] = "teaching"
    schema_version: int = SCHEMA
    key: str
    cache: Literal["fp16", "float32", "bf16", "off"]
    """Precision of the kept teacher hidden states; ``off`` if none are kept."""
    reason: str = ""
    """Why none are kept."""
    sequences: int
    """Training sequences known before any training; if states are kept, those that the teacher
    reads, each once: whole batches, also where trainings take only a part."""
    readings: int
    """Sequences that all trainings on these take together, which the teacher would read without
    kept states. If nothing is kept: those of all trainings."""
    tokens: int = 0
    """Labels with kept states."""
    size: int = 0
    """Size of the states in bytes."""
    seconds: float = 0.0
    """Time for reading; 0 if the states were there."""


class BridgeUse(Config):
    """How much of its sequences a training across tokenizers compared."""

    sequences: int
    """Sequences of the data set; those that a student wrote are not counted."""
    units: int
    """Their units."""
    tokens: int
    """Their response tokens."""
    aligned: int
    """Those that are part of a unit."""
    teacher_tokens: int
    """The same responses in the teacher's tokens."""
    teacher_aligned: int
    """Those that are part of a unit."""
    mass: float | None = None
    """Mean mass of the student's distribution on entries that were compared, over the units of the
    first sequences, before the training; None if these have none."""
    teacher_mass: float | None = None
    """The same for the teacher's."""

    @property
    def share(self) -> float | None:
        """Share of the student's tokens that is compared."""
        return self.aligned / self.tokens if self.tokens else None

    @property
    def teacher_share(self) -> float | None:
        """Share of the teacher's tokens that is compared."""
        return self.teacher_aligned / self.teacher_tokens if self.teacher_tokens else None

    @property
    def units_per_sequence(self) -> float:
        """Mean number of units of a sequence."""
        return self.units / max(1, self.sequences)


class TrainingRecord(Config):
    """A trained cell, or one that failed and why."""

    kind: Literal["training"] = "training"
    schema_version: int = SCHEMA
    key: str
    """The cell's key."""
    cell: Cell
    status: Literal["done", "failed"]
    reason: str | None = None
    steps: Steps = Steps()
    seconds: float = 0.0
    parameters: int = 0
    trainable: int = 0
    rows: int = 0
    """Training rows after the filters."""
    left_out: int = 0
    """Rows with too long a prompt or an empty response."""
    files: dict[str, str] = Field(default={})
    """Hash of each file of the saved model, by its name; compared when it is loaded again."""
    overlap_left_out: int = 0
    """Rows that equal an evaluation item, left out before these filters."""
    overlap_kept: int = 0
    """Rows that equal an evaluation item and were in the training data all the same."""
    bridge: BridgeUse | None = None
    """How much was compared across two tokenizers; None where student and teacher share one."""


Half = Literal["hard", "easy"]
Third = Literal["hard", "mid", "easy"]


class Histogram(Config):
    """Counts in bins of equal width; one bin without width where all values are the same."""

    low: float
    high: float
    counts: tuple[NonNegativeInt, ...]


class Entropies(Config):
    """The student's entropy in nats at some tokens."""

    before: Histogram
    """At temperature 1."""
    after: Histogram
    """At the temperatures of the loss."""


class GroupGradient(Config):
    """Contribution of a group of tokens to a gradient."""

    tokens: int
    share: float | None
    """Its norm over the sum of the groups' norms; None where no token has a gradient."""
    sft: float | None
    """Cosine similarity to the cross-entropy gradient of the same tokens; None without one."""
    whole: float | None
    """Cosine similarity to the gradient of all tokens."""


class MarkedToken(Config):
    """A token and its difficulty: the Hellinger distance of student and teacher, 0 to 1."""

    text: str
    difficulty: float


class Diagnosis(Config):
    """Statistics of the tokens of a micro-batch, defined in ``diagnose``."""

    tokens: int
    kept: int
    temperature: Histogram
    """Of the selected tokens."""
    entropy: dict[Half, Entropies]
    """Of the harder and the easier half of the selected tokens."""
    gradient: dict[Third, GroupGradient]
    """With respect to the student's logits, of each third of all tokens."""
    layer_gradient: dict[Third, GroupGradient] | None = None
    """With respect to the parameters of one layer."""


class DiagnosticRecord(Diagnosis):
    """Diagnostics of a training at the first micro-batch of a step, before the update."""

    kind: Literal["diagnostic"] = "diagnostic"
    schema_version: int = SCHEMA
    key: str
    """Hash of the cell's key and the step."""
    cell: Cell
    step: int
    layer: int | None = None
    """Index of the decoder layer of ``layer_gradient``."""
    text: tuple[MarkedToken, ...]
    """Start of the last and longest response of the micro-batch."""
    hardest: tuple[MarkedToken, ...]
    """The most difficult tokens of the micro-batch."""
    easiest: tuple[MarkedToken, ...]


class Item(Config):
    """One evaluated item."""

    id: str
    value: float | None
    """The metric, without the scale of its display; None if the item could not be scored."""
    answer: str | None = None
    """The generated text; None for tasks that do not generate, and where another metric's record
    of the same answers holds it."""


class ScoreRecord(Config):
    """One metric of one task on one cell with one sampling seed."""

    kind: Literal["score"] = "score"
    schema_version: int = SCHEMA
    key: str
    cell: Cell
    task: str
    sort: Sort
    metric: str
    title: str
    """The metric in tables and sentences."""
    scale: float = 1.0
    """Tables show values multiplied by this: 100 for shares."""
    higher_is_better: bool = True
    answers: str
    """Key of the answers, shared by the records of all their metrics."""
    sampling_seed: int | None
    value: float
    n: int
    unscored: int = 0
    unseen: int = 0
    """Items whose references have no token for the metric: 0 whatever the answer."""
    seconds: float
    items: tuple[Item, ...]

    @field_validator("items")
    @classmethod
    def _with_ids_of_their_own(cls, items: tuple[Item, ...]) -> tuple[Item, ...]:
        """Return the items under unique ids: differences are paired by them.

        The ids of an lm-eval task are those of its data, which may repeat; all of its items then
        get their position too.
        """
        if len({item.id for item in items}) == len(items):
            return items
        return tuple(
            item.model_copy(update={"id": f"{item.id} [{position}]"})
            for position, item in enumerate(items, start=1)
        )

    @property
    def has_texts(self) -> bool:
        """Whether this record holds the texts of its answers."""
        return any(item.answer is not None for item in self.items)


class ExampleRecord(Config):
    """Question and reference of an item whose answers the report shows."""

    kind: Literal["example"] = "example"
    schema_version: int = SCHEMA
    key: str
    task: str
    item: str
    question: str
    reference: str


class TimedStep(Config):
    """A step of the overhead measurement."""

    arm: str
    seconds: dict[Phase, float]
    peak_bytes: int | None
    """Peak memory of the step; None where the system does not report it."""


class TimingRecord(Config):
    """Interleaved steps of a plain and an adaptive arm, on the same batches."""

    kind: Literal["timing"] = "timing"
    schema_version: int = SCHEMA
    key: str
    divergence: str
    arm: str
    device: str
    tokens: int
    """Mean number of response tokens of a batch."""
    pairs: tuple[tuple[TimedStep, TimedStep], ...]
    """Each plain step with the adaptive one before or after it."""


Case = Literal["other", "truncated", "shuffled", "same", "dropped", "repeated", "spliced", "padded"]
"""The wrong answer (or the same one) beside a reference answer, in a test of a judge."""
VETTED: tuple[Case, ...] = ("other", "truncated", "shuffled", "same")
"""The cases of a vetting; a calibration has all."""


class JudgeRecord(Config):
    """A judge with the settings that it was asked with."""

    kind: Literal["judge"] = "judge"
    schema_version: int = SCHEMA
    key: str
    """Name and digest of the judge, such as ``rule@0123abcd``."""
    name: str
    description: str
    backend: str
    asks: Asks = "pair"
    mode: str
    """How verdicts are read, such as ``decision`` or ``text``; determined once, then kept."""
    model: str | None = None
    family: str | None = None
    """Family of the model, such as ``qwen``; None if unknown."""
    members: tuple[str, ...] = ()
    """Keys of the judges of a jury, whose combined verdicts are the jury's."""
    vetting: Vetting = Vetting()
    prices: Prices | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    """Everything that its verdicts depend on."""


class JudgeReply(Config):
    """The reply of a judge to one question, with its cost."""

    reason: str = ""
    """The judge's text, or the reason of a failure; empty for a rule."""
    score: float | None = None
    """The rating of the one answer shown, by a judge that rates."""
    seconds: float = 0.0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_cut: bool = False
    """Whether the server counts far fewer tokens than the prompt has words: it cut the prompt."""
    attempts: NonNegativeInt = 1
    """How often the question was asked up to now, without calls that failed for reasons that pass:
    the connection, the time or a rate limit."""


class VerdictRecord(JudgeReply):
    """A verdict on a pair of answers, shown in one order."""

    kind: Literal["verdict"] = "verdict"
    schema_version: int = SCHEMA
    key: str
    judge: str
    """The judge's key."""
    against: str
    """The opponent as it was asked for: ``plain``, ``teacher``, ``reference``, a method."""
    candidate: Cell
    opponent: Cell | None
    """None where the opponent is the reference answer."""
    task: str
    item: str
    sampling_seed: int | None
    candidate_first: bool
    """The order of this verdict; both are always asked. For a judge that rates: whether it was
    shown the candidate's answer or the opponent's."""
    verdict: Literal["candidate", "opponent", "tie", "rated", "failed", "identical"]
    probabilities: tuple[float, float, float] | None = None
    """Of candidate, opponent and tie, from a judge that gives them."""
    words: str
    """Hash of the text shown to the judge."""
    reused: bool = False
    """Taken from another pair with the same text, at no cost."""


class VettingRecord(JudgeReply):
    """A verdict on a pair with a known answer, shown in one order."""

    kind: Literal["vetting"] = "vetting"
    schema_version: int = SCHEMA
    key: str
    judge: str
    """The judge's key."""
    task: str
    item: str
    case: Case
    """The opponent of the right answer, which is the item's reference."""
    right_first: bool
    length_difference: int
    """Words of the right answer minus words of the wrong one."""
    verdict: Literal["right", "wrong", "tie", "rated", "failed"]


class StopRecord(Config):
    """Last state of a sequentially stopped judging, for one comparison."""

    kind: Literal["stop"] = "stop"
    schema_version: int = SCHEMA
    key: str
    judge: str
    """The judge's key, or the jury's."""
    against: str
    method: str
    """The candidate's, such as ``reverse_kl + adakd``."""
    opponent: str
    """The opponent's method, or ``reference``."""
    target: float
    """Half-width of the interval at which to stop."""
    prompts: int
    """Number of judged prompts."""
    available: int
    """Number of prompts that could be judged."""
    estimate: float
    low: float
    """Lower end of the anytime-valid 95 % interval."""
    high: float
    reached: bool
    """Whether the target was reached; otherwise the prompts ran out."""


class Estimate(Config):
    """A share, or a difference of two, with its 95 % interval and the number of pairs."""

    value: float
    low: float
    high: float
    n: int


Length = Literal["short", "medium", "long"]
"""The third of a set that a reference answer is in by its number of words."""


class CalibrationRecord(Config):
    """What a judge makes of pairs with a known answer, from a set's own references."""

    kind: Literal["calibration"] = "calibration"
    schema_version: int = SCHEMA
    key: str
    """Hash of the judge's key, the data and the pairs."""
    judge: str
    """The judge's key."""
    name: str
    model: str | None = None
    mode: str
    data: str
    """Name of the file that the pairs were made from."""
    data_digest: str
    pairs: int
    failed: Estimate
    """Share of the pairs without a verdict; all other shares are of those with one."""
    accuracy: Estimate | None
    """Share decided rightly in both orders."""
    by_case: dict[Case, Estimate]
    by_length: dict[Length, Estimate]
    flips: Estimate | None
    """Share of verdicts that change with the order; None for a judge that rates."""
    self_ties: Estimate | None
    """Share of ties between an answer and itself."""
    position: Estimate | None
    """Share of verdicts for the answer shown first minus those for the second: 0 without a pull."""
    length: Estimate | None
    """Accuracy where the right answer is the longer one minus that where it is the shorter one,
    against another item's reference."""


Record = (
    RunRecord
    | TeacherStatesRecord
    | TrainingRecord
    | DiagnosticRecord
    | ScoreRecord
    | ExampleRecord
    | TimingRecord
    | JudgeRecord
    | VerdictRecord
    | VettingRecord
    | StopRecord
    | CalibrationRecord
)
