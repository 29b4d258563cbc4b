"""Show what a run would train and score: for `adakd plan`."""

from rich.console import Group
from rich.table import Table

from adakd.console import shown
from adakd.metrics import metric
from adakd.planning import Assignment, Plan


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
        shown(f"scored on: {', '.join(tasks)} (answers {decoding})"),
        shown(f"answers scored by: {', '.join(titles)}"),
        shown(f"judged by: {', '.join(suite.judges) or 'no judge'}"),
    )


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
        scores = sum(job.cell == cells[0] for job in planned.jobs)
        table.add_row(shown(method), seeds, _count(steps), _count(tokens), str(scores))
    table.caption = "steps, tokens and scores of each seed"
    return table


def _count(number: int | None) -> str:
    return "by rows" if number is None else f"{number:,}"
