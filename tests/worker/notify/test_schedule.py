from __future__ import annotations

import pytest

from worker.notify.schedule import (
    DAY,
    HOUR,
    LONGEST_RETRY_AFTER,
    MINUTE,
    SECOND,
    SVIX,
    Attempt,
    Decision,
    Outcome,
    answered,
    decide,
    delay_after,
    in_words,
    read_retry_after,
)

NOW = 1_776_000_000_000


def decided(attempt: Attempt, number: int = 1, failing_for: int = 0) -> Decision:
    return decide(attempt, number, SVIX, failing_for=failing_for, disable_after=5 * DAY)


def test_the_schedule_is_svix_s_and_goes_on_with_its_last_delay() -> None:
    delays = [delay_after(number, SVIX) for number in range(1, 10)]
    assert delays == [
        5 * SECOND,
        5 * MINUTE,
        30 * MINUTE,
        2 * HOUR,
        5 * HOUR,
        *[10 * HOUR] * 4,
    ]


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_2xx_is_delivered(status: int) -> None:
    assert decided(answered(status, now=NOW)) == Decision(done=True)


@pytest.mark.parametrize("status", [100, 199, 301, 302, 307, 308, 400, 401, 404, 409, 429, 500, 502, 503, 599])
def test_anything_else_is_tried_again(status: int) -> None:
    assert decided(answered(status, now=NOW), 2) == Decision(done=False, delay=5 * MINUTE)


def test_gone_disables() -> None:
    decision = decided(answered(410, abort=True, now=NOW))
    assert not decision.done
    assert decision.disable == "410 Gone"


def test_a_receiver_may_abort_one_message() -> None:
    assert decided(answered(500, abort=True, now=NOW)) == Decision(done=True)
    assert answered(500, abort=True, now=NOW).outcome is Outcome.ABORTED


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("0", 0),
        ("120", 120 * SECOND),
        (" 7 ", 7 * SECOND),
        ("999999999999999999999", LONGEST_RETRY_AFTER),
        ("86400", LONGEST_RETRY_AFTER),
        ("Sun, 12 Apr 2026 13:21:10 GMT", 70 * SECOND),
        ("Sun, 12 Apr 2020 13:21:10 GMT", 0),
        ("Sun, 12 Apr 2126 13:21:10 GMT", LONGEST_RETRY_AFTER),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("٣", None),
        ("Sun, 99 Apr 2026 13:21:10 GMT", None),
    ],
)
def test_retry_after_is_read_and_bounded(text: str, milliseconds: int | None) -> None:
    assert read_retry_after(text, now=NOW) == milliseconds


def test_retry_after_pauses_the_endpoint() -> None:
    attempt = answered(429, retry_after="30", now=NOW)
    assert decided(attempt, 5) == Decision(done=False, delay=30 * SECOND, pause=30 * SECOND)
    assert decided(answered(503, retry_after="30", now=NOW)).pause == 30 * SECOND
    assert decided(answered(500, retry_after="30", now=NOW)).pause == 0


def test_days_of_failures_disable() -> None:
    failed = Attempt(Outcome.FAILED, 500)
    assert decided(failed, 9, 5 * DAY - 1).disable == ""
    decision = decided(failed, 9, 5 * DAY)
    assert decision.disable == "every attempt has failed for 5 days"
    assert not decision.done
    assert decided(Attempt(Outcome.REFUSED), 9, 6 * DAY).disable


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [(5 * DAY, "5 days"), (DAY, "1 days"), (90 * SECOND, "90 s"), (300, "300 ms"), (36 * HOUR, "36 h")],
)
def test_durations_in_words(milliseconds: int, words: str) -> None:
    assert in_words(milliseconds) == words
