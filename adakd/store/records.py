"""What a run leaves behind, one record for each thing that was done.

Every record carries the schema's version and the key of what it tells of.
"""

from typing import Any, Literal

from pydantic import Field, NonNegativeInt

from adakd.config import Config
from adakd.config.judge import Asks, Prices, Vetting
from adakd.planning import Cell

SCHEMA = 2
"""Rises with the form of the records; :mod:`adakd.store.upgrade` reads older ones."""
Phase = Literal["generation", "teacher", "student", "loss", "backward", "optimizer"]
"""The parts of a training step: teacher forward, student forward, loss, backward, optimizer. Before
them comes what a data policy asks of the student, writing and validating, in steps that have it."""


class PartRecord(Config):
    """A part of some rows of the tables, with every setting that it had."""

    of: str
    """The label of a divergence's rows, or an arm."""
    sort: str
    """What the part is, such as ``divergence``."""
    name: str
    settings: dict[str, Any]
    ours: tuple[str, ...] = ()
    """Settings for whose values no paper is the source."""


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
    """One start of the command: where, with what and how. The last one describes the run."""

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


class TeachingRecord(Config):
    """How the teacher's part in all trainings of a run was had."""

    kind: Literal["teaching"] = "teaching"
    schema_version: int = SCHEMA
    key: str
    cache: Literal["fp16", "float32", "bf16", "off"]
    """How its hidden states are kept."""
    reason: str = ""
    """Why they are not."""
    sequences: int
    """What the students learn from, as far as it is known before a training: each is read once
    where states are kept."""
    readings: int
    """Sequences that all trainings on these take together: so many are read where none are kept.
    Where nothing is kept, those of all trainings."""
    tokens: int = 0
    """Labels whose states are kept."""
    size: int = 0
    """Bytes of the states."""
    seconds: float = 0.0
    """Reading took; 0 where the states were found."""


class Step(Config):
    """One optimizer step of a training."""

    step: int
    loss: float
    learning_rate: float
    grad_norm: float
    kept_ratio: float
    """Share of the response tokens that the loss counted."""
    temperature: float
    """Mean over the kept tokens."""
    seconds: dict[Phase, float]


class TrainingRecord(Config):
    """A trained cell, or one that failed and why."""

    kind: Literal["training"] = "training"
    schema_version: int = SCHEMA
    key: str
    """The cell's key."""
    cell: Cell
    status: Literal["done", "failed"]
    reason: str | None = None
    steps: tuple[Step, ...] = ()
    seconds: float = 0.0
    parameters: int = 0
    trainable: int = 0
    rows: int = 0
    """Training rows after the filters."""
    left_out: int = 0
    """Rows whose prompt was too long or whose response was empty."""


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
    """As the loss has it: at the temperatures that it gives."""


class GroupGradient(Config):
    """The part of a group of tokens in a gradient."""

    tokens: int
    share: float | None
    """Its norm over the sum of the groups' norms; None where no token has a gradient."""
    sft: float | None
    """Cosine with the gradient of the cross-entropy of the same tokens; None without a gradient."""
    whole: float | None
    """Cosine with the gradient of all tokens."""


class MarkedToken(Config):
    """A token and how hard it is: Hellinger distance of student and teacher, 0 to 1."""

    text: str
    difficulty: float


class Diagnosis(Config):
    """What the tokens of a micro-batch are like; how it is meant tells ``diagnose``."""

    tokens: int
    kept: int
    temperature: Histogram
    """Of the kept tokens."""
    entropy: dict[Half, Entropies]
    """Of the harder and the easier half of the kept tokens."""
    gradient: dict[Third, GroupGradient]
    """Of the thirds of all tokens, by the student's logits."""
    layer_gradient: dict[Third, GroupGradient] | None = None
    """Of the same, by the parameters of a layer."""


class DiagnosticRecord(Diagnosis):
    """A look inside a training: at the first micro-batch of a step, before the step is made."""

    kind: Literal["diagnostic"] = "diagnostic"
    schema_version: int = SCHEMA
    key: str
    """Hash of the cell's key and the step."""
    cell: Cell
    step: int
    layer: int | None = None
    """Number, from 0, of the decoder layer of ``layer_gradient``."""
    text: tuple[MarkedToken, ...]
    """The beginning of the micro-batch's last response, which is its longest."""
    hardest: tuple[MarkedToken, ...]
    """Of all tokens of the micro-batch."""
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
    """Key of the answers; records of other metrics of the same answers have the same."""
    sampling_seed: int | None
    value: float
    n: int
    unscored: int = 0
    seconds: float
    items: tuple[Item, ...]

    @property
    def task_record(self) -> TaskRecord:
        """The column of the tables that this score belongs to."""
        return TaskRecord(
            name=self.task,
            sort=self.sort,
            metric=self.metric,
            title=self.title,
            scale=self.scale,
            higher_is_better=self.higher_is_better,
        )

    @property
    def has_texts(self) -> bool:
        """Whether this record holds the texts of its answers."""
        return any(item.answer is not None for item in self.items)


