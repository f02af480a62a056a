"""Planted bugs: CloudEvents on the stream, and contracts for producers."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

CLOUD: Final = "worker/contract/test_cloudevents.py"
STREAM: Final = "integration/test_cloudevents.py"
SCHEMA: Final = ("worker/artefacts/test_json_schema.py",)
ENCODING: Final = "worker/artefacts/test_encoding.py"
FOLDER: Final = "worker/artefacts/test_folder.py"
NEWS: Final = "worker/local/test_news.py"

BUGS: Final[tuple[Bug, ...]] = (
    # -- CloudEvents --
    Bug(
        "data_put_into_envelopes_unread",
        "the data of a CloudEvent becomes the payload, and no other field",
        at="cloudevents:_data",
        old='return str(_anything(body), "utf-8")',
        new='return str(body, "utf-8")',
        tests=(f"{CLOUD}::test_data_cannot_become_another_field",),
    ),
    Bug(
        "users_of_cloudevents_unbound",
        "a CloudEvent on a user's subject is that user's",
        at="Contract._read_foreign",
        old="found = self._read_one(where, envelope)",
        new="found = self._read_one(where._replace(bound=where.bound._replace(user=None)), envelope)",
        tests=(f"{CLOUD}::test_a_subject_binds_events_of_every_form",),
    ),
    Bug(
        "sources_left_out_of_ids",
        "the key of a CloudEvent is its source and its id",
        at="cloudevents:_event",
        old="""event_id = f"{_escaped(said.source)}#{said.id}\"""",
        new='event_id = f"{said.source}#{said.id}"',
        tests=(f"{CLOUD}::test_a_number_sign_in_a_source_does_not_mix_keys",),
    ),
    Bug(
        "sources_that_share_an_escape",
        "no two CloudEvents of different sources have one id",
        at="cloudevents:_escaped",
        old='_ESCAPE.sub("%25", source).replace("#", "%23")',
        new='source.replace("#", "%23")',
        tests=(f"{CLOUD}::test_no_two_keys_become_one_id",),
    ),
    Bug(
        "headers_always_decoded",
        "headers that the Go SDK wrote are read as they are",
        at="cloudevents:is_encoded",
        old="if CONTENT_TYPE in headers: return False",
        new="if CONTENT_TYPE in headers: return True",
        tests=(
            f"{CLOUD}::test_what_the_library_writes_we_read",
            f"{CLOUD}::test_the_writer_of_headers_is_known_by_them",
        ),
    ),
    Bug(
        "times_of_cloudevents_made_up",
        "a CloudEvent without a time is a dead letter",
        at="cloudevents:_event",
        old='if said.time is None: return _invalid("time", "missing; an event needs the instant at which it occurred")',
        new='if said.time is None: said = msgspec.structs.replace(said, time="2026-01-01T00:00:00Z")',
        tests=(f"{CLOUD}::test_what_is_no_event_says_why",),
    ),
    Bug(
        "dead_cloudevents_sent_again_without_headers",
        "a dead letter is sent again as the CloudEvent that it was",
        at="_headers_again",
        old="{**carried(before), REPLAYED: str(letter.dead_letter_id)}",
        new="{REPLAYED: str(letter.dead_letter_id)}",
        tests=(f"{STREAM}::test_dead_cloudevents_are_sent_again_with_their_headers",),
    ),
    Bug(
        "users_in_headers_not_erased",
        "an erasure finds users that headers of CloudEvents name",
        at="bury",
        old="letter.body, letter.message.headers, fields=fields",
        new="letter.body, fields=fields",
        tests=(f"{STREAM}::test_an_erasure_finds_dead_cloudevents",),
    ),
    Bug(
        "empty_arrays_of_data_dropped",
        "a CloudEvent whose data is an empty array is a dead letter, and not lost",
        at="Decoding._read",
        old="0 in plain.sizes",
        new="0 not in plain.sizes",
        tests=(f"{STREAM}::test_dead_cloudevents_are_sent_again_with_their_headers",),
    ),
    # -- contracts --
    Bug(
        "null_refused_by_schemas",
        "a schema lets an optional field be null, as the worker does",
        at="json_schema:_or_null",
        old='return [kind, "null"] if field.optional else kind',
        new="return kind",
        tests=SCHEMA,
    ),
    Bug(
        "bounds_left_out_of_schemas",
        "a schema has the lower bounds of the rules",
        at="json_schema:_value",
        old='{"type": _or_null("integer", field), **_bound(field.low)}',
        new='{"type": _or_null("integer", field)}',
        tests=SCHEMA,
    ),
    Bug(
        "payload_optional_in_schemas",
        "a schema asks for a payload where a field of it is required",
        at="json_schema:body_of",
        old='required=("payload",) if needs else ()',
        new="required=()",
        tests=SCHEMA,
    ),
    Bug(
        "long_names_left_in_tokens_of_producers",
        "producers encode names as the engine does",
        at="filled",
        old='replace("MAX_TOKEN", str(MAX_TOKEN))',
        new='replace("MAX_TOKEN", str(MAX_TOKEN + 1))',
        tests=(f"{ENCODING}::test_python_that_is_generated",),
    ),
    Bug(
        "schemas_of_others_deleted",
        "`ach contract` deletes what it has written, and nothing else",
        at="differences",
        old='not in files and is_ours(_read(schema) or "")',
        new='not in files or is_ours("")',
        tests=(FOLDER,),
    ),
    Bug(
        "undeclared_types_named_again",
        "`ach dev` names an undeclared type once",
        at="Undeclared.lines_of",
        old="self._said.update(found)",
        new="self._said.update(())",
        tests=(NEWS,),
    ),
)
