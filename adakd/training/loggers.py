"""The loggers of a training, checked before it."""

from transformers.integrations import integration_utils

from adakd.config import Training
from adakd.errors import AdakdError, one_line

SWITCHES = (["all"], ["none"])
"""Values of ``report_to`` that name no logger."""


def check_loggers(section: str, training: Training) -> None:
    """Start every logger of a training once, as transformers' Trainer will.

    Args:
        section: the section of the suite, such as ``teacher.sft``.
        training: its settings.

    Raises:
        AdakdError: a logger is unknown, or its package is missing.
    """
    names = list(training.report_to)
    if names in SWITCHES:
        return
    for name in names:
        try:
            callbacks = integration_utils.get_reporting_integration_callbacks([name])  # type: ignore[no-untyped-call]
            for callback in callbacks:
                callback()
        except Exception as error:  # each logger has exceptions of its own
            raise AdakdError(
                f"{section}.report_to: {name!r} cannot be used ({one_line(error)}); install its "
                "package, or leave it out"
            ) from None
