"""Messages to people, through apprise to a receiver on this machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.notices import here
from tests.worker.notify.receiver import receiver, respond
from worker.notify.addresses import read_network
from worker.notify.apprise_channel import AppriseChannel, fill, fill_url
from worker.notify.endpoints import AppriseTarget, Reach
from worker.notify.message import Announced, Delivery, Item
from worker.notify.schedule import Outcome

if TYPE_CHECKING:
    from tests.worker.notify.receiver import Request
    from worker.notify.schedule import Attempt

# Of apprise: it looks for a module of old releases of Python.
pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")]

REACH = Reach(5000, (read_network("127.0.0.0/8"),), insecure=True, ca_file=None)
HOSTILE = 'a/b?c=d&e#f@g {tenant} %0d%0a\r\n<b>"'


def delivery(subject: str = "ann", **more: Any) -> Delivery:  # noqa: ANN401 - fields of an announcement
    said = Announced(
        "granted", 1, "id", "acme", "user", subject, "first", title={"de": "Erster", "en": "First"}, **more
    )
    return Delivery("id", "unlock.granted", b"", (Item(said, b"", 0, 1),))


async def sent(target: dict[str, Any], one: Delivery, *, languages: tuple[str, ...] = ()) -> Attempt:
    usual: dict[str, Any] = {"to": None, "resolver": None, "resolver_token": None, "schemes": frozenset({"json"})}
    usual |= {"title": "{title}", "text": "For {subject}: {title}"}
    chosen = AppriseTarget(**(usual | target))

    channel = AppriseChannel(chosen, REACH, languages, here)
    try:
        return await channel.send(one)
    finally:
        await channel.aclose()


async def test_a_text_in_the_language_of_the_endpoint() -> None:
    async with receiver(lambda _: respond(200)) as there:
        to = f"json://127.0.0.1:{there.port}/{{subject}}"
        attempt = await sent({"to": to}, delivery(), languages=("de",))
        (request,) = there.requests
    assert attempt.outcome is Outcome.DELIVERED
    said = json.loads(request.body)
    assert (said["title"], said["message"]) == ("Erster", "For ann: Erster")
    assert request.line == "POST /ann HTTP/1.1"


async def test_a_hostile_subject_stays_one_part_of_the_address() -> None:
    async with receiver(lambda _: respond(200)) as there:
        attempt = await sent({"to": f"json://127.0.0.1:{there.port}/x/{{subject}}/y"}, delivery(HOSTILE))
        (request,) = there.requests
    assert attempt.outcome is Outcome.DELIVERED
    assert request.headers["host"] == f"127.0.0.1:{there.port}"
    assert request.line.startswith("POST /x/")
    assert HOSTILE in json.loads(request.body)["message"]


async def test_a_receiver_that_refuses() -> None:
    async with receiver(lambda _: respond(500)) as there:
        attempt = await sent({"to": f"json://me:sesame@127.0.0.1:{there.port}/"}, delivery())
    assert attempt.outcome is Outcome.FAILED
    assert "sesame" not in attempt.detail
    attempt = await sent({"to": "nonsense"}, delivery())
    assert attempt.detail == "apprise does not know the form of the address"


async def test_the_application_gives_the_addresses() -> None:
    def answer(request: Request) -> bytes:
        if request.line.startswith("GET"):
            return respond(200, json.dumps({"urls": [f"json://127.0.0.1:{there.port}/to/ann"]}).encode())
        return respond(200)

    async with receiver(answer) as there:
        resolver = f"http://app.example:{there.port}/addresses/{{tenant}}/{{subject}}"
        attempt = await sent({"resolver": resolver, "resolver_token": "word"}, delivery("a/b"))
        assert attempt.outcome is Outcome.DELIVERED
        first, second = there.requests
        assert first.line == "GET /addresses/acme/a%2Fb HTTP/1.1"
        assert first.headers["authorization"] == "Bearer word"
        assert second.line == "POST /to/ann HTTP/1.1"


@pytest.mark.parametrize(
    ("answer", "outcome", "said"),
    [
        (respond(404), Outcome.ABORTED, "no address"),
        (respond(200, b'{"urls": []}'), Outcome.ABORTED, "no address"),
        (respond(500), Outcome.FAILED, "resolver: HTTP 500"),
        (respond(302, location="http://x/"), Outcome.FAILED, "resolver: HTTP 302"),
        (respond(200, b"[]"), Outcome.FAILED, "the answer is not"),
        (respond(200, b'{"urls": ["file:///etc/passwd"]}'), Outcome.FAILED, "`schemes` does not name"),
    ],
)
async def test_what_the_application_may_answer(answer: bytes, outcome: Outcome, said: str) -> None:
    async with receiver(lambda _: answer) as there:
        attempt = await sent({"resolver": f"http://app.example:{there.port}/{{subject}}"}, delivery())
    assert attempt.outcome is outcome
    assert said in attempt.detail


def test_templates_are_filled_in_one_pass() -> None:
    words = {"subject": "{tenant}", "tenant": "acme"}
    assert fill("{subject} {tenant} {other} {0} {", words) == "{tenant} acme {other} {0} {"
    assert fill_url("https://h/{subject}", words) == "https://h/%7Btenant%7D"
