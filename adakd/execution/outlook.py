"""What a start of a run has to do, and how long that takes here. Imports no torch."""

from collections import Counter
from collections.abc import Callable, Iterable

from adakd.config import Suite
from adakd.data.files import rows_of
from adakd.execution.speeds import Fallback, Pace, Rates, Work
from adakd.planning import Plan
from adakd.planning.quantities import counted, duration, roughly
from adakd.store import Store


def outlook(planned: Plan, store: Store, guess: Callable[[], Pace | None] = lambda: None) -> str:
    """Return one line: the models to train and the items to score, and the time if it is known.

    The time is that of finished trainings and scores in the same folder; of a folder without any,
    a guess. Timing and judging come on top.

    Args:
        planned: the plan.
        store: the records of the folder.
        guess: returns a pace for work that the records tell nothing of; called where it is needed.
    """
    trainings = [one for one in planned.assignments if one.training is not None]
    open_trainings = [one for one in trainings if one.cell.key not in store]
    open_jobs = [job for job in planned.jobs if job.key not in store]
    scores = {job.answers: job.task for job in planned.jobs}
    open_scores = {job.answers: job.task for job in open_jobs}
    name = planned.suite.name
    if not open_trainings and not open_scores:
        return f"{name}: all is trained and scored; the report is written again"
    lengths = [planned.length(one)[0] for one in open_trainings]
    numbers = [steps for steps in lengths if steps is not None]
    of_steps = f" in {counted(sum(numbers), 'step')}" if len(numbers) == len(lengths) else ""
    told = [f"trains {counted(len(open_trainings), 'model')}{of_steps}"] if lengths else []
    if open_scores:
        told.append(f"scores {_items(planned.suite, open_scores.values())}")
    line = f"{name}: {' and '.join(told)}"
    if len(open_scores) < len(scores) or len(open_trainings) < len(trainings):
        line += "; the rest is done"
    return f"{line}; {_time(Work.of(planned, open_trainings, open_jobs), Rates(store), guess)}"


def _time(work: Work, rates: Rates, guess: Callable[[], Pace | None]) -> str:
    """Return how long the work takes, in words."""
    if (seconds := work.seconds(rates)) is not None:
        return f"about {duration(seconds)} at the speed so far"
    pace = guess()
    if pace is None or (seconds := work.seconds(Fallback(rates, pace))) is None:
        return "how long that takes is told once one of each kind is done"
    return f"roughly {roughly(seconds)}, as this machine's speed lets guess"


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
