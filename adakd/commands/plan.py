"""What a run would train and score, as a table."""

from rich.markup import escape
from rich.table import Table

from adakd.planning import Cell, Plan


def plan_table(planned: Plan) -> Table:
    """Return a row for each method: its cells differ in the seed alone."""
    table = Table("method", "seeds", "steps", "tokens at most", "scores")
    methods: dict[str, list[Cell]] = {}
    for cell in planned.cells:
        methods.setdefault(cell.method, []).append(cell)
    for method, cells in methods.items():
        steps, tokens = planned.length(cells[0])
        seeds = " ".join(str(cell.seed) for cell in cells)
        scores = sum(job.cell == cells[0] for job in planned.jobs)
        table.add_row(escape(method), seeds, _count(steps), _count(tokens), str(scores))
    table.caption = "steps, tokens and scores of each seed"
    return table


def _count(number: int | None) -> str:
    return "by rows" if number is None else f"{number:,}"
