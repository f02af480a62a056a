"""Planted bugs: traces, lines of the log, and probes."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug, Edit

READ: Final = "worker/contract/test_trace.py"
CHOICE: Final = "worker/traces/test_choice.py"
TRACES: Final = "integration/test_traces.py"
SERVICES: Final = "integration/test_traces_services.py"
LINES: Final = "integration/test_batch_log.py"
LEVEL: Final = "worker/process/test_log_level.py"
PROBES: Final = "integration/test_probes.py"

BUGS: Final = (
    # -- traces --------------------------------------------------------------------------------------------------------
    Bug(
        "trace_state_passed_on_as_received",
        "nothing of a producer's trace is passed on that breaks its grammar",
        at="worker.contract.trace:_state",
        old='return ",".join(members) if fits else ""',
        new="return text",
        tests=(f"{READ}::test_a_malformed_state_is_left_out",),
    ),
    Bug(
        "trace_of_a_header_given_twice",
        "a trace that is given twice is no trace",
        at="worker.contract.trace:trace_of_headers",
        old='"" if key in found else',
        new="",
        tests=(f"{READ}::test_a_header_that_is_given_twice_is_no_ones_word",),
    ),
    Bug(
        "trace_with_a_tail",
        "a malformed traceparent is no trace",
        at="worker.contract.trace:read_trace",
        old="_PARENT.fullmatch(parent)",
        new="_PARENT.match(parent)",
        tests=(f"{READ}::test_what_is_malformed_is_no_trace",),
    ),
    Bug(
        "trace_of_zeros",
        "a traceparent without an id is no trace",
        at="worker.contract.trace:read_trace",
        old="_ZEROS.fullmatch(trace_id) or",
        new="",
        tests=(f"{READ}::test_what_is_malformed_is_no_trace",),
    ),
    Bug(
        "trace_of_the_header_before_the_events_own",
        "the trace in a CloudEvent goes before that of its message",
        at="worker.contract.trace:trace_of",
        old="own or trace_of_headers(message.block)",
        new="trace_of_headers(message.block) or own",
        tests=(f"{READ}::test_the_extension_of_a_cloudevent_goes_first",),
    ),
    Bug(
        "trace_of_another_event",
        "an announcement has the trace of the event that earned it",
        at="Stats._time_grants_of",
        old="trace_of(message, group.elements[at])",
        new="trace_of(group.messages[0], group.elements[0])",
        tests=(f"{TRACES}::test_an_unlock_that_another_worker_announces_has_no_trace_and_the_same_body",),
    ),
    Bug(
        "trace_not_announced",
        "an announcement has the trace of the event that earned it",
        at="OutboxRelay._announcement",
        old="trace=self._trace(one.unlock_id, len(body))",
        new='trace=""',
        tests=(f"{TRACES}::test_an_announcement_has_the_trace_of_the_event_that_earned_it",),
    ),
    Bug(
        "spans_of_what_is_not_sampled",
        "the producer's flag decides whether a trace is recorded",
        at="worker.traces.otlp:_links",
        old="or not trace.is_sampled",
        new="",
        tests=(f"{TRACES}::test_a_collector_gets_a_span_a_batch_and_one_an_announcement",),
    ),
    Bug(
        "span_of_an_announcement_is_a_root",
        "the span of an announcement is a child of the event that earned the unlock",
        at="OtlpSpans.announcing",
        old='self._tracer.start_span(f"send {stream}", _below(trace), SpanKind.PRODUCER, described)',
        new='self._tracer.start_span(f"send {stream}", Context(), SpanKind.PRODUCER, described)',
        tests=(f"{TRACES}::test_a_collector_gets_a_span_a_batch_and_one_an_announcement",),
    ),
    Bug(
        "collector_that_is_silent_holds_up_the_end",
        "a collector that is silent does not hold up a worker",
        at="OtlpSpans.close",
        old="await to_thread.run_sync(ending.join, CLOSE_SECONDS)",
        new="await to_thread.run_sync(ending.join)",
        tests=(f"{TRACES}::test_a_collector_that_is_silent_holds_up_nothing",),
    ),
    Bug(
        "traces_that_end_the_worker",
        "a variable of OpenTelemetry that cannot be used ends no worker, and is not quoted",
        at="worker.traces.choice:_address",
        old='return ""',
        new="raise",
        tests=(f"{CHOICE}::test_what_cannot_be_used_is_named_and_the_worker_works_without",),
    ),
    Bug(
        "ingest_loses_the_trace",
        "the trace of a request goes on to its messages",
        at="worker.ingest.sends:_with",
        old="message._replace(headers=trace.headers)",
        new="message",
        tests=(f"{TRACES}::test_ingest_hands_on_the_trace_of_a_request",),
    ),
    # -- services around the worker ------------------------------------------------------------------------------------
    Bug(
        "span_of_a_request_is_a_root",
        "the span of a request continues its caller's trace",
        at="worker.traces.conventions:request",
        old="caller_of(values)",
        new="None",
        tests=(f"{SERVICES}::test_a_request_of_the_read_api_has_one_span",),
    ),
    Bug(
        "path_in_the_name_of_a_span",
        "no span names a user",
        at="Gate.__call__",
        old="None if operation is None else operation.path",
        new='scope["path"]',
        tests=(f"{SERVICES}::test_a_request_of_the_read_api_has_one_span",),
    ),
    Bug(
        "traces_begun_without_a_sampler",
        "the caller decides whether a trace is recorded",
        at="worker.traces.choice:spans_of",
        old='begins=bool(environment.get(_SAMPLER, "").strip())',
        new="begins=True",
        tests=(f"{SERVICES}::test_a_request_of_the_read_api_has_one_span",),
    ),
    Bug(
        "messages_beside_the_span_that_sends_them",
        "messages belong to the span that sends them",
        at="Sends.traced",
        old="if sending is None else sending.trace",
        new="",
        tests=(f"{SERVICES}::test_one_trace_goes_from_a_request_to_the_delivery",),
    ),
    Bug(
        "trace_of_an_event_replaced",
        "an event that says a trace of its own keeps it",
        at="Sends.traced",
        old="trace or others",
        new="others or trace",
        tests=(f"{SERVICES}::test_events_with_a_trace_of_their_own_keep_it",),
    ),
    Bug(
        "delivery_without_the_trace",
        "the request to an endpoint says the trace that it belongs to",
        at="Courier._attempt",
        old="self._channel.send(delivery, spans.trace)",
        new="self._channel.send(delivery)",
        tests=(f"{SERVICES}::test_one_trace_goes_from_a_request_to_the_delivery",),
    ),
    Bug(
        "digest_without_links",
        "the span of a digest has a link to each of its announcements",
        at="DeliveryTraces.begin",
        old='Start(self._name, "consumer", own, facts, traces)',
        new='Start(self._name, "consumer", traces[0], facts)',
        tests=(f"{SERVICES}::test_each_attempt_at_a_delivery_has_its_spans",),
    ),
    # -- lines of the log ----------------------------------------------------------------------------------------------
    Bug(
        "dead_letter_logged_with_its_detail",
        "no line of the log has a payload",
        at="BatchLog._write_letter",
        old="reason=letter.reason.value,",
        new="reason=letter.reason.value, said=letter.body,",
        tests=(f"{LINES}::test_each_batch_and_each_dead_letter_has_a_line_without_payloads",),
    ),
    Bug(
        "dead_letters_flood_the_log",
        "producers do not decide how many lines are logged",
        at="BatchLog._write_letters",
        old="max(0, MOST_LETTERS - self._letters)",
        new="MOST_LETTERS",
        tests=(f"{LINES}::test_a_flood_of_dead_letters_is_no_flood_of_lines",),
    ),
    Bug(
        "tally_of_a_batch_kept_for_the_next",
        "the line of a batch counts that batch",
        at="Pipeline.take_tally",
        old="self._tally, Tally()",
        new="Tally(), self._tally",
        tests=(f"{LINES}::test_each_batch_and_each_dead_letter_has_a_line_without_payloads",),
    ),
    Bug(
        "dead_letter_names_the_tenant_of_its_body",
        "the subject says the tenant of a dead letter, since the broker has checked it",
        at="worker.contract.loose_event:loose_event",
        old="name_of(bound) or bound if bound else _text(said.tenant_id)",
        new="_text(said.tenant_id)",
        tests=("worker/contract/test_loose_event.py::test_id_and_tenant_are_read_as_far_as_they_can_be",),
    ),
    Bug(
        "signals_change_the_level_the_wrong_way",
        "SIGUSR1 makes the log say more",
        at="worker.process.signals:_change_log_level",
        old="-1 if one == signal.SIGUSR1 else 1",
        new="1 if one == signal.SIGUSR1 else -1",
        tests=(f"{LEVEL}::test_signals_change_it_and_nothing_else",),
    ),
    # -- probes --------------------------------------------------------------------------------------------------------
    Bug(
        "probe_waits_for_a_frozen_server",
        "probes answer within a second while a server is frozen",
        at="_Question.wait",
        old="anyio.move_on_after(self.due - monotonic())",
        new="anyio.move_on_after(QUESTION_SECONDS)",
        tests=(f"{PROBES}::test_probes_answer_within_a_second_while_a_server_is_frozen",),
    ),
    Bug(
        "frozen_broker_counts_as_there",
        "a worker whose broker is frozen is not ready",
        at="Worker.__init__",
        old="{NATS: broker.answers, POSTGRESQL: self._store_answers}",
        new="{POSTGRESQL: self._store_answers}",
        tests=(f"{PROBES}::test_probes_answer_within_a_second_while_a_server_is_frozen",),
    ),
    Bug(
        "probes_only_after_the_servers",
        "a worker answers probes before it has reached a server",
        at="worker.app:_behind_probes",
        old="await work()",
        new="pass",
        also=(
            Edit(
                "worker.app:_behind_probes",
                "if settings.health_port is not None:",
                "await work()\nif settings.health_port is not None:",
            ),
        ),
        tests=(f"{PROBES}::test_a_worker_answers_before_it_has_reached_a_server",),
    ),
    Bug(
        "starting_counts_as_ready",
        "a worker that starts is not ready, and says why",
        at="Front._ready",
        old="self.phase or await self._worker.ready()",
        new="await self._worker.ready()",
        tests=(f"{PROBES}::test_a_worker_that_starts_is_alive_and_says_what_it_does",),
    ),
    Bug(
        "probes_of_the_api_only_after_its_broker",
        "services answer probes before they have reached a server",
        at="worker.serve.process:serve",
        old="await tasks.start(serve_probes, probes, settings.health_host, health_port)",
        new="await connection.open(); await tasks.start(serve_probes, probes, settings.health_host, health_port)",
        tests=(f"{PROBES}::test_services_answer_probes_before_they_have_reached_a_server_and_while_it_is_frozen",),
    ),
    Bug(
        "notifier_ready_while_its_broker_is_frozen",
        "a notifier whose broker is frozen is not ready",
        at="worker.notify.service:_readiness",
        old="{NATS: connection.answers}",
        new="{}",
        tests=(f"{PROBES}::test_services_answer_probes_before_they_have_reached_a_server_and_while_it_is_frozen",),
    ),
    Bug(
        "probes_without_a_limit",
        "the port of probes serves a bounded number of clients",
        at="worker.probes.http:serve",
        old="room.acquire_nowait()",
        new="pass",
        also=(Edit("worker.probes.http:serve", "room.release()", "pass"),),
        tests=(f"{PROBES}::test_clients_that_say_nothing_take_no_more_than_their_places",),
    ),
)
