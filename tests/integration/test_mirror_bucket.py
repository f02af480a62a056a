"""A mirror in a bucket, on a server over the network: what a mirror in a folder holds, whatever goes wrong."""

from __future__ import annotations

import json
from itertools import count
from typing import TYPE_CHECKING

import anyio
import asyncpg
import pytest
from anyio import from_thread

from tests.integration.buckets import BROKEN, LOST, SECRET, SILENT, Answer, Asked, error, meddling
from tests.integration.identities import Authority
from tests.integration.mirrors import Died, Dying, Read, assert_same, every_file, mirror, repr_of
from tests.integration.pipelines import sent
from tests.integration.test_mirror import RULES, event, on_day
from worker.admin.erasure import erase_user
from worker.analysis.answers import Asked as Question
from worker.analysis.answers import ask
from worker.analysis.kept import NOTHING, Keeper
from worker.analysis.questions import QUESTIONS
from worker.app import wall_clock
from worker.mirror.bucket import BucketMirror, scratch_of
from worker.mirror.copied import Copied
from worker.mirror.duck import Bounds
from worker.mirror.folder import BusyError
from worker.mirror.layout import LAYERS
from worker.mirror.manifest import MANIFEST, ManifestError, decoded
from worker.mirror.objects import PART_BYTES, Patience
from worker.mirror.stores import StoreError
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.buckets import Store
    from tests.integration.engine import Engine
    from worker.mirror.manifest import Manifest

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where runs write beside a mirror."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr("worker.mirror.bucket.gettempdir", lambda: str(folder))
    return folder


def manifest_in(store: Store) -> Manifest:
    return decoded(store.body(MANIFEST), "")


def assert_whole(store: Store) -> None:
    """The manifest names all objects, and no other ones are there."""
    assert store.keys() == {MANIFEST, *(file.path for file in every_file(manifest_in(store)))}


async def erase(engine: Engine, user: str) -> None:
    async with open_store(engine.settings.database_url) as books:
        await erase_user(books, engine.settings, "acme", user, by="op", now=wall_clock())


