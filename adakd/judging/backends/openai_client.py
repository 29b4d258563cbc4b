"""The HTTP client of a chat judge; imported when a judging starts, since openai takes a second."""

import asyncio
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpx2
import openai
from pydantic import AliasChoices, BaseModel, Field, ValidationError

from adakd.judging.backends.openai_settings import OpenAISettings

_CONNECT = 10.0
_CONNECTIONS = 100
"""As many as the transport allows by itself."""


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class CompletionChoice(BaseModel):
    """The one text of a completion."""

    message: _Message
    finish_reason: str | None = None
    logprobs: Any = None


class Usage(BaseModel):
    """Tokens, as chat completions and as typed decisions call them."""

    prompt: int | None = Field(None, validation_alias=AliasChoices("prompt_tokens", "input_tokens"))
    completion: int | None = Field(
        None, validation_alias=AliasChoices("completion_tokens", "output_tokens")
    )


class Completion(BaseModel):
    """What is read of a chat completion; our own model, since the client's checks nothing."""

    choices: list[CompletionChoice] = Field(min_length=1)
    usage: Usage | None = None


class Decisions(BaseModel):
    """What is read of the reply to typed questions."""

    answers: dict[str, Any]
    usage: Usage | None = None


class Unreadable(httpx2.RemoteProtocolError):
    """A reply that is neither: an error page, broken JSON; its message is that text."""


class Service(openai.AsyncOpenAI):
    """Sends what a judge needs and no more.

    The many headers by default tell of this machine and of its user's account, and copying them
    from layer to layer takes a fifth of a request's time.
    """

    @property
    def default_headers(self) -> dict[str, str | openai.Omit]:
        """Return the headers of every request."""
        json = "application/json"
        return {"Accept": json, "Content-Type": json, "User-Agent": "adakd", **self.auth_headers}


class Transport(httpx2.AsyncClient):
    """What carries the service's requests: aiohttp, which takes half of httpx's time for one.

    A try ends in time however slowly its reply drips, and a reply that cannot be read counts as
    a broken connection, so that the service tries again as it does after any lost one.
    """

    def __init__(self, chat: OpenAISettings) -> None:
        self._deadline = chat.timeout
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),  # as many as there are calls under way
            timeout=aiohttp.ClientTimeout(sock_connect=min(chat.timeout, _CONNECT)),
            cookie_jar=aiohttp.DummyCookieJar(),
            # a proxy set for the outside world cannot reach a server on this machine
            trust_env=not _on_this_machine(chat),
        )
        self._urls: dict[str, httpx2.URL] = {}
        super().__init__(base_url=chat.base_url)

    def build_request(self, method: str, url: Any, **parts: Any) -> httpx2.Request:
        """Return a request of what the service gives: this client adds nothing of its own."""
        if url not in self._urls:
            self._urls[url] = httpx2.URL(url)
        return httpx2.Request(
            method, self._urls[url], headers=parts["headers"], content=parts.get("content")
        )

    async def send(self, request: httpx2.Request, **_: Any) -> httpx2.Response:
        """Return a response with all of its body; that of a good one is read already."""
        try:
            async with (
                asyncio.timeout(self._deadline),
                self._session.request(
                    request.method,
                    str(request.url),
                    headers=request.headers,
                    data=request.content,
                    allow_redirects=False,
                ) as answer,
            ):
                content = await answer.read()
        except TimeoutError:
            raise httpx2.ReadTimeout("the reply went on", request=request) from None
        except aiohttp.ClientConnectorError as error:
            raise httpx2.ConnectError(str(error), request=request) from None
        except (aiohttp.ClientError, OSError) as error:
            raise httpx2.RemoteProtocolError(str(error), request=request) from None
        response = httpx2.Response(
            answer.status, headers=answer.headers, content=content, request=request
        )
        if response.is_success:
            response.extensions["reply"] = _reply(response)
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._session.close()
        await super().aclose()


def _reply(response: httpx2.Response) -> Completion | Decisions:
    kind: type[Completion | Decisions] = Completion
    if response.request.url.path.endswith("/systemone"):
        kind = Decisions
    try:
        return kind.model_validate_json(response.content)
    except ValidationError:
        text = response.content.decode(errors="replace")
        raise Unreadable(text, request=response.request) from None


def _on_this_machine(chat: OpenAISettings) -> bool:
    host = urlsplit(chat.base_url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
