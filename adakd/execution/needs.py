"""What a plan takes: work, memory and disk of each stage, as estimates. Imports no torch.

Operations are those of matrix products: 2 for each parameter and token that a model reads or
decodes, 6 where it is trained, 4 where adapters alone are.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from adakd.config import Suite, Training
from adakd.judging import Panel
from adakd.planning import PLAIN, Assignment, Plan, timing_key
from adakd.planning.architectures import Architecture, architecture
from adakd.planning.lengths import (
    Lengths,
    local_rows,
    set_lengths,
    tokens_of,
    training_lengths,
)
from adakd.policies import Policy

SFT, STATES, STUDENTS = "teacher SFT", "teacher states", "students"
OWN, ANSWERS, OPTIONS, TIMING = "own responses", "answers", "options", "timing"
"""Names of stages."""
WEIGHT, MOMENTS = 4, 12
"""Bytes of a weight in float32, and of its gradient with Adam's two moments."""
_STATE = {"float32": 4, "fp16": 2, "bf16": 2}
_ITEM = 80
"""Bytes of a scored item in the records, beside its answer."""
_QUESTION = 250
"""Tokens of a judge's prompt beside question and answers."""
_REQUESTS = {"arc_easy": 2_376 * 4, "hellaswag": 10_042 * 4}
"""Requests of lm-eval tasks that shipped suites name: options of all items."""
_REQUEST = 90
"""Tokens of one of them."""


@dataclass(frozen=True)
class Need:
    """What one stage takes; None where it is not known before data or models are loaded."""

    stage: str
    work: float | None
    """Sequences, answers or requests."""
    unit: str
    """What `work` counts."""
    tokens: float | None = None
    """Tokens that models read, or decode where they generate."""
    operations: float | None = None
    memory: float | None = None
    """Bytes of weights, gradients and Adam's moments; activations come on top."""
    disk: float | None = None
    at_once: float = 0
    """Answers that are decoded together, on average; 0 where nothing is decoded."""
    waiting: bool = False
    """Whether more prompts wait than are answered together, so that continuous batching can let
    one in as soon as an answer ends. A step's own responses are all decoded at once."""
    devices: int = 1
    """Devices that share each piece of the work, each of which has `memory`."""


@dataclass(frozen=True)
class Sizes:
    """The parts of all estimates of a plan; None where they are not known before loading."""

    planned: Plan
    rows: Lengths | None
    """The training rows."""
    ratio: float
    """Characters of a token."""
    teacher: Architecture | None
    student: Architecture | None

    @classmethod
    def of(cls, planned: Plan) -> "Sizes":
        """Read the local data and the configurations of the models of a plan."""
        suite = planned.suite
        rows = local_rows(suite)
        tokens = tokens_of(suite, rows)
        ratio, teacher = tokens.characters, suite.teacher.base
        return cls(
            planned,
            training_lengths(suite, rows, ratio),
            ratio,
            architecture(teacher, teacher, tokens.vocabulary),
            architecture(suite.student, teacher, tokens.vocabulary),
        )

    @property
    def suite(self) -> Suite:
        """The suite of the plan."""
        return self.planned.suite

    @cached_property
    def answered(self) -> dict[str, Lengths | None]:
        """The items of the evaluation sets."""
        sets = self.suite.evaluation.sets
        return {name: set_lengths(of, self.suite, self.ratio) for name, of in sets.items()}

    def reads_live(self, one: Assignment) -> bool:
        """Whether the teacher runs on every batch of a training."""
        return one.cell.has_teacher and (one.generates or self.suite.teacher.cache == "off")

    def sequences(self, one: Assignment) -> int | None:
        """Return the sequences of a training."""
        if one.training is None:
            return 0
        if one.training.steps is None and self.rows is None:
            return None
        return one.resolved(self.rows.rows if self.rows else 0).sequences

    def tokens(self, sequences: float | None) -> float | None:
        """Return the tokens of so many training sequences."""
        if sequences is None or self.rows is None:
            return None
        return sequences * self.rows.tokens


