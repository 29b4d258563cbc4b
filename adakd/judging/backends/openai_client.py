"""The HTTP client of an OpenAI-compatible judge.

Imported only when a judging starts, since importing openai takes a second. The client is openai's
own on aiohttp. Its default, on httpx, takes 1.4 to 2.0 ms of CPU per call, where 1 ms is what keeps
64 concurrent calls of 50 ms each within 1.3 times their ideal time; on aiohttp a call takes 0.8 to
1.2 ms. ``tests/bench/test_judging.py`` measured 1.20, 1.26 and 1.32 times the ideal on two quiet
cores; a transport of our own on a bare aiohttp session took 1.17, 1.17 and 1.24, which is not worth
its code.
"""

import asyncio
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpx2
import openai

from adakd.judging.backends.openai_replies import (
    Completion,
    Decisions,
    error_status,
    read_reply,
)
from adakd.judging.backends.openai_settings import OpenAISettings

_CONNECT = 10.0
"""Seconds to connect, at most."""


class UnreadableReply(httpx2.RemoteProtocolError):
    """A successful response that is neither: an error page or broken JSON; holds its text."""


class JudgeClient(openai.AsyncOpenAI):
    """openai's client with only the headers that a judge needs.

    The default headers describe this machine and the user's account.
    """

    @property
    def default_headers(self) -> dict[str, str | openai.Omit]:
        """Return the headers of every request."""
        json = "application/json"
        return {"Accept": json, "Content-Type": json, "User-Agent": "adakd", **self.auth_headers}


class HttpClient(openai.DefaultAioHttpClient):
    """openai's aiohttp client with a deadline for each attempt, which parses replies on arrival.

    An attempt ends at the deadline even if its reply keeps trickling in. A reply that cannot be
    parsed counts as a broken connection, so that openai's client tries again.
    """

    def __init__(self, settings: OpenAISettings) -> None:
        self._deadline = settings.timeout
        super().__init__(
            timeout=httpx2.Timeout(settings.timeout, connect=min(settings.timeout, _CONNECT)),
            limits=httpx2.Limits(max_connections=settings.concurrency),
            follow_redirects=False,  # a redirect could send the key elsewhere
            # a proxy for the outside world cannot reach a server on this machine
            trust_env=not _is_loopback(settings.base_url),
        )

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send a request and read the whole response; a success has its parsed ``reply``."""
        try:
            async with asyncio.timeout(self._deadline):
                response = await super().send(request, **options)
        except TimeoutError:
            raise httpx2.ReadTimeout("no reply before the deadline", request=request) from None
        except (httpx2.ConnectTimeout, aiohttp.ClientError, OSError) as error:
            raise _connection_error(error, request) from None
        if response.is_success and (status := error_status(response.text)):
            response.status_code = status  # openai's client then handles it as what it is
        elif response.is_success:
            response.extensions["reply"] = _parse(response)
        return response


def _connection_error(error: Exception, request: httpx2.Request) -> Exception:
    """Name a lost connection as such: openai's transport reports some as timeouts."""
    cause = error.__cause__ if isinstance(error, httpx2.ConnectTimeout) else error
    if isinstance(cause, TimeoutError):
        return error
    if isinstance(cause, aiohttp.ClientConnectorError):
        return httpx2.ConnectError(str(cause), request=request)
    return httpx2.RemoteProtocolError(str(cause), request=request)


def _parse(response: httpx2.Response) -> Completion | Decisions:
    reply: Completion | Decisions | None
    if response.request.url.path.endswith("/systemone"):
        reply = read_reply(response.content, response.text, Decisions)
    else:
        reply = read_reply(response.content, response.text, Completion)
    if reply is None:
        raise UnreadableReply(response.text, request=response.request)
    return reply


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
