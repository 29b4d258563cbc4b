"""Find the best mode that a server supports, from its replies and not its documentation."""

from collections.abc import Sequence
from typing import get_args

import openai

from adakd.judging.backends.openai_calls import Calls
from adakd.judging.backends.openai_replies import Decisions
from adakd.judging.backends.openai_settings import Mode, OpenAISettings

_UNSUPPORTED = {400, 404, 405, 415, 422, 500, 501}
"""Statuses of unknown features; all others concern the server as a whole."""


async def find_mode(calls: Calls, settings: OpenAISettings, known: str | None) -> Mode:
    """Return the known mode, or the best one that the server supports.

    Args:
        calls: to the server.
        settings: of the judge file; a mode set there is not searched for.
        known: the mode found by an earlier session of the same run.

    Raises:
        JudgeError: the judge cannot be asked; names the field to fix.
    """
    mode = _known(settings.modes, known)
    if mode is not None:
        await calls.check(mode)
        return mode
    for mode in settings.modes:
        if mode != "text" and (found := await _supported(calls, settings, mode)):
            return found
    await calls.check("text")
    return "text"


def _known(modes: Sequence[Mode], known: str | None) -> Mode | None:
    """Return the mode that needs no search: the only one, or the one found before."""
    if len(modes) == 1:
        return modes[0]
    return next((mode for mode in modes if mode == known), None)


async def _supported(calls: Calls, settings: OpenAISettings, mode: Mode) -> Mode | None:
    """Return the mode that a reply proves; wait for the server if it is in trouble."""
    try:
        return await _attempt(calls, settings, mode)
    except openai.OpenAIError as error:
        if getattr(error, "status_code", None) in _UNSUPPORTED:
            return None
    await calls.check("text")
    try:
        return await _attempt(calls, settings, mode)
    except openai.OpenAIError:
        return None  # it answers text requests, but not this


async def _attempt(calls: Calls, settings: OpenAISettings, mode: Mode) -> Mode | None:
    """Ask once, without retries: a refusal is an answer too."""
    reply = await calls.send(settings.hello(mode), retries=0)
    if calls.read(reply, mode).choice == "failed":
        return None
    if isinstance(reply, Decisions):
        return mode
    choice = reply.choices[0]
    if not settings.reader.follows_schema(choice.message.content or ""):
        return None
    return mode if settings.reader.likely(choice.logprobs) else _WITHOUT_LOGPROBS[mode]


_WITHOUT_LOGPROBS: dict[Mode, Mode] = {mode: mode for mode in get_args(Mode)} | {
    "json_schema+logprobs": "json_schema",
    "json_object+logprobs": "json_object",
}
"""The mode that remains if the server ignores the request for logprobs."""