def needs(planned: Plan, panel: Panel | None = None) -> tuple[Need, ...]:
    """Return what each stage of a plan takes, the stages in their order.

    Args:
        planned: the plan.
        panel: the judges that are asked at the end.
    """
    sizes = Sizes.of(planned)
    found = [
        *_teacher_training(sizes),
        *_teacher_responses(sizes),
        *_teacher_states(sizes),
        *_students(sizes),
        *_student_responses(sizes),
        *_answers(sizes),
        *_options(sizes),
        *_timing(sizes),
        *_judging(sizes, panel),
    ]
    return tuple(found)


def _teacher_training(sizes: Sizes) -> Iterator[Need]:
    assignment = sizes.planned.teacher
    training = assignment.training
    if training is None:
        return
    sequences = sizes.sequences(assignment)
    tokens = sizes.tokens(sequences)
    yield Need(
        SFT,
        sequences,
        "sequence",
        tokens,
        _product(operations_of(sizes, assignment), tokens),
        _of_device(training, _training_memory(training, sizes.teacher)),
        _model_bytes(training, sizes.teacher),
        devices=training.devices,
    )


def _teacher_responses(sizes: Sizes) -> Iterator[Need]:
    """Yield the teacher's responses, which sequence-level policies learn from."""
    planned, rows = sizes.planned, sizes.rows
    for decoding in dict.fromkeys(one.rewriting for one in planned.assignments if one.rewriting):
        most = decoding.max_new_tokens or _room(sizes)
        count = rows.rows if rows else None
        size = sizes.suite.evaluation.batch_size
        yield _decoding("teacher responses", sizes, count, most, size, sizes.teacher, waiting=True)


def _teacher_states(sizes: Sizes) -> Iterator[Need]:
    """Yield the one reading whose hidden states are stored."""
    suite = sizes.suite
    cached = [
        one for one in sizes.planned.assignments if one.cell.has_teacher and not one.generates
    ]
    if suite.teacher.cache == "off" or not cached:
        return
    rows = sizes.rows
    read = None if rows is None else _read(sizes, cached)
    tokens, teacher = sizes.tokens(read), sizes.teacher
    labels = None if rows is None or read is None else read * rows.response
    weight = 2 if suite.teacher.cache == "bf16" else WEIGHT
    yield Need(
        STATES,
        read,
        "sequence",
        tokens,
        _product(2 * teacher.parameters if teacher else None, tokens),
        _weights(teacher, weight),
        None
        if labels is None or teacher is None
        else round(labels * teacher.width * _STATE[suite.teacher.cache]),
    )


def _read(sizes: Sizes, cached: Sequence[Assignment]) -> int | None:
    """Return how many rows the teacher reads: whole batches with a row that any seed takes."""
    assert sizes.rows is not None
    share = 1.0
    timing, training = sizes.suite.timing, sizes.suite.training
    timed = (timing.warmup + timing.pairs) * training.batch_size if timing.pairs else 0
    for seed in {one.cell.seed for one in cached}:
        taken = [sizes.sequences(one) for one in cached if one.cell.seed == seed]
        known = [count for count in taken if count is not None]
        most = max([*known, timed if seed == sizes.suite.seeds[0] else 0])
        share *= max(0.0, 1 - most / sizes.rows.rows)
    return round(sizes.rows.rows * (1 - share**training.batch_size))


def _students(sizes: Sizes) -> Iterator[Need]:
    students = [
        one
        for one in sizes.planned.assignments
        if one.training is not None and one.cell.role != "teacher"
    ]
    if not students:
        return
    sequences = _total(sizes.sequences(one) for one in students)
    operations = _total(
        _product(operations_of(sizes, one), sizes.tokens(sizes.sequences(one))) for one in students
    )
    training = sizes.suite.training
    memory = _training_memory(training, sizes.student)
    if memory is not None and any(map(sizes.reads_live, students)) and sizes.teacher:
        memory += (WEIGHT if training.precision == "float32" else 2) * sizes.teacher.parameters
    size = _model_bytes(training, sizes.student)
    yield Need(
        STUDENTS,
        sequences,
        "sequence",
        sizes.tokens(sequences),
        operations,
        _of_device(training, memory),
        size and size * len(students),
        devices=training.devices,
    )


