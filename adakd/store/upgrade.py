"""Records of earlier schemas -> today's, so that stored runs still load."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from pydantic import ValidationError

from adakd.config import Suite
from adakd.metrics import Display, metric
from adakd.metrics.lm_eval import CHOICE, CHOICE_DISPLAY, lm_eval_display, lm_eval_title
from adakd.planning import PLAIN

_CELLS = ("cell", "candidate", "opponent")
"""Fields of records that hold a cell."""
_OLD_METRIC = "rouge_l"
"""The only metric of generated answers in schema 1."""


def upgraded(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record of schema 1 in the form of schema 2.

    The plain arm was called ``none`` in cells and ``plain`` elsewhere; it is ``plain`` now. The
    judge backend ``in_process`` was called ``decision``. A score had no display and one metric for
    its answers, and a run's cells and tasks were read from its suite. Schema 2 had an object for
    each step of a training, which :class:`~adakd.store.steps.Steps` takes as they are.
    """
    changed: dict[str, Any] = {name: _renamed(record[name]) for name in _CELLS if record.get(name)}
    if record["kind"] == "timing":
        changed["pairs"] = [[_renamed(step) for step in pair] for pair in record["pairs"]]
    if record["kind"] == "judge" and record["backend"] == "decision":
        changed["backend"] = "in_process"
    if record["kind"] == "score":
        shown = asdict(_display(record))
        changed |= {"answers": record["key"], "title": shown["title"], "scale": shown["scale"]}
    if record["kind"] == "run":
        changed |= _planned(record["suite"])
    return {**record, **changed, "schema_version": 2}


def _renamed(of: dict[str, Any]) -> dict[str, Any]:
    return {**of, "arm": PLAIN} if of["arm"] == "none" else of


def _display(score: dict[str, Any]) -> Display:
    if score["sort"] == "choice":
        return CHOICE_DISPLAY
    if score["sort"] == "answers" and score["metric"] in metric:
        return metric.display(score["metric"])
    values = [score["value"], *(item["value"] for item in score["items"])]
    known = (float(value) for value in values if value is not None)
    return lm_eval_display(score["metric"], score.get("higher_is_better", True), known)


def _planned(content: dict[str, Any]) -> dict[str, Any]:
    """Return the cells and tasks of a suite; none where this version cannot read it any more."""
    try:
        suite = Suite.model_validate(content)
    except ValidationError:
        return {}
    return {"cells": list(_cells(suite)), "tasks": list(_tasks(suite))}


def _cells(suite: Suite) -> Iterator[dict[str, Any]]:
    """Yield the cells that a suite asks for, without keys: these hash files that may be gone."""
    for role in ("teacher", "untrained"):
        yield _cell(role, suite.seeds[0])
    if suite.controls.sft:
        yield from (_cell("sft", seed) for seed in suite.seeds)
    for baseline in suite.divergences:
        for arm in (PLAIN, *suite.arms_of(baseline)):
            for seed in suite.seeds:
                yield _cell("distilled", seed, divergence=str(baseline), arm=arm)
        if longer := suite.controls.longer:
            for seed in suite.seeds:
                yield _cell("longer", seed, divergence=str(baseline), longer=longer)


def _cell(role: str, seed: int, **rest: Any) -> dict[str, Any]:
    return {"role": role, "seed": seed, "key": "", **rest}


def _tasks(suite: Suite) -> Iterator[dict[str, Any]]:
    evaluation = suite.evaluation
    for name in evaluation.sets:
        yield _task(name, "answers", _OLD_METRIC, metric.display(_OLD_METRIC))
    for choice in evaluation.choices:
        yield _task(choice.name, "choice", CHOICE, CHOICE_DISPLAY)
    for task in evaluation.tasks:
        name = task.metric or ""
        yield _task(task.name, "task", name, Display(lm_eval_title(name)))


def _task(name: str, sort: str, metric_name: str, shown: Display) -> dict[str, Any]:
    return {"name": name, "sort": sort, "metric": metric_name, **asdict(shown)}
