"""What a start of a run has to do, and how long that takes here. Imports no torch."""

from collections import Counter
from collections.abc import Iterable

from adakd.config import Suite
from adakd.data.files import rows_of
from adakd.execution.speeds import Rates
from adakd.planning import Plan
from adakd.planning.quantities import counted, duration
from adakd.store import Store


def outlook(planned: Plan, store: Store) -> str:
    """Return one line: the models to train and the items to score, and the time if it is known.

    The time is that of finished trainings and scores in the same folder: seconds a step by role,
    and seconds a model by task. Timing and judging come on top.
    """
    trainings = [one for one in planned.assignments if one.training is not None]
    open_trainings = [one for one in trainings if one.cell.key not in store]
    scores = {job.answers: job.task for job in planned.jobs}
    open_scores = {job.answers: job.task for job in planned.jobs if job.key not in store}
    name = planned.suite.name
    if not open_trainings and not open_scores:
        return f"{name}: all is trained and scored; the report is written again"
    lengths = [(one.cell.role, planned.length(one)[0]) for one in open_trainings]
    numbers = [steps for _, steps in lengths if steps is not None]
    of_steps = f" in {counted(sum(numbers), 'step')}" if len(numbers) == len(lengths) else ""
    told = [f"trains {counted(len(open_trainings), 'model')}{of_steps}"] if lengths else []
    if open_scores:
        told.append(f"scores {_items(planned.suite, open_scores.values())}")
    line = f"{name}: {' and '.join(told)}"
    if len(open_scores) < len(scores) or len(open_trainings) < len(trainings):
        line += "; the rest is done"
    rates = Rates(store)
    training, scoring = rates.trainings(lengths), rates.scores(open_scores.values())
    if training is None or scoring is None:
        return f"{line}; how long that takes is told once one of each kind is done"
    return f"{line}; about {duration(training + scoring)} at the speed so far"


def _items(suite: Suite, tasks: Iterable[str]) -> str:
    """Return the number of items that models answer, as far as it is known before loading."""
    sets = suite.evaluation.sets
    sizes = {name: rows_of(source, suite) for name, source in sets.items()}
    for choice in suite.evaluation.choices:
        rows = sizes[choice.set]
        limits = [number for number in (rows, choice.limit) if number is not None]
        sizes[choice.name] = min(limits, default=None)
    models = Counter(tasks)
    if any(sizes.get(task) is None for task in models):
        return f"{counted(len(models), 'set')} of items"
    return counted(sum((sizes[task] or 0) * count for task, count in models.items()), "item")
