from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.integration.engine import event
from worker.commands.explain.answer import Request
from worker.commands.explain.ledger import answer_from_ledger
from worker.commands.servers import CommandError

if TYPE_CHECKING:
    from tests.integration.engine import Engine

pytestmark = pytest.mark.anyio

NOW = 1_776_600_000_000_000


async def _explain(engine: Engine, capsys: pytest.CaptureFixture[str], **asked: Any) -> dict[str, Any]:  # noqa: ANN401
    capsys.readouterr()
    request = Request("u1", "three", clock=NOW, tenant="t1", form="json")
    await answer_from_ledger(engine.settings, msgspec.structs.replace(request, **asked))
    (explained,) = json.loads(capsys.readouterr().out)["explanations"]
    return explained


async def test_the_ledger_is_explained(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    await engine.publish([event(2), event(0), event(1), event(3, "b.done"), event(4, user="u2")])
    await engine.drain()
    three = await _explain(engine, capsys, achievement="three")
    assert (three["outcome"], three["earned_by"]) == ("earned", "a.done-2-u1")
    assert [each["event_id"] for each in three["events"]] == ["a.done-0-u1", "a.done-1-u1", "a.done-2-u1"]
    settled = await _explain(engine, capsys, achievement="settled")
    assert settled["missing"] == ["1 c.done"]
    clean = await _explain(engine, capsys, achievement="clean", now=1_776_000_000_000_000)
    assert (clean["now"], clean["missing"]) == ("2026-04-12T13:20:00.000000Z", ["1 more a.done"])


async def test_a_contested_unlock_is_said_to_be_kept(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    await engine.publish([event(0), event(2)])
    await engine.drain()
    capsys.readouterr()
    asked = Request("u1", "clean", clock=NOW, tenant="t1", form="json")
    await answer_from_ledger(engine.settings, asked)
    assert json.loads(capsys.readouterr().out)["contested"] == []
    await engine.publish([event(1, "b.done")])
    await engine.drain()
    capsys.readouterr()
    await answer_from_ledger(engine.settings, asked)
    explained = json.loads(capsys.readouterr().out)
    assert explained["explanations"][0]["outcome"] == "not yet"
    (kept,) = explained["contested"]
    assert (kept["achievement"], kept["tier"], kept["earned_at"][:4]) == ("clean", None, "2026")
    await answer_from_ledger(engine.settings, msgspec.structs.replace(asked, form="text"))
    assert "contested: u1 keeps clean, granted as earned at 2026" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"achievement": "nothing"}, "there is no achievement nothing"),
        ({"achievement": "three", "tenant": None}, "name one"),
    ],
)
async def test_what_the_ledger_cannot_tell(
    engine: Engine, capsys: pytest.CaptureFixture[str], asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(CommandError, match=message):
        await _explain(engine, capsys, **asked)