def operations_of(sizes: Sizes, one: Assignment) -> float | None:
    """Return the operations of a token in a training, those of a live teacher included."""
    assert one.training is not None
    is_teacher = one.cell.role == "teacher"
    own = _per_token(one.training, sizes.teacher if is_teacher else sizes.student)
    if own is None or not sizes.reads_live(one):
        return own
    return None if sizes.teacher is None else own + 2 * sizes.teacher.parameters


def _student_responses(sizes: Sizes) -> Iterator[Need]:
    """Yield the responses that students sample in their own training."""
    count, rounds, most = 0, 0.0, 0
    for one in sizes.planned.assignments:
        made = one.new_policy()
        if one.training is None or not made.writes:
            continue
        sequences = sizes.sequences(one)
        if sequences is None:
            return
        written = round(made.writes * sequences)
        count += written
        rounds += written / written_together(made.writes, sizes.suite)
        most = max(most, longest_response(sizes, made))
    if count:
        yield _decoding(OWN, sizes, count, most, count / rounds, sizes.student)


def longest_response(sizes: Sizes, policy: Policy) -> int:
    """Return the most tokens of a response that a student writes itself."""
    decoding = getattr(policy, "decoding", None)
    return (decoding and decoding.max_new_tokens) or _room(sizes)


def written_together(writes: float, suite: Suite) -> float:
    """Return how many responses are decoded together in a step that has any, on average.

    Each of its micro-batches is written with probability `writes`.
    """
    micro = suite.training.gradient_accumulation
    batches = micro * writes / (1 - (1 - writes) ** micro)
    return min(suite.training.batch_size * batches, suite.evaluation.batch_size)


def _answers(sizes: Sizes) -> Iterator[Need]:
    """Yield the answers to the instruction sets, those of several metrics once."""
    suite = sizes.suite
    sets = Counter({job.answers: job.task for job in sizes.planned.jobs}.values())
    counts = [(sets[name], length) for name, length in sizes.answered.items() if sets[name]]
    if not counts:
        return
    items = _total(models * length.rows if length else None for models, length in counts)
    most = suite.evaluation.sampling.max_new_tokens
    size = suite.evaluation.batch_size
    found = _decoding(ANSWERS, sizes, items, most, size, sizes.student, waiting=True)
    prompts = _total(m * one.rows * one.prompt if one else None for m, one in counts)
    read = _product(2 * sizes.student.parameters if sizes.student else None, prompts)
    answer = sum(
        models * one.rows * (_ITEM + min(one.response, most) * sizes.ratio)
        for models, one in counts
        if one
    )
    yield replace(
        found,
        operations=_total([found.operations, read]),
        disk=round(answer) if items is not None else None,
    )


def _options(sizes: Sizes) -> Iterator[Need]:
    """Yield the options of multiple-choice tasks, which a model reads one by one."""
    evaluation, models = sizes.suite.evaluation, len(sizes.planned.cells)
    names = [choice.name for choice in evaluation.choices]
    names += [task.name for task in evaluation.tasks]
    if not names:
        return
    counts = [requests_of(sizes, name) for name in names]
    requests = _total(models * count if count is not None else None for count, _ in counts)
    tokens = _total(models * count * size if count is not None else None for count, size in counts)
    yield Need(
        OPTIONS,
        requests,
        "request",
        tokens,
        _product(2 * sizes.student.parameters if sizes.student else None, tokens),
        _weights(sizes.student),
    )


def requests_of(sizes: Sizes, task: str) -> tuple[float | None, float]:
    """Return the options that one model reads for a task of multiple choice, and their tokens.

    None of lm-eval tasks that no shipped suite names, and of sets whose size is not known.
    """
    evaluation = sizes.suite.evaluation
    choice = next((one for one in evaluation.choices if one.name == task), None)
    if choice is not None:
        length = sizes.answered[choice.set]
        if length is None:
            return None, 0.0
        return min(length.rows, choice.limit or length.rows) * choice.choices, length.tokens
    limit = next(one.limit for one in evaluation.tasks if one.name == task)
    known = _REQUESTS.get(task)
    return known and min(known, 4 * limit if limit else known), _REQUEST


