"""Planted bugs: the broker room: messages on their way, and the choice of the client."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

WINDOW: Final = ("worker/broker/test_window.py",)
ANNOUNCE: Final = ("worker/broker/test_announce.py",)
CHOICE: Final = ("worker/broker/test_choice.py",)

BUGS: Final[tuple[Bug, ...]] = (
    # -- messages on their way, and their answers --
    Bug(
        "numbers_used_by_two_rounds",
        "an answer belongs to one message",
        at="Window.send",
        old="self._number += len(messages)",
        new="",
        tests=WINDOW,
    ),
    Bug(
        "late_answer_taken",
        "an answer that comes too late belongs to no round",
        at="Window.forget",
        old="self._waiting.pop(str(one.first + place), None)",
        new="pass",
        tests=WINDOW,
    ),
    Bug(
        "answer_taken_twice",
        "an answer that comes twice counts once",
        at="Window._take",
        old='self._waiting.pop(subject.rpartition(".")[2], None)',
        new='self._waiting.get(subject.rpartition(".")[2])',
        tests=WINDOW,
    ),
    Bug(
        "round_waits_though_its_connection_is_lost",
        "a round ends with its connection",
        at="Round.lose",
        old="self._done.set()",
        new="",
        tests=WINDOW,
    ),
    Bug(
        "unsent_message_waited_for",
        "a message that is not sent counts as refused",
        at="Window.send",
        old="self._take(reply, Answer(Fate.REFUSED, 0, said))",
        new="del reply, said",
        tests=WINDOW,
    ),
    Bug(
        "answers_to_unsent_messages_kept_in_memory",
        "memory is bounded",
        at="Window.send",
        old="""
            self.forget(this)
            raise
            """,
        new="raise",
        tests=WINDOW,
    ),
    Bug(
        "announced_without_a_message_id",
        "the broker drops copies by their message id",
        at="Outgoing.parts",
        old="{MESSAGE_ID: self.id, **self.headers}",
        new="self.headers",
        tests=WINDOW,
    ),
    Bug(
        "copy_counted_as_new",
        "the broker says which messages it had before",
        at="read_answer",
        old="return _COPY if ack.duplicate else NEW",
        new="return NEW",
        tests=WINDOW,
    ),
    Bug(
        "message_that_no_stream_keeps_counted_as_kept",
        "what no stream keeps is not announced",
        at="read_answer",
        old="return _UNHEARD",
        new="return NEW",
        tests=ANNOUNCE,
    ),
    Bug(
        "unreadable_answer_taken_for_success",
        "an answer that cannot be read is no success",
        at="read_answer",
        old='return Answer(Fate.FAULT, 0, f"its answer cannot be read: {error}")',
        new="return NEW if error else _UNHEARD",
        tests=ANNOUNCE,
    ),
    Bug(
        "second_announcement_taken_for_a_refusal",
        "what stands on its subject already is announced",
        at="read_answer",
        old="fate = Fate.TAKEN",
        new="fate = Fate.REFUSED",
        tests=ANNOUNCE,
    ),
    Bug(
        "full_stream_blamed_on_the_unlock",
        "a broker that takes nothing is waited for",
        at="read_answer",
        old="Fate.FAULT if fault.code >= SERVER_AT_FAULT else Fate.REFUSED",
        new="Fate.REFUSED",
        tests=ANNOUNCE,
    ),
    # -- which client is used --
    Bug(
        "flaw_of_the_library_passed_over",
        "a release of nats-py that has changed inside costs speed, and nothing else",
        at="client_class",
        old="if private is None or missing:",
        new="if private is None:",
        tests=CHOICE,
    ),
    Bug(
        "flaw_of_the_library_ends_the_worker",
        "a release of nats-py that has changed inside costs speed, and nothing else",
        at="client_class",
        old="except Exception as error:",
        new="except ImportError as error:",
        tests=CHOICE,
    ),
    Bug(
        "reads_stay_small",
        "a backlog of large messages arrives in large pieces",
        at="client_class",
        old="private.prepare()",
        new="",
        tests=CHOICE,
    ),
    Bug(
        "shape_of_a_method_not_looked_at",
        "the fast client is not used where a method of nats-py takes other arguments",
        at="_has_shape",
        old="return words[: len(shape)] == [*shape]",
        new="return True",
        tests=CHOICE,
    ),
    Bug(
        "coroutine_taken_for_a_function",
        "the fast client is not used where a method of nats-py has become a coroutine",
        at="_has_shape",
        old='words = ["async"] if inspect.iscoroutinefunction(method) else []',
        new='words = ["async"] if shape[0] == "async" else []',
        tests=CHOICE,
    ),
    Bug(
        "field_of_another_type_passed_over",
        "the fast client is not used where a field of nats-py has another type",
        at="_flaws",
        old="hasattr(made, name) and isinstance(getattr(made, name), kind)",
        new="hasattr(made, name) and kind is not None",
        tests=CHOICE,
    ),
    Bug(
        "setting_that_is_gone_passed_over",
        "the fast client is not used where a name that it sets is gone",
        at="_flaws",
        old="if not hasattr(owner, name):",
        new="if not owner:",
        tests=CHOICE,
    ),
    Bug(
        "exchange_not_tried",
        "the fast client is used only where it reads and sends as it should",
        at="_flaws",
        old="yield from _wrong_exchange()",
        new="",
        tests=CHOICE,
    ),
    Bug(
        "sending_not_tried",
        "the fast client is used only where it reads and sends as it should",
        at="_wrong_exchange",
        old="if (other.pending_msgs, client.pending_data_size) != (1, 4):",
        new="if other.pending_msgs != 1:",
        tests=CHOICE,
    ),
)
