from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from worker.notify.endpoints import AppriseTarget, EndpointsError, Kind, WebhookTarget, read_endpoints
from worker.notify.schedule import DAY, HOUR, SECOND, SVIX

if TYPE_CHECKING:
    from pathlib import Path

    from worker.notify.endpoints import Endpoint

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # of the examples of Standard Webhooks
ENVIRONMENT = {"ONE": SECRET, "TWO": f"{SECRET}\n", "BAD": "whsec_c2VjcmV0LXRoYXQtaXMtc2hvcnQ=", "EMPTY": "  "}
LEAST = '[endpoint.app]\nurl = "https://app.example/hook"\nsecret = { env = "ONE" }\n'


def read(folder: Path, text: str) -> tuple[Endpoint, ...]:
    path = folder / "notify.toml"
    path.write_text(text, encoding="utf-8")
    return read_endpoints(path, ENVIRONMENT)


def test_the_least_that_an_endpoint_says(tmp_path: Path) -> None:
    (one,) = read(tmp_path, LEAST)
    assert one.name == "app"
    assert isinstance(one.target, WebhookTarget)
    assert one.wanted.origins == {"live", "settled", "by_hand"}
    assert one.wanted.kinds == {*Kind}
    assert one.wanted.tenants is one.wanted.achievements is None
    assert (one.schedule, one.disable_after, one.reach.timeout) == (SVIX, 5 * DAY, 15 * SECOND)
    assert not one.reach.insecure
    assert not one.reach.networks
    assert one.digest == 0


def test_all_that_an_endpoint_may_say(tmp_path: Path) -> None:
    (tmp_path / "old").write_text(f"{SECRET}\n")
    (one,) = read(
        tmp_path,
        """
        [endpoint.app-2]
        type = "webhook"
        url = "http://10.1.2.3:8080/hook"
        secrets = [{ env = "TWO" }, { file = "old" }]
        tenants = ["acme"]
        achievements = ["first", "streak.gold"]
        kinds = ["granted", "revoked"]
        origins = ["live", "backfill", "by_hand"]
        languages = ["de", "en"]
        digest = { wait = "30s", group = "user" }
        schedule = ["250ms", "2h"]
        disable_after = "1d"
        timeout = "3s"
        concurrency = 2
        allow_networks = ["10.1.0.0/16"]
        insecure = true
        """,
    )
    assert isinstance(one.target, WebhookTarget)
    assert len(one.target.keys) == 2
    assert one.schedule == (250, 2 * HOUR)
    assert one.digest == 30 * SECOND
    assert one.languages == ("de", "en")
    assert one.wanted.origins == {"live", "backfill", "by_hand"}
    assert SECRET not in repr(one)
    assert "10.1.2.3" not in repr(one)


def test_apprise(tmp_path: Path) -> None:
    (tmp_path / "to").write_text("mailtos://me:pass@mail.example?to={subject}@corp.example")
    one, two = read(
        tmp_path,
        """
        [endpoint.mail]
        type = "apprise"
        to = { file = "to" }
        [endpoint.push]
        type = "apprise"
        resolver = "https://app.example/addresses/{tenant}/{subject}"
        resolver_token = { env = "ONE" }
        schemes = ["mailtos"]
        """,
    )
    assert isinstance(one.target, AppriseTarget)
    assert one.wanted.kinds == {"granted"}
    assert isinstance(two.target, AppriseTarget)
    assert two.target.schemes == {"mailtos"}
    assert "pass" not in repr(one)


WRONG = [
    ("", "no endpoint; write a table such as"),
    ("x = 1\n", "unknown key `x`"),
    ("[endpoint]\n", "no endpoint"),
    ("endpoint = 3\n", "no endpoint"),
    ("[endpoint.app\n", "not TOML"),
    ("[endpoint.App]\n", r"endpoint\.App: a name has"),
    ('[endpoint."a.b"]\n', "a name has"),
    ("[endpoint]\napp = 3\n", r"expected a table such as \[endpoint.app\]"),
    ('[endpoint.app]\ntype = "mail"\n', "type is `webhook` or `apprise`, not 'mail'"),
    ("[endpoint.app]\n", "app: `url` is missing"),
    (LEAST + "urll = 1\n", "unknown key `urll`; known are achievements, "),
    (LEAST + "timeout = 15\n", r"app.timeout: write a duration such as `250ms`, .*, not 15"),
    (LEAST + 'timeout = "15"\n', "write a duration"),
    (LEAST + 'timeout = "0s"\n', "timeout: at most `60s`"),
    (LEAST + 'timeout = "2m"\n', "timeout: at most `60s`"),
    (LEAST + 'kinds = ["given"]\n', r"app\.kinds\[0\]: invalid enum value 'given'; known are granted, withheld"),
    (LEAST + 'origins = ["all"]\n', "invalid enum value 'all'; known are live, backfill"),
    (LEAST + "concurrency = 0\n", r"app.concurrency: expected `int` >= 1"),
    (LEAST + "schedule = []\n", "schedule: write at least one delay"),
    (LEAST + 'digest = { wait = "500ms" }\n', "digest: wait is between"),
    (LEAST + 'digest = { wait = "1s", group = "team" }\n', r"app.digest.group: expected"),
    (LEAST + 'digest = { weight = "1s" }\n', r"app.digest: unknown key `weight`"),
    (LEAST + 'allow_networks = ["10.1.2.3/8"]\n', "allow_networks: write a network such as .* has host bits set"),
    (LEAST + 'secrets = [{ env = "ONE" }]\n', "write `secret = "),
    (LEAST.replace("ONE", "NONE"), "secret: the variable NONE is not set"),
    (LEAST.replace("ONE", "EMPTY"), "secret: the variable EMPTY is not set"),
    (LEAST.replace("ONE", "BAD"), "the secret has 20 bytes; write whsec_"),
    (LEAST.replace('env = "ONE"', 'file = "gone"'), "secret: .*gone: No such file"),
    (LEAST.replace('env = "ONE"', 'file = "x", env = "ONE"'), "one of both"),
    (LEAST.replace('{ env = "ONE" }', f'"{SECRET}"'), "app.secret: expected a table, got `str`; write { file ="),
    (LEAST.replace("https", "http"), "url: http:// is not encrypted; write https://, or `insecure = true`"),
    (LEAST.replace("https", "ftp"), "url: write https://host/path"),
    (LEAST.replace("https://app.example/hook", "nothing"), "url: not a URL"),
    (LEAST.replace("app.example", "me:sesame@app.example"), "no user and password in the URL"),
    (LEAST.replace("app.example", "app.example:99999"), "url: not a URL"),
    ('[endpoint.a]\ntype = "apprise"\n', "write `to`"),
    ('[endpoint.a]\ntype = "apprise"\nresolver = "https://a.example/{subject}"\n', "schemes: say which"),
    ('[endpoint.a]\ntype = "apprise"\ndigest = { wait = "1s" }\n', "unknown key `digest`"),
]


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(EndpointsError, match=said) as refused:
        read(tmp_path, text)
    assert "notify.toml" in str(refused.value)
    for secret in (SECRET, "sesame", "c2VjcmV0"):
        assert secret not in str(refused.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(EndpointsError, match=r"gone\.toml: No such file or directory; write one as in docs/notify\.md"):
        read_endpoints(tmp_path / "gone.toml", {})
