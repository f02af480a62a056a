"""Messages to people by way of apprise: e-mail, chat, push. The only module that knows apprise.

The engine knows no addresses. They come from a template of the operator, or from a resolver: a URL of the application
that answers with the addresses of a subject. What a text or an address takes from an announcement cannot become a part
of its form: it is percent-encoded in URLs, and put into texts in one pass.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import anyio
import anyio.to_thread
import apprise
import msgspec

from worker.notify.http_client import AddressRefusedError, Requester, RequestError
from worker.notify.message import title_of
from worker.notify.schedule import SECOND, Attempt, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.contract.trace import Trace
    from worker.notify.endpoints import AppriseTarget, Reach
    from worker.notify.http_client import Resolve
    from worker.notify.message import Announced, Delivery

MOST_ADDRESSES: Final = 20
"""Of one subject."""
MOST_THREADS: Final = 64
_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")
_FOUND: Final = 200
_NO_SUCH: Final = frozenset({204, 404, 410})
"""What a resolver answers about a subject that gets no messages."""


class _Addresses(msgspec.Struct):
    urls: list[str]


class AppriseChannel:
    """Texts to the addresses of the subject of an announcement."""

    def __init__(
        self, target: AppriseTarget, reach: Reach, languages: Sequence[str] | None, resolver: Resolve | None = None
    ) -> None:
        """Make one.

        Raises:
            OSError: as `Requester` does.
        """
        # It imports a hundred modules at its first use, which would take the time of the first delivery.
        library: Any = apprise.Apprise
        library.instantiate("json://localhost")
        self._target = target
        self._languages = languages
        # Of its own, so that a silent server of one endpoint does not take the threads of others.
        self._threads = anyio.CapacityLimiter(MOST_THREADS)
        self._seconds = reach.timeout / SECOND
        self._requester = Requester(reach, resolver)

    async def send(self, delivery: Delivery, trace: Trace | None = None) -> Attempt:
        """Make one attempt; return what became of it. Messages to people have no room for a trace."""
        del trace
        said = delivery.items[0].announced
        words = template_words(said, self._languages)
        try:
            addresses = await self._addresses(words)
        except AddressRefusedError as error:
            return Attempt(Outcome.REFUSED, detail=f"resolver: {error}")
        except RequestError as error:
            return Attempt(Outcome.FAILED, detail=f"resolver: {error}")
        if not addresses:
            return Attempt(Outcome.ABORTED, detail="the resolver gives no address")
        title, text = fill(self._target.title, words), fill(self._target.text, words)
        try:
            with anyio.fail_after(self._seconds):
                # A thread cannot be stopped: the attempt ends in time, and the thread when the library gives up.
                return await anyio.to_thread.run_sync(
                    _notify, addresses, title, text, abandon_on_cancel=True, limiter=self._threads
                )
        except TimeoutError:
            return Attempt(Outcome.FAILED, detail=f"not sent within {self._seconds:g} s")

    async def _addresses(self, words: Mapping[str, str]) -> list[str]:
        if self._target.to is not None:
            return [fill_url(self._target.to, words)]
        headers = {"accept": "application/json"}
        if self._target.resolver_token is not None:
            headers["authorization"] = f"Bearer {self._target.resolver_token}"
        response = await self._requester.request("GET", fill_url(self._target.resolver or "", words), headers)
        if response.status in _NO_SUCH:
            return []
        if response.status != _FOUND:
            raise RequestError(f"HTTP {response.status}")
        try:
            found = msgspec.json.decode(response.body, type=_Addresses).urls
        except msgspec.DecodeError:
            raise RequestError('the answer is not {"urls": ["..."]}') from None
        if any(url.partition("://")[0] not in self._target.schemes for url in found):
            raise RequestError("the answer has an address of a scheme that `schemes` does not name")
        return found[:MOST_ADDRESSES]

    async def aclose(self) -> None:
        """Close connections."""
        await self._requester.aclose()


def template_words(said: Announced, languages: Sequence[str] | None) -> dict[str, str]:
    """Return what templates may use."""
    return {
        "tenant": said.tenant_id,
        "scope": said.scope,
        "subject": said.subject,
        "achievement": said.achievement,
        "tier": said.tier or "",
        "occurrence": said.occurrence or "",
        "title": title_of(said, languages),
        "about": said.about or "",
        "kind": said.kind,
        "unlock_id": said.unlock_id,
    }


def fill(template: str, words: Mapping[str, str]) -> str:
    """Return a template with its placeholders filled in; what is no placeholder stays as it is."""
    return _PLACEHOLDER.sub(lambda found: words.get(found[1], found[0]), template)


def fill_url(template: str, words: Mapping[str, str]) -> str:
    """The same for a URL: every character that has a meaning there is encoded."""
    return fill(template, {name: quote(value, safe="") for name, value in words.items()})


def _notify(addresses: Sequence[str], title: str, text: str) -> Attempt:
    sender: Any = apprise.Apprise(asset=apprise.AppriseAsset(async_mode=False, secure_logging=True))
    for address in addresses:
        if not sender.add(address):
            return Attempt(Outcome.FAILED, detail="apprise does not know the form of the address")
    sent = sender.notify(body=text, title=title, body_format=apprise.NotifyFormat.TEXT)
    return Attempt(Outcome.DELIVERED) if sent else Attempt(Outcome.FAILED, detail="apprise could not send it")
