"""What a hostile caller tries: no credential, forged ones, those of others; and what all answers may never say."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from hmac import digest
from time import time
from typing import TYPE_CHECKING, Any

import anyio
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey

from tests.integration.engine import event
from tests.integration.pipelines import pipeline_on, send
from tests.integration.serving import (
    KEYS,
    PRIVATE,
    SECRETS,
    by_key,
    by_token,
    connected,
    live,
    public_pem,
    serving,
    until,
)
from tests.integration.test_serve import RULES, SECRET, USER
from worker.serve.access import hash_of
from worker.serve.operations import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from tests.integration.engine import Engine

pytestmark = pytest.mark.anyio

PATHS = [
    f"{USER}/achievements",
    f"{USER}/achievements/first/why",
    f"{USER}/live",
    "/v1/tenants/t1/subjects/user/u1/achievements",
    "/v1/tenants/t1/subjects/user/u1/achievements/first/why",
    "/v1/tenants/t1/subjects/user/u1/live",
    "/v1/tenants/t1/catalogue",
    "/v1/tenants/t1/unlocks",
]
CLOSED = [one for one in OPERATIONS if not one.is_open]


@pytest.fixture
async def engine_of(engine: Engine) -> Engine:
    await engine.apply(RULES)
    await engine.backfill()
    async with pipeline_on(engine) as pipeline:
        found = [event(n, user=user, tenant=tenant, team="red") for n in range(2) for tenant, user in PEOPLE]
        assert await send(pipeline, *found) == []
    return engine


PEOPLE = [("t1", "u1"), ("t1", "rival"), ("t2", "foreigner"), ("t2", "u1")]


def claims(**changes: object) -> dict[str, Any]:
    now = int(time())
    given = {"aud": "ach", "iss": "ach", "tenant": "t1", "sub": "u1", "iat": now, "exp": now + 60, **changes}
    return {name: value for name, value in given.items() if value is not None}


def signed(secret: str = SECRETS["t1"], algorithm: str = "HS256", **changes: object) -> str:
    return jwt.encode(claims(**changes), secret, algorithm)  # pyright: ignore[reportUnknownMemberType]


def by_application(tenant: str = "t1", kid: str | None = "now", **changes: object) -> str:
    head = {} if kid is None else {"kid": kid}
    return jwt.encode(  # pyright: ignore[reportUnknownMemberType]
        claims(**changes), PRIVATE[tenant], "EdDSA", headers=head
    )


def confused(key: bytes, **head: object) -> str:
    """Return a token with a signature by HMAC, whatever the library thinks of such a key."""
    said = f"{segment({'alg': 'HS256', **head})}.{segment(claims())}"
    return f"{said}.{urlsafe_b64encode(digest(key, said.encode(), 'sha256')).decode().rstrip('=')}"


def segment(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def unsigned(algorithm: str) -> str:
    return f"{segment({'alg': algorithm, 'typ': 'JWT'})}.{segment(claims())}."


def curve(name: str) -> str:
    """Return a token that a key of Ed448 has signed."""
    said = f"{segment({'alg': name, 'kid': 'now'})}.{segment(claims())}"
    signature = Ed448PrivateKey.generate().sign(said.encode())
    return f"{said}.{urlsafe_b64encode(signature).decode().rstrip('=')}"


def bad() -> Iterator[tuple[str, str]]:
    now = int(time())
    good = signed()
    yield "an unknown key", "ach_" + "x" * 43
    yield "the hash of a key", hash_of(KEYS["t1"])
    yield "another letter's case", KEYS["t1"].swapcase()
    yield "no algorithm", unsigned("none")
    yield "no algorithm, in capitals", unsigned("NONE")
    yield "another algorithm", signed(algorithm="HS512")
    yield "another tenant's secret", signed(SECRETS["t2"])
    pem = public_pem(PRIVATE["t1"])
    raw = PRIVATE["t1"].public_key().public_bytes_raw()
    for key in (pem, pem.strip(), "".join(pem.split())):
        yield "a public key as the secret", confused(key.encode())
        yield "a public key as the secret, with its id", confused(key.encode(), kid="now")
    for key in (raw, urlsafe_b64encode(raw), urlsafe_b64encode(raw).rstrip(b"=")):
        yield "the bytes of a public key as the secret", confused(key, kid="now")
    yield "an application's, of an unknown id", by_application(kid="other")
    yield "an application's, of an empty id", by_application(kid="")
    yield "another tenant's application", by_application("t2")
    yield "another tenant's application, without an id", by_application("t2", None)
    yield "an application's, with a cut signature", by_application()[:-4]
    yield "no algorithm, with an id", f"{segment({'alg': 'none', 'kid': 'now'})}.{segment(claims())}."
    yield "an application's, of another curve", curve("EdDSA")
    yield "an application's, by another name", curve("Ed448")
    yield "an application's, that has expired", by_application(iat=now - 120, exp=now - 60)
    yield "an id that is no text", f"{segment({'alg': 'EdDSA', 'kid': 1})}.{segment(claims())}.x"
    yield "an empty secret", f"{segment({'alg': 'HS256'})}.{segment(claims())}.{segment('')}"
    yield "another payload", ".".join([good.split(".")[0], segment(claims(sub="rival")), good.split(".")[2]])
    yield "a cut signature", good[:-4]
    yield "expired", signed(iat=now - 120, exp=now - 60)
    yield "not valid yet", signed(iat=now + 600, exp=now + 660)
    yield "longer than an hour", signed(exp=now + 3700)
    yield "longer than an hour, signed long ago", signed(iat=now - 7200, exp=now + 60)
    yield "for ever", signed(exp=None)
    yield "without a beginning", signed(iat=None)
    yield "another audience", signed(aud="other")
    yield "one audience of several", signed(aud=["ach", "other"])
    yield "another issuer", signed(iss="other")
    yield "no subject", signed(sub=None)
    yield "an empty subject", signed(sub="")
    yield "a tenant that is unknown", signed(tenant="unknown")
    yield "no tenant", signed(tenant=None)
    yield "an end beyond all numbers", signed(exp=1e300)
    yield "a deep payload", f"{segment({'alg': 'HS256'})}.{urlsafe_b64encode(b'[' * 2000).decode()}.x"
    yield "too long", "x" * 5000 + ".y.z"
    yield "three dots", "..."
    yield "two dots", ".."


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_without_a_good_credential_nothing_is_said(engine_of: Engine) -> None:
    async with serving(engine_of.settings) as client:
        for path in PATHS:
            response = await client.get(path)
            assert (response.status_code, "Bearer" in response.headers["www-authenticate"]) == (401, True), path
        for what, credential in bad():
            response = await client.get(f"{USER}/achievements", headers={"Authorization": f"Bearer {credential}"})
            assert response.status_code == 401, what
            assert credential not in response.text, what
        for header in (f"Basic {KEYS['t1']}", KEYS["t1"], "Bearer", "Token x"):
            response = await client.get(f"{USER}/achievements", headers={"Authorization": header})
            assert response.status_code == 401, header
        for good in (signed(), KEYS["t1"], by_application(), by_application(kid=None)):
            response = await client.get(f"{USER}/achievements", headers={"Authorization": f"bearer {good}"})
            assert response.status_code == 200


async def test_a_credential_in_the_query_is_refused(engine_of: Engine) -> None:
    async with serving(engine_of.settings) as client:
        for name in ("token", "access_token", "Authorization", "key", "jwt"):
            response = await client.get(f"{USER}/achievements?{name}={signed()}", headers=by_token())
            assert response.status_code == 400
            assert "Authorization: Bearer" in response.json()["hint"]
            assert signed().split(".")[1] not in response.text


async def test_others_are_refused_before_anything_is_read(engine_of: Engine) -> None:
    async with serving(engine_of.settings) as client:
        answers: set[bytes] = set()
        foreign = [
            *(path.replace("/t1/", f"/{tenant}/") for path in PATHS for tenant in ("t2", "unknown")),
            *(path.replace("u1", user) for path in PATHS if "u1" in path for user in ("rival", "unknown")),
            "/v1/tenants/t1/subjects/team/red/achievements",
            "/v1/tenants/t1/subjects/team/u1/live",
            "/v1/tenants/t1/subjects/planet/u1/achievements",
        ]
        for path in foreign:
            response = await client.get(path, headers=by_token())
            assert response.status_code == 403, path
            answers.add(response.content)
        assert len(answers) == 1  # what exists, and what does not, have the same answer
        assert (await client.get("/v1/tenants/t1/unlocks", headers=by_token())).status_code == 403
        for path in PATHS:
            response = await client.get(path.replace("/t1/", "/t2/"), headers=by_key("t1"))
            assert (response.status_code, response.content) == (403, next(iter(answers)))
        # A token is for its one subject in its one scope.
        team = by_token("red", scope="team")
        assert (await client.get("/v1/tenants/t1/subjects/team/red/achievements", headers=team)).status_code == 200
        assert (await client.get("/v1/tenants/t1/users/red/achievements", headers=team)).status_code == 403


async def test_no_answer_says_what_is_hidden_or_another_s(engine_of: Engine) -> None:
    """All routes, all subjects: the bytes."""
    async with serving(engine_of.settings) as client:
        bodies: list[httpx.Response] = []
        for one in CLOSED:
            if one.name.endswith("live"):
                continue
            for achievement in ("first", "far", "hush", "lured", "nothing"):
                path = one.path.format(tenant="t1", user="u1", scope="team", subject="red", achievement=achievement)
                bodies.extend([await client.get(f"{path}?lang={lang}", headers=by_key()) for lang in ("de", "en")])
        assert {one.status_code for one in bodies} == {200, 404}
        for response in bodies:
            text = response.text.replace("/hush/", "")
            assert not [word for word in SECRET if word in text], (response.url, text)
            assert "foreigner" not in text
            assert "t2" not in text
        hidden = await client.get(f"{USER}/achievements/hush/why", headers=by_token())
        unknown = await client.get(f"{USER}/achievements/nothing/why", headers=by_token())
        assert (hidden.status_code, hidden.content) == (404, unknown.content)


async def test_live_events_are_those_of_the_subject_alone(engine_of: Engine) -> None:
    """A team, and a user of another tenant, have the same name; one is granted what is hidden from the other."""
    async with serving(engine_of.settings) as client, engine_of.worker():
        await connected(client)
        async with live(client, f"{USER}/live", by_token()) as events:
            await until(events, "ready")
            await engine_of.publish([event(7, user="rival", team="u1"), event(7, tenant="t2", team="u1")])
            await engine_of.publish([event(8, user="rival", team="u1"), event(8, tenant="t2")])
            await engine_of.publish([event(9, "b.done", user="u1")])
            await engine_of.publish([event(10)])
            said = json.loads((await until(events, "unlock")).data)
            assert said["achievement"] in {"hush", "lured"}
            assert said["unlock_id"] in await unlock_ids(engine_of, "u1", "user")


async def unlock_ids(engine: Engine, subject: str, scope: str) -> set[str]:
    query = "SELECT unlock_id FROM unlock WHERE tenant_id = 't1' AND subject = $1 AND scope = $2"
    return {str(row["unlock_id"]) for row in await engine.rows(query, subject, scope)}


async def test_the_log_has_no_credential_and_no_user(engine_of: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    token = signed()
    async with serving(engine_of.settings) as client:
        await client.get(f"{USER}/achievements?lang=de", headers={"Authorization": f"Bearer {token}"})
        await client.get(f"{USER}/achievements", headers=by_key())
        await client.get(f"{USER}/achievements?token={token}")
    out, err = capsys.readouterr()
    for text in (token, KEYS["t1"], SECRETS["t1"], "u1"):
        assert text not in (out + err).replace("subject=", "")


async def test_clients_that_send_slowly_or_too_much_are_bounded(
    engine_of: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.serve.http.HEAD_SECONDS", 0.3)
    async with serving(engine_of.settings) as client:
        host, port = client.base_url.host, client.base_url.port or 0
        for begin in (b"", b"GET /v1/health HTTP/1.1\r\nHost: x\r\n"):
            async with await anyio.connect_tcp(host, port) as stream:
                if begin:
                    await stream.send(begin)
                with anyio.fail_after(10), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                    await stream.receive()
        response = await client.get("/v1/health", headers={"X-Long": "x" * 20_000})
        assert response.status_code == 400
        response = await client.get("/v1/health?" + "x" * 9000)
        assert response.status_code == 400
