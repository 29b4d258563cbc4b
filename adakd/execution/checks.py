"""Checks of a suite before any training, so that no setting fails hours later."""

from typing import Any

from adakd.config import Elsewhere, Pretrained, Pruned
from adakd.config.scoring import Server
from adakd.errors import AdakdError
from adakd.evaluation.serving import check_server
from adakd.models import loading
from adakd.models.decoding import check_pages
from adakd.models.outline import outline, pruned_outline
from adakd.planning import Plan
from adakd.training.context import RunContext
from adakd.training.loggers import check_loggers


def check_models(plan: Plan, context: RunContext) -> None:
    """Build teacher and student without weights, and check the settings that name their parts.

    Raises:
        AdakdError: a model cannot be built, or has no such layer or module.
    """
    suite = plan.suite
    for number, one in enumerate(suite.students):
        _check_elsewhere(one, number, context)
    sft, training = suite.teacher.sft, suite.training
    check_loggers("training", training)
    for crossing in context.crossings.values():
        crossing.check(context.encoded.examples)
    if sft is not None:
        check_loggers("teacher.sft", sft)
    teacher = outline(suite.teacher.base, context.teacher_tokenizer)
    base = suite.student
    if isinstance(base, Pruned):
        student = pruned_outline(teacher, base)
    else:
        if isinstance(base, Pretrained) and not suite.crosses:
            loading.check_same_tokenizer(loading.load_tokenizer(base), context.tokenizer)
        student = outline(base, context.tokenizer)
    if isinstance(suite.evaluation.engine, Server):
        check_server(suite.evaluation.engine)
    elif suite.evaluation.engine == "continuous":
        for model in (teacher, student):
            if model is not None:
                check_pages(model)
    if sft is not None and sft.lora is not None and teacher is not None:
        loading.with_adapters(teacher, sft.lora, seed=0, field="teacher.sft.lora")
    trained: Any = student
    if training.lora is not None and student is not None:
        trained = loading.with_adapters(student, training.lora, seed=0)
    diagnostics = suite.diagnostics
    if diagnostics.every and diagnostics.layer is not None and trained is not None:
        loading.trained_layer(trained, diagnostics.layer)


def _check_elsewhere(one: Elsewhere, number: int, context: RunContext) -> None:
    """Check that a student trained elsewhere can be loaded and reads the teacher's tokens.

    Raises:
        AdakdError: it cannot, or it does not; the message names the entry of the suite.
    """
    try:
        loading.check_folder(one.base)
        tokenizer = loading.load_tokenizer(one.base)
        loading.check_same_tokenizer(tokenizer, context.tokenizer)
        loading.check_same_end(tokenizer, context.tokenizer)
        loading.base_config(one.base)  # adapters: that of the model below
        outline(one.base, context.tokenizer)
    except AdakdError as error:
        raise AdakdError(f"students.{number} ({one.name}): {error}") from None
