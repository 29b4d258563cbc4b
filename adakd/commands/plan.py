"""Show what a run would train and score: for `adakd plan`."""

from collections.abc import Iterator

from rich.console import Group
from rich.table import Table

from adakd.config import Suite, Training
from adakd.console import shown
from adakd.data import read_rows
from adakd.data.files import is_local
from adakd.data.overlap import TrainingRows, described, local_overlap, unread_lines
from adakd.metrics import metric
from adakd.metrics.coverage import unseen_line
from adakd.planning import Assignment, Plan
from adakd.planning.precision import precision_line

FINDS = (
    "what it can find: add --like RUN (the folder of a finished run), or --spread NOISE,SEEDS "
    "(standard deviations of paired differences; 14,2.7 in the published ablation-mini)"
)
"""How to learn what a suite can find, in a plan that does not tell it."""


def plan_summary(planned: Plan) -> Group:
    """Return a plan for the terminal: its suite, its methods, its tasks and its judges."""
    suite = planned.suite
    students = [cell for cell in planned.cells if cell.role != "teacher"]
    tasks = dict.fromkeys(job.task for job in planned.jobs)
    samplings = {job.sampling_seed for job in planned.jobs} - {None}
    decoding = f"sampled with {len(samplings)} seeds" if samplings else "decoded greedily"
    titles = [metric.display(spec.name).title for spec in suite.evaluation.metrics]
    return Group(
        shown(suite.name, "bold").append_text(shown(f": {suite.description}", "not bold")),
        plan_table(planned),
        f"{len(students)} students, {len(planned.jobs)} scores in all",
        *map(shown, loss_lines(suite)),
        *map(shown, check_lines(suite)),
        shown(f"scored on: {', '.join(tasks)} (answers {decoding})"),
        shown(f"answers scored by: {', '.join(titles)}"),
        shown(precision_line(suite)),
        *map(shown, device_lines(planned)),
        shown(f"judged by: {', '.join(suite.judges) or 'no judge'}"),
        *map(shown, data_lines(suite)),
    )


def loss_lines(suite: Suite) -> list[str]:
    """Return what the loss of every distilled student has besides its divergence; often nothing."""
    lines = []
    bridges = dict.fromkeys(str(suite.bridge_of(one)) for one in suite.divergences)
    if suite.crosses:
        named = "bridge" if len(bridges) == 1 else "bridges"
        where = "where student and teacher have different tokenizers"
        lines.append(f"{named}: {', '.join(bridges)}, {where}")
    if weight := suite.objective.cross_entropy:
        how = f"weight {weight:g}" if weight != "dynamic" else "the divergence is scaled to it"
        lines.append(f"cross-entropy to the labels: {how} in every distilled student")
    return lines


def device_lines(planned: Plan) -> list[str]:
    """Return which trainings are shared by several devices; nothing where none is."""
    suite, lines = planned.suite, []
    sft, training = suite.teacher.sft, suite.training
    if sft is not None and sft.devices > 1:
        lines.append(f"the teacher is trained by {sft.devices} devices together{_spread(sft)}")
    if training.devices > 1:
        overhead = ""
        if suite.timing.pairs:
            whole = ", which needs all of it: timing.pairs: 0 leaves them out" * training.shard
            overhead = f"; overheads are measured on one of them{whole}"
        together = f"{training.devices} devices together{_spread(training)}{overhead}"
        lines.append(f"each student is trained by {together}")
        if any(one.new_policy().state_dict() for one in planned.assignments if one.baseline):
            lines.append("a data policy with a buffer generates on the first device alone")
    return lines


def _spread(training: Training) -> str:
    return ", its weights, gradients and Adam's moments spread over them" * training.shard


def check_lines(suite: Suite) -> list[str]:
    """Return what ``controls.check`` adds to a plan; nothing where it is off."""
    if suite.checked is None:
        return []
    plain, seed = suite.checked, suite.seeds[0]
    again = ", plain against plain at other seeds" if len(suite.seeds) > 1 else ""
    sft = "" if suite.controls.sft else "sft and "
    return [
        f"controls.check adds {sft}{plain}, neutral adakd (seed {seed}); it compares {plain} with "
        f"sft, the neutral arm with {plain}{again}"
    ]


def data_lines(suite: Suite) -> list[str]:
    """Return what a plan says about the data: rows in common, and fields that nothing reads."""
    found = local_overlap(suite)
    unread = unread_lines(found) if found else ()
    return [overlap_line(suite, found), *unread, *unseen_references(suite)]


def unseen_references(suite: Suite) -> Iterator[str]:
    """Yield a line for each local set and metric with references that the metric cannot see."""
    for name, source in suite.evaluation.sets.items():
        if not is_local(source, suite):
            continue
        references = [row.references for row in read_rows(source, suite)]
        for spec in suite.evaluation.metrics:
            if unseen := metric.unseen(spec.name, references):
                title = metric.display(spec.name).title
                yield unseen_line(name, spec.name, title, unseen, len(references))


def overlap_line(suite: Suite, found: TrainingRows | None) -> str:
    """Return how many training rows equal an evaluation item, and what becomes of them."""
    kept = suite.data.overlap == "keep"
    fate = "TRAINED ON (data.overlap: keep): the scores are no test" if kept else "left out"
    sets = suite.evaluation.sets.items()
    unread = [name for name, source in sets if found is None or not is_local(source, suite)]
    parts = []
    if found is not None and len(unread) < len(sets):
        count = len(found.overlapping)
        of = f" ({described(found.by_set)})" if count else ""
        parts.append(f"{count:,}{of} equal an evaluation item" + (f" and are {fate}" * bool(count)))
    if unread:
        parts.append(f"those that equal an item of {', '.join(unread)} are {fate}, once loaded")
    return f"training rows: {'; '.join(parts)}"


def plan_table(planned: Plan) -> Table:
    """Return a row for each method; its cells differ in the seed alone."""
    table = Table("method", "seeds", "steps", "tokens at most", "scores")
    methods: dict[str, list[Assignment]] = {}
    for assignment in planned.assignments:
        methods.setdefault(assignment.cell.method, []).append(assignment)
    for method, assignments in methods.items():
        steps, tokens = planned.length(assignments[0])
        cells = [assignment.cell for assignment in assignments]
        seeds = " ".join(str(cell.seed) for cell in cells)
        scores = len(planned.jobs_of(cells[0]))
        table.add_row(shown(method), seeds, _count(steps), _count(tokens), str(scores))
    table.caption = "steps, tokens and scores of each seed"
    return table


def _count(number: int | None) -> str:
    return "by rows" if number is None else f"{number:,}"