async def test_it_holds_what_a_folder_holds(
    engine: Engine, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.mirror.small_files.MOST_TODAY", 1)
    await engine.apply(RULES)
    for n in range(3):
        await engine.publish([event(10 * n + m, at=on_day(m + 1), payload={"team": "red"}) for m in range(3)])
        await engine.publish([event(100 + n, "user.updated", payload={"plan": f"p{n}"}), b"{no json"])
        await engine.publish([event(200 + n, user=f"gone-{n}", payload={"team": "x"})])
        await engine.drain()
        runs = [(await mirror(engine, place)).rows for place in (tmp_path / "folder", store.objects())]
        assert runs[0] == runs[1]
        await erase(engine, f"gone-{n}")
    for place in (tmp_path / "folder", store.objects()):
        await mirror(engine, place)
    assert_whole(store)
    here = store.download(tmp_path / "here")
    await assert_same(engine, here)
    assert not Read(here).rows("SELECT count(*) FROM event WHERE user_id LIKE 'gone-%'")[0][0]
    for layer in LAYERS:
        # The rows of progress say when the run was.
        columns = ", ".join(name for name in layer.names if (layer.name, name) != ("progress_daily", "processing_time"))
        both = [
            sorted(Read(one).rows(f"SELECT {columns} FROM {layer.name}"), key=repr_of)  # noqa: S608
            for one in (tmp_path / "folder", here)
        ]
        assert both[0] == both[1], layer.name


async def test_an_erased_user_is_in_no_object(engine: Engine, store: Store, tmp_path: Path) -> None:
    await engine.apply(RULES)
    await sent(engine, *(event(n, user="mallory-7", at=on_day(n), payload={"team": "red"}) for n in range(1, 4)))
    await sent(engine, event(5, "user.updated", user="mallory-7", payload={"plan": "secret-plan"}), event(6))
    await mirror(engine, store.objects())
    before = Read(store.download(tmp_path / "before")).texts()
    assert "mallory-7" in before
    assert "secret-plan" in before
    await erase(engine, "mallory-7")
    assert (await mirror(engine, store.objects())).erased == 1
    after = Read(store.download(tmp_path / "after")).texts()
    assert "mallory-7" not in after
    assert "secret-plan" not in after
    assert_whole(store)


@pytest.mark.parametrize("kept", [False, True])
async def test_a_bucket_that_keeps_versions_is_known(engine: Engine, store: Store, *, kept: bool) -> None:
    """A run that erases says so: old versions hold what was erased."""
    if kept:
        store.s3.put_bucket_versioning(Bucket=store.bucket, VersioningConfiguration={"Status": "Enabled"})
    objects = store.objects()
    await mirror(engine, objects)
    assert objects.versioned is kept


async def test_a_run_that_ends_at_any_point_loses_nothing(
    engine: Engine, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.mirror.small_files.MOST_TODAY", 1)
    dying = Dying()
    await sent(engine, *(event(n, user="gone") for n in range(900, 904)))
    await mirror(engine, store.objects())
    await erase(engine, "gone")
    for n in count():
        await sent(engine, event(2 * n), event(2 * n + 1, user=f"u{n}"))
        runs = manifest_in(store).run
        try:
            await mirror(engine, store.objects(), reached=dying)
        except Died:
            # A reader goes by the manifest: the run is there as a whole, or not at all.
            assert manifest_in(store).run == runs + (dying.seen[-1] == "manifest written")
            assert {file.path for file in every_file(manifest_in(store))} <= store.keys()
        else:
            break
    points = {"begun", "event rewritten", "event staged", "event placed", "all placed", "manifest written"}
    assert points <= {*dying.seen}
    assert_whole(store)
    here = store.download(tmp_path / "here")
    assert "gone" not in Read(here).texts()
    await assert_same(engine, here)


async def test_nothing_stays_on_this_machine(engine: Engine, store: Store, scratch: Path) -> None:
    await sent(engine, event(1))
    await mirror(engine, store.objects())
    assert not [one for one in scratch.rglob("*") if one.suffix == ".parquet"]
    (folder,) = scratch.iterdir()
    assert folder.stat().st_mode & 0o077 == 0


async def test_a_folder_of_another_user_is_not_written_to(engine: Engine, store: Store, tmp_path: Path) -> None:
    scratch_of(store.url).symlink_to(tmp_path)
    with pytest.raises(Exception, match="not a folder of this user alone"):
        await mirror(engine, store.objects())
    assert not store.keys()


async def test_a_second_run_is_refused(engine: Engine, store: Store) -> None:
    await sent(engine, event(1))
    await mirror(engine, store.objects())
    before = store.body(MANIFEST)
    with BucketMirror(store.objects()).held(), pytest.raises(BusyError, match="another `ach mirror` is at work in s3:"):
        await mirror(engine, store.objects())
    # On another machine only the database says so.
    other = await asyncpg.connect(engine.settings.database_url)
    try:
        await other.execute("SELECT pg_advisory_lock($1)", BucketMirror(store.objects()).mutex)
        with pytest.raises(BusyError, match="another `ach mirror` is at work in s3:"):
            await mirror(engine, store.objects())
    finally:
        await other.close()
    assert store.body(MANIFEST) == before


@pytest.mark.parametrize("point", ["begun", "event staged", "event placed", "all placed"])
async def test_a_run_that_was_frozen_changes_nothing_behind_another_one(
    engine: Engine, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """No lock reaches both: as with a primary and a replica, or behind a lost connection."""
    monkeypatch.setattr("worker.mirror.once.BucketMirror", _Unlocked)
    await sent(engine, event(1), event(2, user="gone"))
    await mirror(engine, store.objects())
    await erase(engine, "gone")
    await sent(engine, event(3))
    passed: list[str] = []

    def reached(name: str) -> None:
        if name != point or passed:
            return
        passed.append(name)
        monkeypatch.setattr("worker.mirror.bucket.gettempdir", lambda: str(tmp_path))
        with from_thread.start_blocking_portal() as portal:
            portal.call(mirror, engine, store.objects())

    with pytest.raises(BusyError, match=r"has begun in s3:.* meanwhile: this one has changed"):
        await mirror(engine, store.objects(), reached=reached)
    assert passed
    assert manifest_in(store).run == 2
    assert_whole(store)
    await assert_same(engine, store.download(tmp_path / "here"))


class _Unlocked(BucketMirror):
    """A mirror whose runs know nothing of each other."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.mutex = None


async def test_a_store_that_ignores_conditions_is_refused(engine: Engine, store: Store) -> None:
    def deaf(asked: Asked) -> None:
        for name in [*asked.headers]:
            if name.lower() in {"if-match", "if-none-match"}:
                del asked.headers[name]

    await sent(engine, event(1))
    with meddling(store, deaf) as endpoint:
        with pytest.raises(StoreError, match="does not mind conditions"):
            await mirror(engine, store.objects(endpoint))
        await mirror(engine, store.objects())
        with pytest.raises(StoreError, match="does not mind conditions"):
            await mirror(engine, store.objects(endpoint))
    assert manifest_in(store).run == 1
    await mirror(engine, store.objects())
    assert_whole(store)


REQUESTS: dict[str, Callable[[Asked], bool]] = {
    "look": lambda asked: asked.method == "GET" and asked.path == MANIFEST,
    "list": lambda asked: "list-type=2" in asked.path,
    "fetch": lambda asked: asked.method == "GET" and asked.path.endswith(".parquet"),
    "put": lambda asked: asked.method in {"PUT", "POST"} and asked.path.endswith(".parquet"),
    "manifest": lambda asked: asked.method == "PUT" and asked.path == MANIFEST,
    "delete": lambda asked: asked.method == "DELETE" or "delete" in asked.path,
}
ANSWERS = {
    "access is denied": error(403, "AccessDenied"),
    "no such bucket": error(404, "NoSuchBucket"),
    "its server says 500": error(500, "InternalError"),
    "its server says 418": Answer(418, b"teapot\n" * 3000),
    "what is no answer of S3": Answer(500, b"\x00\xff" * 3000),
    "no reply before the timeout": SILENT,
    "ended the connection": BROKEN,
}


DAILY = {("look", said) for said in ANSWERS} | {(request, "its server says 500") for request in REQUESTS}
"""What the tests of every day ask for."""


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        pytest.param(request, said, marks=() if (request, said) in DAILY else pytest.mark.faults)
        for request in REQUESTS
        for said in ANSWERS
    ],
)
async def test_a_store_that_fails_is_named_in_one_line(
    engine: Engine, store: Store, tmp_path: Path, request_: str, said: str
) -> None:
    await sent(engine, event(1), event(2, user="gone"))
    await mirror(engine, store.objects())
    await erase(engine, "gone")
    await sent(engine, event(3))

    def meddle(asked: Asked) -> Answer | None:
        return ANSWERS[said] if REQUESTS[request_](asked) else None

    with meddling(store, meddle) as endpoint, pytest.raises(StoreError, match=said) as failed:
        await mirror(engine, store.objects(endpoint))
    assert str(failed.value).isprintable()
    assert SECRET not in str(failed.value)
    assert failed.value.away == (said.endswith(("500", "timeout", "connection", "S3")))
    assert manifest_in(store).run == (2 if request_ == "delete" else 1)
    assert {file.path for file in every_file(manifest_in(store))} <= store.keys()
    await mirror(engine, store.objects())
    assert_whole(store)
    assert "gone" not in Read(store.download(tmp_path / "here")).texts()
    await assert_same(engine, tmp_path / "here")


def test_the_certificate_of_a_server_is_looked_at(store: Store, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    with meddling(store, lambda _: None, authority.issue("s3", "127.0.0.1")) as endpoint:
        with pytest.raises(StoreError, match="the certificate of its server is not trusted"):
            store.objects(endpoint).sizes()
        assert store.objects(endpoint, authorities=authority.ca.read_bytes()).sizes() == {}


def test_a_large_file_comes_in_parts_and_is_whole(store: Store, tmp_path: Path) -> None:
    body = bytes(range(256)) * (9 << 12)
    (tmp_path / "large").write_bytes(body)
    objects = store.objects(patience=Patience())
    assert objects.put("event/large", tmp_path / "large") == len(body) > PART_BYTES
    objects.fetch([("event/large", len(body), tmp_path / "back")])
    assert (tmp_path / "back").read_bytes() == store.body("event/large") == body


async def test_an_object_that_comes_short_is_no_object(engine: Engine, store: Store) -> None:
    await sent(engine, event(1))
    await mirror(engine, store.objects())
    await sent(engine, event(2))

    for answer in (Answer(206, b"PAR1"), Answer(206, b"PAR1", cut=9000), Answer(200, b"")):
        with (
            meddling(store, lambda asked, say=answer: say if REQUESTS["fetch"](asked) else None) as endpoint,
            pytest.raises(StoreError),
        ):
            await mirror(engine, store.objects(endpoint))
    manifest = manifest_in(store)
    assert manifest.run == 1
    (file,) = manifest.files("event")
    short = store.body(file.path)[:-1]
    store.s3.put_object(Bucket=store.bucket, Key=f"some/mirror/{file.path}", Body=short)
    with pytest.raises(StoreError, match=f"{file.bytes - 1} of {file.bytes} bytes of {file.path}"):
        Copied(store.objects()).bring(manifest)
    with pytest.raises(ManifestError, match="is not what a run wrote"):
        await mirror(engine, store.objects())


async def test_an_answer_that_is_lost_is_no_second_run(engine: Engine, store: Store, tmp_path: Path) -> None:
    await sent(engine, event(1))
    await mirror(engine, store.objects())
    await sent(engine, event(2))
    lost: list[str] = []

    def meddle(asked: Asked) -> Answer | None:
        if asked.method != "PUT" or asked.path in lost:
            return None
        lost.append(asked.path)
        return LOST

    with meddling(store, meddle) as endpoint:
        await mirror(engine, store.objects(endpoint, patience=Patience()))
    assert MANIFEST in lost
    assert manifest_in(store).run == 2
    assert_whole(store)
    await assert_same(engine, store.download(tmp_path / "here"))


async def test_places_that_are_no_mirror_of_this_stay_as_they_are(engine: Engine, store: Store) -> None:
    store.s3.put_object(Bucket=store.bucket, Key="some/mirror/photo.jpg", Body=b"x")
    with pytest.raises(ManifestError, match="name an empty prefix"):
        await mirror(engine, store.objects())
    assert store.keys() == {"photo.jpg"}
    store.s3.delete_object(Bucket=store.bucket, Key="some/mirror/photo.jpg")
    await mirror(engine, store.objects(), tenant="acme")
    manifest = json.loads(store.body(MANIFEST))
    path = "event/dt=2026-01-01/../../../x.parquet"
    outside = {"path": path, "dt": "2026-01-01", "run": 1, "rows": 1, "bytes": 1}
    for changed, message in (
        ({}, "a mirror of tenant 'acme' alone"),
        ({"tenant": None, "database": "1/1"}, "another database"),
        ({"layout": 99}, "newer ach"),
        ({"layers": {"event": [outside]}}, "outside of its layers"),
    ):
        body = json.dumps({**manifest, **changed}).encode()
        store.s3.put_object(Bucket=store.bucket, Key="some/mirror/manifest.json", Body=body)
        with pytest.raises(ManifestError, match=message):
            await mirror(engine, store.objects())
        assert store.body(MANIFEST) == body


async def test_an_object_that_is_gone_is_missed(engine: Engine, store: Store) -> None:
    await sent(engine, event(1))
    await mirror(engine, store.objects())
    lost = manifest_in(store).files("event")[0].path
    store.s3.delete_object(Bucket=store.bucket, Key=f"some/mirror/{lost}")
    with pytest.raises(ManifestError, match=f"s3://.*/{lost} is missing"):
        await mirror(engine, store.objects())


async def test_a_manifest_of_an_older_backup_goes_on(engine: Engine, store: Store, tmp_path: Path) -> None:
    """The numbers in names are above all that are there, so no name is used again."""
    await sent(engine, event(1))
    await mirror(engine, store.objects())
    older, kept = store.body(MANIFEST), {key: store.body(key) for key in sorted(store.keys())}
    for n in range(2, 5):
        await sent(engine, event(n))
        await mirror(engine, store.objects())
    later = store.keys()
    for key, body in kept.items():
        store.s3.put_object(Bucket=store.bucket, Key=f"some/mirror/{key}", Body=body)
    store.s3.put_object(Bucket=store.bucket, Key="some/mirror/manifest.json", Body=older)
    await mirror(engine, store.objects())
    assert_whole(store)
    assert store.keys() & later <= {*kept}
    await assert_same(engine, store.download(tmp_path / "here"))


async def test_it_may_move_to_a_folder_and_back(engine: Engine, store: Store, tmp_path: Path) -> None:
    await sent(engine, event(1))
    for _ in range(3):
        await mirror(engine, store.objects())
    folder = store.download(tmp_path / "folder")
    for n in range(2, 4):
        await sent(engine, event(n))
        await mirror(engine, folder)
    await assert_same(engine, folder)
    for key in sorted(store.keys()):
        store.s3.delete_object(Bucket=store.bucket, Key=f"some/mirror/{key}")
    for path in folder.glob("*/*/*.parquet"):
        key = path.relative_to(folder).as_posix()
        store.s3.put_object(Bucket=store.bucket, Key=f"some/mirror/{key}", Body=path.read_bytes())
    store.s3.put_object(Bucket=store.bucket, Key="some/mirror/manifest.json", Body=(folder / MANIFEST).read_bytes())
    await sent(engine, event(9))
    await mirror(engine, store.objects())
    assert_whole(store)
    await assert_same(engine, store.download(tmp_path / "here"))


async def test_the_console_says_why_a_bucket_gives_no_answer(store: Store) -> None:
    """To a person of some tenants it does not say where the mirror lies."""
    with meddling(store, lambda _: error(403, "AccessDenied")) as endpoint:
        keeper = Keeper(Copied(store.objects(endpoint)))
        assert "access is denied" in (await keeper.of(None)).trouble
        assert (await keeper.of(frozenset({"acme"}))).trouble == NOTHING


async def test_answers_are_those_of_a_folder(
    engine: Engine, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await engine.apply(RULES)
    await sent(engine, *(event(n, at=on_day(n % 9 + 1), user=f"u{n % 7}") for n in range(40)))
    await mirror(engine, store.objects())
    copied = Copied(store.objects())
    asked, bounds = Question(fewest=1), Bounds("256MB", 1)
    first = ask(copied, QUESTIONS, asked, bounds)
    assert first == ask(store.download(tmp_path / "here"), QUESTIONS, asked, bounds)
    # A run ends between a look at the manifest and that at its files, which it has merged.
    monkeypatch.setattr("worker.mirror.small_files.MOST_TODAY", 0)
    await sent(engine, event(50))
    copied = Copied(store.objects())
    stale = copied.look
    seen: list[Manifest | None] = []

    def look() -> Manifest | None:
        seen.append(stale())
        if len(seen) == 1:
            from_thread.run(mirror, engine, store.objects())
        return seen[-1]

    monkeypatch.setattr(copied, "look", look)
    again = await anyio.to_thread.run_sync(ask, copied, QUESTIONS, asked, bounds)
    assert again.age.run == 2
    assert len(seen) >= 2
