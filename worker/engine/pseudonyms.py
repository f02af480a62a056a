"""Events that name erased users, with pseudonyms in the place of the names. Pure.

One pseudonym stands for a user wherever events of others need one: what those count distinct stays as many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import msgspec

from dsl.compile import USER
from dsl.event import Event
from dsl.outcome import Subject
from dsl.payload import is_usual
from worker.contract.partition import partition_of
from worker.contract.row import end_of, row_of
from worker.contract.sameness import digest_of, written_of
from worker.engine.batch import Audience, Renamed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from dsl.roles import Roles
    from dsl.types import Listed, Value
    from worker.engine.batch import Item

_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_users: Final = msgspec.json.Decoder(str | list[str])
_encoder: Final = msgspec.json.Encoder()


def rename(roles: Roles, item: Item, pseudonyms: Mapping[Subject, str]) -> Item:
    """Return an event as it is kept where it names erased users, or is theirs."""
    event, written = item.event, written_of(item.body)
    names = {user.subject: name for user, name in pseudonyms.items() if user.tenant_id == event.tenant}
    fields = roles.fields_of(event.type)
    given = {name: _renamed(value, names) if name in fields else value for name, value in event.fields.items()}
    user = names.get(event.user, event.user)
    kept = Event(event.tenant, event.id, event.type, user, event.at, event.offset, cast("dict[str, Value]", given))
    payload = None if written.payload is None else renamed_payload(written.payload, fields, names)
    usual = is_usual(written.occurred_at)
    row = row_of(kept, written.occurred_at, written.source, payload, end_of(item.row), usual=usual)
    audience = _living(item.audience, kept.user, pseudonyms)
    renamed = Renamed(payload, digest_of(event, written))
    return msgspec.structs.replace(item, event=kept, row=row, audience=audience, renamed=renamed)


def _living(audience: Audience, user: str, erased: Collection[Subject]) -> Audience:
    """Return an audience without erased users: a pseudonym has no history."""
    subjects = tuple(one for one in audience.subjects if one not in erased)
    named = tuple(one for one in audience.named if one not in erased)
    own = () if audience.user in erased else (audience.user,)
    actor = Subject(audience.user.tenant_id, USER, user)
    members = tuple(dict.fromkeys((*own, *subjects, *named)))
    views = tuple(one for one in audience.views if one[0] not in erased)
    return Audience(actor, subjects, members, partition_of(*actor), named, views)


def renamed_payload(payload: str, fields: Collection[str], names: Mapping[str, str]) -> str:
    """Return a payload with other names in some fields; everything else stays as it is written.

    Of a key that stands there twice, the last one counts, and is what stays.
    """
    given = _object.decode(payload)
    for field in fields:
        if field in given:
            given[field] = _renamed_json(given[field], names)
    return _encoder.encode(given).decode()


def _renamed_json(value: msgspec.Raw, names: Mapping[str, str]) -> msgspec.Raw:
    try:
        users = _users.decode(value)
    except msgspec.MsgspecError:  # taken in under an earlier contract: it names no users
        return value
    other = names.get(users, users) if isinstance(users, str) else [names.get(each, each) for each in users]
    return msgspec.Raw(_encoder.encode(other))


def _renamed(value: Value | Listed, names: Mapping[str, str]) -> Value | Listed:
    if isinstance(value, tuple):
        return tuple(names.get(each, each) if isinstance(each, str) else each for each in value)
    return names.get(value, value) if isinstance(value, str) else value
