"""Planted bugs: a connection that is lost, refused or closed for good, consumers of others, huge messages."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

_CONNECTION: Final = "integration/test_connection.py"
_GOES_ON: Final = (f"{_CONNECTION}::test_work_goes_on_whatever_the_broker_says",)
_PROBES: Final = (f"{_CONNECTION}::test_what_the_probes_tell_of_a_broker_that_is_gone",)
_REFUSED_PULL: Final = (f"{_CONNECTION}::test_a_pull_subject_that_is_refused_shows_in_readiness",)
_COMMANDS: Final = (f"{_CONNECTION}::test_commands_do_not_wait_for_ever",)
_CONSUMERS: Final = "integration/test_consumers.py"
_LIMITS: Final = f"{_CONSUMERS}::test_a_worker_works_within_the_limits_of_an_operators_consumer"
_OVERSIZE: Final = "integration/test_oversize.py"

BUGS: Final[tuple[Bug, ...]] = (
    # -- the connection --
    Bug(
        "closed_client_not_replaced",
        "a client that the broker's words have closed is replaced",
        at="Connection._watch",
        old="if because is not None:",
        new="if because is not None and not self._client.is_closed:",
        tests=_GOES_ON,
    ),
    Bug(
        "dead_tasks_not_noticed",
        "a client whose own tasks have ended is replaced",
        at="Connection._ended",
        old='return f"the {client.ended_task} task of nats-py has ended" if client.ended_task else None',
        new="return None",
        tests=(f"{_CONNECTION}::test_a_task_of_the_library_that_ends_is_noticed[ping]",),
    ),
    Bug(
        "silence_not_noticed",
        "a connection that answers nothing is given up",
        at="Connection._watch",
        old="because = self._ended() or await self._beat()",
        new="because = self._ended()",
        tests=(f"{_CONNECTION}::test_pings_that_are_not_answered",),
    ),
    Bug(
        "nothing_bound_anew",
        "subscriptions go on over the next connection",
        at="Connection._attempt",
        old="""
            for binding in missing:
                await binding(client)
            """,
        new="",
        tests=_GOES_ON,
    ),
    Bug(
        "no_pause_between_refused_clients",
        "clients that live for a moment follow each other more and more slowly",
        at="Connection._renew",
        old="if monotonic() - self._made_at > STEADY_SECONDS:",
        new="if monotonic() >= self._made_at:",
        tests=(f"{_CONNECTION}::test_a_client_that_is_refused_again_and_again_is_not_made_in_a_hot_loop",),
    ),
    Bug(
        "refusals_flood_the_log",
        "the same refusal is logged once in a while",
        at="Connection._on_refusal",
        old="now - self._refusals.get(said, -REPEAT_SECONDS) >= REPEAT_SECONDS and",
        new="now and",
        tests=_REFUSED_PULL,
    ),
    Bug(
        "requests_of_a_lost_connection_counted",
        "messages are requested again on a new connection",
        at="Broker.returned",
        old="self._forget_requests()",
        new="",
        tests=_GOES_ON,
    ),
    Bug(
        "answers_not_listened_to_anew",
        "announcements over another connection are answered",
        at="Connection.subscribe",
        old="await self.bind(listen)",
        new="await listen(self._client)",
        tests=_GOES_ON,
    ),
    Bug(
        "rounds_wait_for_answers_that_cannot_come",
        "a round of announcements ends with its connection",
        at="Connection._renew",
        old="self.window.lose()",
        new="",
        tests=(f"{_CONNECTION}::test_a_round_of_announcements_does_not_wait_for_answers_that_cannot_come",),
    ),
    Bug(
        "acknowledgements_lost_with_the_connection",
        "what is done while the broker is away is acknowledged when it is back",
        at="Broker.ack",
        old="self._owed.extend(replies)",
        new="self._owed.clear()",
        tests=(f"{_CONNECTION}::test_acknowledgements_are_sent_when_the_broker_is_back",),
    ),
    Bug(
        "refused_pull_not_reported",
        "readiness tells of a pull subject that is refused",
        at="Broker.refused",
        old="self._unserved = said",
        new="return",
        tests=_REFUSED_PULL,
    ),
    Bug(
        "alive_without_a_broker",
        "a worker whose broker is gone for long does not count as alive",
        at="Worker._stuck",
        old="if most and gone > most else",
        new="if most and gone > most + 10**9 else",
        tests=_PROBES,
    ),
    Bug(
        "connections_not_counted",
        "metrics tell of each connection that was made",
        at="Connection._attempt",
        old="self.clients += 1",
        new="self.clients = 1",
        tests=_PROBES,
    ),
    Bug(
        "emit_waits_for_ever",
        "a command gives up on a broker that is away",
        at="publish",
        old="patience=PATIENCE_SECONDS",
        new="patience=None",
        tests=_COMMANDS,
    ),
    Bug(
        "dead_replay_waits_for_ever",
        "a command gives up on a broker that is away",
        at="send_again",
        old="patience=PATIENCE_SECONDS",
        new="patience=None",
        tests=_COMMANDS,
    ),
    Bug(
        "publisher_gives_up_with_its_connection",
        "what is published in bulk goes on over another connection",
        at="Publisher._send",
        old="self._check_patience(in_words(error))",
        new="raise BrokerAwayError(in_words(error)) from error",
        tests=(f"{_CONNECTION}::test_publishing_in_bulk_continues_over_another_connection",),
    ),
    Bug(
        "first_payload_limit_for_ever",
        "the worker notices a limit that the broker changes",
        at="FastClient._process_info",
        old='self._max_payload = info.get("max_payload", self._max_payload)',
        new='info.get("max_payload", self._max_payload)',
        tests=(f"{_CONNECTION}::test_a_smaller_payload_is_heard_of",),
    ),
    Bug(
        "late_pong_ends_the_reading",
        "an answer that comes too late ends nothing",
        at="FastClient._process_pong",
        old="if pongs and pongs[0].done():",
        new="if False:",
        tests=("worker/broker/test_private.py",),
    ),
    Bug(
        "half_a_frame_taken_for_a_message",
        "what was cut off in the middle is no message",
        at="protocol:_head",
        old="if not wire.startswith(_END, end - 2):",
        new="if not wire:",
        tests=("worker/broker/test_private.py",),
    ),
    # -- consumers of others --
    Bug(
        "consumer_overwritten",
        "a consumer that an operator made stays as it is",
        at="_ensure_consumer",
        old="""
            try:
                return await consumer_info(client, settings)
            except
            """,
        new="""
            try:
                await consumer_info(client, settings)
                made = {"max_ack_pending": 9999, "ack_policy": "explicit", "durable_name": settings.consumer}
                what = f"CONSUMER.DURABLE.CREATE.{settings.input_stream}.{settings.consumer}"
                return await ask(client, what, Consumer, {"stream_name": settings.input_stream, "config": made})
            except
            """,
        tests=(_LIMITS,),
    ),
    Bug(
        "limits_of_a_consumer_ignored",
        "requests ask for what a consumer allows",
        at="Broker.ensure",
        old="self._limit_to(consumer)",
        new="",
        tests=(_LIMITS,),
    ),
    Bug(
        "more_requests_than_may_wait",
        "no more requests are made than a consumer lets wait",
        at="allowed",
        old="requests=_least(ahead, existing.max_waiting)",
        new="requests=ahead",
        tests=("worker/broker/test_consumer.py",),
    ),
    Bug(
        "patience_of_the_settings",
        "the broker learns of long work before the consumer's ack wait ends",
        at="Intake.keep_held",
        old="patience = self._broker.ack_wait / 3",
        new="patience = self._settings.ack_wait / 3",
        tests=(f"{_CONSUMERS}::test_patience_is_the_consumers_own",),
    ),
    Bug(
        "backoff_taken_for_patience",
        "the shortest of a consumer's waits is the one that counts",
        at="allowed",
        old="ack_wait=min(waits) / _NANOSECONDS",
        new="ack_wait=max(waits) / _NANOSECONDS",
        tests=("worker/broker/test_consumer.py",),
    ),
    Bug(
        "any_ack_policy_will_do",
        "a consumer that forgets what it has delivered is refused",
        at="unfit",
        old='if existing.ack_policy != "explicit":',
        new='if existing.ack_policy == "none":',
        tests=("worker/broker/test_consumer.py",),
    ),
    # -- messages without measure --
    Bug(
        "oversize_kept_whole",
        "a producer cannot fill the database with one message",
        at="_oversize",
        old="body[:MAX_MESSAGE_BYTES])",
        new="body)",
        tests=("worker/contract/test_strict_reader.py::test_oversize",),
    ),
    Bug(
        "nothing_served_taken_for_served",
        "a message that no request may bring is asked for alone",
        at="Puller._on_status",
        old="if not unserved.isdigit() or int(unserved) >= self._allowed.batch:",
        new="if not unserved.isdigit():",
        tests=(f"{_OVERSIZE}::test_smaller_limits_the_same_way",),
    ),
    Bug(
        "huge_messages_many_at_a_time",
        "one huge message is in memory at a time",
        at="_Alone.may_ask",
        old="return self.wanted and not self.asked and self.held is None",
        new="return self.wanted and not self.asked",
        tests=(f"{_OVERSIZE}::test_huge_messages_become_dead_letters_one_at_a_time",),
    ),
    Bug(
        "huge_message_never_let_go",
        "the next huge message follows when one is done with",
        at="Puller._done_with",
        old="self._alone.held = None",
        new="",
        tests=(f"{_OVERSIZE}::test_huge_messages_become_dead_letters_one_at_a_time",),
    ),
)
