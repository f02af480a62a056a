"""Declared events with everything that may be declared, for tests of contracts."""

from __future__ import annotations

from typing import Final

from dsl.ruleset import build

TEXT: Final = """
event lesson.completed { lesson_id: string, seconds: int? >= 0, team: string?  once per lesson_id, team within 10m }
event purchase.placed { amount: decimal >= 0, fee: decimal?, at: timestamp, gift: bool, level: int >= -3 }
event price.seen { price: decimal >= 1.5, least: decimal? >= -2 }
event in.class { from: string?, class: timestamp? }
event in_class { for: int }
event login {}
event string { any: string }
event date { day: string? }
event post.published { tags: [string], marks: [int]?, prices: [decimal]?, author: user, seen_by: [user]? }
traits from plan.changed { plan: string }
"""
EVENTS: Final = build([("rules.ach", TEXT.encode())]).rules.events
