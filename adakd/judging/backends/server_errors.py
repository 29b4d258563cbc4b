"""Errors of an OpenAI-compatible server: what went wrong, the field to fix, and what may pass."""

import re

import httpx2
import openai

from adakd.judging.backends.api_key import ApiKey
from adakd.judging.backends.openai_client import UnreadableReply
from adakd.judging.backends.openai_settings import Mode, OpenAISettings

ITEM_ERRORS = {400, 413, 422}
"""Statuses that one long or odd item can cause; all others concern every question."""
_PASSING = {408, 409, 425, 429}
_LASTING = {501, 505}
_UNPAID = re.compile(
    r"insufficient[ _](quota|balance|credits?|funds)|billing_hard_limit|credit balance"
    r"|(out of|no) credits",
    re.IGNORECASE,
)
"""Lack of credit in the words of servers; a plain "quota" may be one of requests per minute."""
_UNKNOWN_FIELD = re.compile("support|unknown|unrecognized|permitted|extra", re.IGNORECASE)
_TOO_MUCH = re.compile(
    "context (length|window|size)|(request|max_tokens|prompt|payload)( is)? too (large|long)"
    "|at most [0-9]+ [a-z]* ?tokens",
    re.IGNORECASE,
)
_STREAM_ONLY = re.compile(
    "only supports? stream|stream (mode )?(is )?(required|only)", re.IGNORECASE
)
_THINKING = re.compile("enable_thinking|reasoning_effort|thinking_budget", re.IGNORECASE)
_NO_ENDPOINT = {405, 406, 411, 415, 501, 505}
"""Statuses of an address that is not one of chat completions."""
_OTHER_LIMIT = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
}
_STREAMED = re.compile(r"\s*(?:data|event|id|retry)?:")
"""The start of server-sent events, a comment among them."""
_ADDRESS = "base_url (start the server, or fix the address)"
_NO_CHAT = "base_url (give the address of chat completions in OpenAI's form, such as .../v1)"


class ServerErrors:
    """Explains the errors of one judge's server in one short line, without the key.

    Args:
        settings: of the judge file.
        key: hidden in every text of the server.
    """

    def __init__(self, settings: OpenAISettings, key: ApiKey) -> None:
        self._settings = settings
        self._key = key

    def may_pass(self, error: openai.OpenAIError) -> bool:
        """Tell whether the same request may succeed later: no refusal, and no lack of credit."""
        if isinstance(error, openai.APIStatusError):
            if _is_unpaid(error):
                return False
            status = error.status_code
            return status in _PASSING or (status >= 500 and status not in _LASTING)
        return True

    def with_field(self, error: openai.OpenAIError, mode: Mode) -> str:
        """Return the explanation behind the field of the judge file that helps."""
        return f"{self._field(error, mode)}: {self.explain(error)}"

    def explain(self, error: openai.OpenAIError) -> str:
        """Describe an error."""
        where, cause = self._settings.base_url, error.__cause__
        if isinstance(error, openai.APITimeoutError):
            return f"{where} did not answer within {self._settings.timeout:g} s"
        if isinstance(error, openai.APIStatusError):
            text = self._short(error.response.text) or error.response.reason_phrase
            if new := error.response.headers.get("location"):
                text = f"moved to {self._short(new)}"
            return f"{where} answers HTTP {error.status_code}: {text}"
        if isinstance(cause, UnreadableReply):
            return f"{where} does not send a verdict but: {self._short(str(cause)) or 'nothing'}"
        if isinstance(cause, httpx2.ConnectError):
            return f"no server answers at {where} ({self._short(str(cause))})"
        return f"the connection to {where} broke ({self._short(str(cause or error))})"

    def _field(self, error: openai.OpenAIError, mode: Mode) -> str:
        """Return the field of the judge file that causes an error, with the fix."""
        if isinstance(error, openai.APITimeoutError):
            return "timeout (raise it, or check the server)"
        if isinstance(error, openai.APIStatusError):
            return self._field_of_status(error, mode)
        cause = error.__cause__
        if isinstance(cause, UnreadableReply) and _STREAMED.match(str(cause)):
            return "base_url (it streams without being asked to: switch that off in the server)"
        return _NO_CHAT if isinstance(cause, UnreadableReply) else _ADDRESS

    def _field_of_status(self, error: openai.APIStatusError, mode: Mode) -> str:
        settings, status = self._settings, error.status_code
        if _is_unpaid(error):
            account = settings.api_key_env or "the server"
            return f"api_key_env (no credit left: top up the account of {account}, then go on)"
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            if settings.api_key_env is None:
                return "api_key_env (name the variable that holds the key)"
            return f"api_key_env (fix the key in {settings.api_key_env})"
        if mode == "decision" and (status == 404 or status in _NO_ENDPOINT):
            return (
                f"mode (no typed decisions there; choose another, or fix model {settings.model!r})"
            )
        if isinstance(error, openai.NotFoundError):
            return f"model ({settings.model!r} is unknown there, or base_url does not end in /v1)"
        if isinstance(error, openai.RateLimitError):
            return "concurrency (lower it, or wait, then run the same command again)"
        if status in ITEM_ERRORS:
            return self._rejected(error.response.text)
        if 300 <= status < 400:
            return "base_url (give the new address)"
        if status in _NO_ENDPOINT:
            return _NO_CHAT
        if status == 407:
            return "base_url (a proxy in between wants a password: see HTTPS_PROXY, NO_PROXY)"
        if self.may_pass(error):
            return "base_url (the server is in trouble: see its log, or run the same command later)"
        return _ADDRESS

    def _rejected(self, text: str) -> str:
        """Return the field that a server's refusal of a request speaks of."""
        settings = self._settings
        other = _OTHER_LIMIT[settings.limit_field]
        speaks_of_limit = re.search(rf"\b{settings.limit_field}\b", text)
        if _TOO_MUCH.search(text):
            return "max_tokens (lower it, or raise the context length of the server)"
        if re.search(rf"\b{other}\b", text):
            return f"limit_field (set it to {other})"
        if speaks_of_limit and _UNKNOWN_FIELD.search(text):
            return f"limit_field (set it to {other})"
        if speaks_of_limit:
            return "max_tokens (lower it, or raise the context length of the server)"
        if settings.temperature is not None and "temperature" in text:
            return "temperature (set it to null: the model takes none, or not this one)"
        if settings.mode != "text" and re.search("response_format|logprobs|json_schema", text):
            return "mode (choose another, such as text)"
        for name in settings.extra or {}:
            if name in text:
                return f"extra (take {name!r} out)"
        if thinking := _THINKING.search(text):
            return f"extra (set {thinking[0]!r} there as the server says)"
        if _STREAM_ONLY.search(text):
            return f"model ({settings.model!r} only streams, which no judge reads: take another)"
        return f"model ({settings.model!r}, or another setting that the server rejects)"

    def _short(self, text: str) -> str:
        return " ".join(self._key.hidden(text).split())[:300]


def _is_unpaid(error: openai.APIStatusError) -> bool:
    """Tell whether a refusal is for lack of credit, which no waiting brings back."""
    status = error.status_code
    return status == 402 or (status in (403, 429) and bool(_UNPAID.search(error.response.text)))