def _timing(sizes: Sizes) -> Iterator[Need]:
    timing, training = sizes.suite.timing, sizes.suite.training
    adaptive = [one for one in sizes.planned.assignments if one.cell.arm != PLAIN]
    pairs = {timing_key(one.recipe, timing): one for one in adaptive}
    if not timing.pairs or not pairs:
        return
    steps = 2 * (timing.warmup + timing.pairs)
    sequences = len(pairs) * steps * training.sequences
    tokens = sizes.tokens(sequences)
    memory = _training_memory(training, sizes.student)
    yield Need(
        TIMING,
        sequences,
        "sequence",
        tokens,
        _total(
            _product(operations_of(sizes, one), sizes.tokens(steps * training.sequences))
            for one in pairs.values()
        ),
        memory and 2 * memory,
    )


def _judging(sizes: Sizes, panel: Panel | None) -> Iterator[Need]:
    """Yield the requests to the judges, each pair of answers in both orders."""
    if panel is None:
        return
    adaptive = [one for one in sizes.planned.assignments if one.cell.arm != PLAIN]
    samplings = sizes.suite.evaluation.sampling
    seeds = len(samplings.seeds) if samplings.do_sample else 1
    for judge in panel.judges:
        vetting = 2 * 4 * judge.vetting.items
        lengths = list(sizes.answered.values())
        requests = _total(2 * len(adaptive) * seeds * one.rows if one else None for one in lengths)
        tokens = _total(
            2 * len(adaptive) * seeds * one.rows * (_QUESTION + one.prompt + 2 * one.response)
            if one
            else None
            for one in lengths
        )
        is_model = judge.kind != "rule"
        yield Need(
            f"judge {judge.name}",
            None if requests is None else requests + vetting,
            "request",
            tokens if is_model else None,
        )


def _decoding(
    stage: str,
    sizes: Sizes,
    answers: float | None,
    most: int,
    at_once: float,
    model: Architecture | None,
    waiting: bool = False,
) -> Need:
    """Return a stage that generates: as many tokens as the limit allows."""
    tokens = None if answers is None else answers * most
    return Need(
        stage,
        answers,
        "answer",
        tokens,
        _product(2 * model.parameters if model else None, tokens),
        _weights(model),
        at_once=at_once,
        waiting=waiting,
    )


def _room(sizes: Sizes) -> int:
    """Return the tokens that ``data.max_tokens`` leaves after a prompt."""
    prompt = sizes.rows.prompt if sizes.rows else 0
    return max(1, round(sizes.suite.data.max_tokens - prompt))


def _per_token(training: Training, model: Architecture | None) -> float | None:
    """Return the operations of a token in a training of a model."""
    if model is None:
        return None
    times = (6 if training.lora is None else 4) + 2 * training.gradient_checkpointing
    return times * model.parameters


def _training_memory(training: Training, model: Architecture | None) -> float | None:
    if model is None:
        return None
    trained = _trained(training, model)
    frozen = 0 if training.lora is None else model.parameters
    return WEIGHT * frozen + (WEIGHT + MOMENTS) * trained


def _of_device(training: Training, memory: float | None) -> float | None:
    """Return the part of a training's memory that each of its devices has."""
    return memory and memory / training.devices if training.shard else memory


def _trained(training: Training, model: Architecture) -> int:
    """Return the parameters that are trained."""
    if training.lora is None:
        return model.parameters
    targets = training.lora.target_modules
    return model.adapters(training.lora.r, None if isinstance(targets, str) else len(targets))


def _model_bytes(training: Training, model: Architecture | None) -> int | None:
    """Return the bytes of a saved model: float32, or its adapters alone."""
    return None if model is None else WEIGHT * _trained(training, model)


def _weights(model: Architecture | None, weight: int = WEIGHT) -> float | None:
    """Return the bytes of a model's weights."""
    return None if model is None else weight * model.parameters


def _product(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a * b


def _total(values: Iterable[float | None]) -> float | None:
    """Return the sum of some numbers; None where one is not known."""
    found = list(values)
    known = [value for value in found if value is not None]
    return sum(known) if len(known) == len(found) else None