class ExampleRecord(Config):
    """The text of an item that the report shows with the answers to it."""

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
    """Most memory in use during the step; None where the system cannot tell."""


class TimingRecord(Config):
    """Interleaved steps of a plain arm and an adaptive one, on the same batches."""

    kind: Literal["timing"] = "timing"
    schema_version: int = SCHEMA
    key: str
    divergence: str
    arm: str
    device: str
    tokens: int
    """Response tokens of a batch, on average."""
    pairs: tuple[tuple[TimedStep, TimedStep], ...]
    """The plain step and the adaptive one that followed or preceded it."""


Case = Literal["other", "truncated", "shuffled", "same"]
"""What a reference answer is set against to find out whether a judge can be believed."""


class JudgeRecord(Config):
    """A judge as it was asked in this folder."""

    kind: Literal["judge"] = "judge"
    schema_version: int = SCHEMA
    key: str
    """Name and digest of the judge, such as ``rule@0123abcd``."""
    name: str
    description: str
    backend: str
    asks: Asks = "pair"
    mode: str
    """How its verdicts are read, such as ``decision`` or ``text``; found once, then kept."""
    model: str | None = None
    family: str | None = None
    """Of the model, such as ``qwen``; None where it cannot be told."""
    members: tuple[str, ...] = ()
    """The judges of a jury, by key; a jury's verdicts are those of its members combined."""
    vetting: Vetting = Vetting()
    prices: Prices | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    """All that its verdicts depend on."""


class JudgeReply(Config):
    """What a judge said to one question, and what that cost."""

    reason: str = ""
    """The judge's text, or why it failed; empty for a rule."""
    score: float | None = None
    """Of the one answer shown, by a judge that rates."""
    seconds: float = 0.0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class VerdictRecord(JudgeReply):
    """What a judge said of one pair of answers in one order."""

    kind: Literal["verdict"] = "verdict"
    schema_version: int = SCHEMA
    key: str
    judge: str
    """The judge's key."""
    against: str
    """What the candidate was compared with: ``plain``, ``teacher``, ``reference``, a method."""
    candidate: Cell
    opponent: Cell | None
    """None where the opponent is the reference answer."""
    task: str
    item: str
    sampling_seed: int | None
    candidate_first: bool
    """Which order this verdict is of; both are always asked. Of a judge that rates: whether it
    was shown the candidate's answer or the opponent's."""
    verdict: Literal["candidate", "opponent", "tie", "rated", "failed", "identical"]
    probabilities: tuple[float, float, float] | None = None
    """Of candidate, opponent and tie, from a judge that gives them."""
    words: str
    """Hash of what the judge was shown."""
    reused: bool = False
    """The same words were asked for another pair: this cost nothing."""


class VettingRecord(JudgeReply):
    """What a judge said in one order of a pair whose answer is known."""

    kind: Literal["vetting"] = "vetting"
    schema_version: int = SCHEMA
    key: str
    judge: str
    """The judge's key."""
    task: str
    item: str
    case: Case
    """What stood against the right answer, which is the item's reference."""
    right_first: bool
    length_difference: int
    """Words of the right answer minus words of the wrong one."""
    verdict: Literal["right", "wrong", "tie", "rated", "failed"]


class StopRecord(Config):
    """Where a judging that stops by itself stood last, for one comparison."""

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
    """Judged until then."""
    available: int
    """Prompts that could have been judged."""
    estimate: float
    low: float
    """Lower end of a 95 % interval that holds at whatever time one looks."""
    high: float
    reached: bool
    """Whether the target was; otherwise the prompts ran out."""


Record = (
    RunRecord
    | TeachingRecord
    | TrainingRecord
    | DiagnosticRecord
    | ScoreRecord
    | ExampleRecord
    | TimingRecord
    | JudgeRecord
    | VerdictRecord
    | VettingRecord
    | StopRecord
)
