"""Finds out how a server gives verdicts: its replies tell, not its promises."""

from collections.abc import Sequence
from typing import get_args

import openai

from adakd.judging.backends.openai_calls import Calls
from adakd.judging.backends.openai_client import Decisions
from adakd.judging.backends.openai_settings import Mode, OpenAISettings

_NOT_THERE = {400, 404, 405, 415, 422, 500, 501}
"""How servers refuse what they do not know; all else concerns the server as such."""


async def find_mode(calls: Calls, chat: OpenAISettings, known: str | None) -> Mode:
    """Return the mode to ask in: the one known, or the best that the server shows.

    Args:
        calls: to the server.
        chat: the judge file's settings; a mode that it names is not looked for.
        known: the mode that an earlier session of the same run found.

    Raises:
        JudgeError: the judge cannot be asked; says which field to mend.
    """
    mode = _known(chat.modes, known)
    if mode is not None:
        await calls.check(mode)
        return mode
    for mode in chat.modes:
        if mode != "text" and (shown := await _shown(calls, chat, mode)):
            return shown
    await calls.check("text")
    return "text"


def _known(modes: Sequence[Mode], known: str | None) -> Mode | None:
    """Return the mode that need not be looked for: the only one, or the one found before."""
    if len(modes) == 1:
        return modes[0]
    return next((mode for mode in modes if mode == known), None)


async def _shown(calls: Calls, chat: OpenAISettings, mode: Mode) -> Mode | None:
    """Return the mode that a reply shows; where the server is in trouble, it is waited for."""
    try:
        return await _tried(calls, chat, mode)
    except openai.OpenAIError as error:
        if getattr(error, "status_code", None) in _NOT_THERE:
            return None
    await calls.check("text")
    try:
        return await _tried(calls, chat, mode)
    except openai.OpenAIError:
        return None  # texts are answered, this is not


async def _tried(calls: Calls, chat: OpenAISettings, mode: Mode) -> Mode | None:
    """Ask once: a refusal is an answer, and not worth the patience of a real question."""
    reply = await calls.send(chat.hello(mode), retries=0)
    if calls.read(reply, mode).choice == "failed":
        return None
    if isinstance(reply, Decisions) or chat.reader.likely(reply.choices[0].logprobs):
        return mode
    return _PLAIN[mode]


_PLAIN: dict[Mode, Mode] = {mode: mode for mode in get_args(Mode)} | {
    "json_schema+logprobs": "json_schema",
    "json_object+logprobs": "json_object",
}
"""What is left of a mode where the server ignores the wish for logprobs."""
