"""What the mirror holds: layers, their columns, their files. Pure: DDL, pages and readers are made from this.

A layer is a folder. Its files are `LAYER/dt=YYYY-MM-DD/NAME.parquet`, and `dt` is the UTC day of `processing_time` in
every layer, so a row has one place for ever. `dt` is not in the files. Every layer is append-only but for erasures and
for `rule_version`, which is written anew when it changes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

VERSION: Final = 1
"""Of the layout. A newer one may add columns and layers, and changes none: old files read as null there."""
PARTITION: Final = "dt"
SUFFIX: Final = ".parquet"


class Kind(StrEnum):
    """What a column holds."""

    ID = "id"
    """Text of at most 512 bytes."""
    TEXT = "text"
    JSON = "json"
    """JSON as text: numbers keep all of their digits."""
    INTEGER = "integer"
    BIGINT = "bigint"
    NUMBER = "number"
    BOOLEAN = "boolean"
    INSTANT = "instant"
    """A moment in UTC, to the microsecond."""


class Column(NamedTuple):
    """One column of a layer."""

    name: str
    kind: Kind
    meaning: str
    nullable: bool = False


class Layer(NamedTuple):
    """One layer.

    `key` holds the columns by which a row is known; where some are null, null counts as a value. `whose` is how a row
    says whose it is: it names the column of the user of a row, which goes when that user is erased.
    """

    name: str
    meaning: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    whose: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of columns, in order."""
        return tuple(column.name for column in self.columns)


class View(NamedTuple):
    """A view over layers, in SQL that DuckDB, BigQuery, Snowflake and Redshift share."""

    name: str
    meaning: str
    query: str


_TENANT: Final = Column("tenant_id", Kind.ID, "The tenant.")
_USER: Final = Column("user_id", Kind.ID, "The user.")
_OF_USER: Final = Column("user_id", Kind.ID, "The subject where the scope is `user`.", nullable=True)
_SUBJECT: Final = (
    _TENANT,
    Column("scope", Kind.ID, "`user`, `tenant`, or the field whose values are judged, such as `team`."),
    Column("subject", Kind.ID, "Which user, tenant or team."),
    _OF_USER,
)
_RULE: Final = (
    Column("achievement", Kind.ID, "The achievement."),
    Column("tier", Kind.ID, "The tier; null where the achievement has none.", nullable=True),
)
_OCCURRENCE: Final = Column("occurrence", Kind.ID, "Which occurrence of one that repeats.", nullable=True)
_RULE_VERSION: Final = Column("rule_version", Kind.INTEGER, "The version of the achievement.")
_EVIDENCE: Final = (
    Column("event_time", Kind.INSTANT, "When it was earned: the time of the event that earned it."),
    Column("deduplication_key", Kind.ID, "That event; null where an operator's word alone supports it.", nullable=True),
)
_FINAL: Final = Column("final", Kind.BOOLEAN, "Whether late evidence can never take it back; else it is contestable.")
_FINAL_OR_NONE: Final = Column("final", Kind.BOOLEAN, f"{_FINAL.meaning} Null for `announced`.", nullable=True)
_WORD: Final = (
    Column("actor", Kind.TEXT, "The operator who decided; null where the engine did.", nullable=True),
    Column("reason", Kind.TEXT, "Why, in the operator's words.", nullable=True),
)

EVENT: Final = Layer(
    "event",
    "Every event of the ledger, once.",
    (
        _TENANT,
        _USER,
        Column("event_type", Kind.ID, "The type, such as `lesson.completed`."),
        Column("event_time", Kind.INSTANT, "When it happened, as its producer says."),
        Column("utc_offset", Kind.INTEGER, "The offset that the producer wrote, in seconds east of UTC."),
        Column("processing_time", Kind.INSTANT, "When a worker took it."),
        Column("published_at", Kind.INSTANT, "When the broker took it.", nullable=True),
        Column("region", Kind.ID, "Where its producer says that it runs.", nullable=True),
        Column("source", Kind.TEXT, "The producer.", nullable=True),
        Column("deduplication_key", Kind.ID, "The event's id, unique within its tenant."),
        Column("payload", Kind.JSON, "The payload as received.", nullable=True),
        Column("stream_seq", Kind.BIGINT, "Its number in the input stream; 0 where it came another way."),
    ),
    key=("tenant_id", "deduplication_key"),
    whose="user_id",
)

EVALUATION: Final = Layer(
    "evaluation",
    "Every decision about an unlock, with its evidence and its verdict.",
    (
        *_SUBJECT,
        *_RULE,
        _OCCURRENCE,
        _RULE_VERSION,
        Column(
            "decision",
            Kind.ID,
            "`granted`, `settling`, `withdrawn`, `amended`, `contested`, `restored`, `revoked` or `granted_by_hand`.",
        ),
        _FINAL,
        *_EVIDENCE,
        Column("processing_time", Kind.INSTANT, "When it was decided."),
        *_WORD,
        Column("evaluation_id", Kind.BIGINT, "Its number: the decisions about one unlock come in this order."),
    ),
    key=("evaluation_id",),
    whose="user_id",
)

UNLOCK: Final = Layer(
    "unlock",
    "The history of every unlock: a row for each change, its announcement among them. `unlock_now` has the last one.",
    (
        Column("unlock_id", Kind.ID, "The id of its announcement; null in what was withdrawn.", nullable=True),
        *_SUBJECT,
        *_RULE,
        _OCCURRENCE,
        Column("revision", Kind.INTEGER, "1 for the grant and before, and one more for each change of it."),
        Column("change", Kind.ID, "A decision, as in `evaluation`, or `announced`."),
        Column(
            "unlock_status",
            Kind.ID,
            "What it is from then on: `settling`, `withdrawn`, `granted`, `announced`, `contested` or `revoked`.",
        ),
        _RULE_VERSION,
        _FINAL_OR_NONE,
        *_EVIDENCE,
        Column("processing_time", Kind.INSTANT, "When it changed."),
        Column("granted_at", Kind.INSTANT, "When it was granted; null before.", nullable=True),
        Column("announced_at", Kind.INSTANT, "When it was announced; in the row of that alone.", nullable=True),
        Column(
            "origin",
            Kind.ID,
            "How it came to be granted: `live`, `backfill`, `settled`, `replayed`, `by_hand`; null if withdrawn.",
            nullable=True,
        ),
        Column("reward", Kind.JSON, "What it was granted with, an object.", nullable=True),
        *_WORD,
        Column("evaluation_id", Kind.BIGINT, "The decision; null in the row of an announcement.", nullable=True),
    ),
    key=("change", "evaluation_id", "unlock_id"),
    whose="user_id",
)

FAILED_EVENT: Final = Layer(
    "failed_event",
    "Dead letters: what could not become an event. A row for its death, and one for each time it was sent again. "
    "The body stays in PostgreSQL (`ach dead show`).",
    (
        Column("failed_event_id", Kind.BIGINT, "Its number, as in `ach dead list`."),
        Column("change", Kind.ID, "`died` or `replayed`."),
        Column("reason", Kind.ID, "Why, by name, such as `contract` or `bad_json`."),
        Column("detail", Kind.TEXT, "Why, in words; null once a user that it named is erased.", nullable=True),
        Column("nats_subject", Kind.TEXT, "Where it was published; null as above.", nullable=True),
        Column("stream", Kind.ID, "Its stream."),
        Column("stream_seq", Kind.BIGINT, "Its number there."),
        Column("element", Kind.INTEGER, "Its place where the message was an array, from 0."),
        Column("body_bytes", Kind.INTEGER, "How long its body was when it was mirrored."),
        Column("deliveries", Kind.INTEGER, "How often the broker had delivered it."),
        Column("processing_time", Kind.INSTANT, "When it died, or was sent again."),
    ),
    key=("failed_event_id", "change", "processing_time"),
    whose=None,
)

RULE_VERSION: Final = Layer(
    "rule_version",
    "Every version of every achievement that was ever deployed.",
    (
        Column("achievement", Kind.ID, "The achievement."),
        _RULE_VERSION,
        Column("scope", Kind.ID, "Whose it is; null where the version is no longer in the rules.", nullable=True),
        Column("tiers", Kind.JSON, "Its tiers in order, an array; null as above.", nullable=True),
        Column("repeats", Kind.BOOLEAN, "Whether it can be earned again; null as above.", nullable=True),
        Column("source", Kind.TEXT, "Its text."),
        Column("meaning", Kind.ID, "SHA-256 of what it means, in hexadecimal."),
        Column("starts_at", Kind.INSTANT, "Since when it judges; null: always.", nullable=True),
        Column("ends_at", Kind.INSTANT, "Until when it judges; null: without end.", nullable=True),
        Column("epoch", Kind.BIGINT, "The rule set that brought it."),
        Column("processing_time", Kind.INSTANT, "When it was deployed."),
        Column("applied_by", Kind.TEXT, "Who deployed it."),
        Column("retired_at", Kind.INSTANT, "When it left the rules; null: it is in force.", nullable=True),
    ),
    key=("achievement", "rule_version"),
    whose=None,
)

TRAIT: Final = Layer(
    "trait",
    "Values of traits, each with the moment since when it holds. `trait_span` has the end of each.",
    (
        _TENANT,
        _USER,
        Column("trait", Kind.ID, "The trait, such as `plan`."),
        Column("value", Kind.TEXT, "Its value, as text."),
        Column("event_type", Kind.ID, "The type of the event that brought it."),
        Column("event_time", Kind.INSTANT, "Since when it holds."),
        Column("processing_time", Kind.INSTANT, "When a worker took that event."),
        Column("deduplication_key", Kind.ID, "That event."),
    ),
    key=("tenant_id", "deduplication_key", "trait"),
    whose="user_id",
)

PROGRESS_DAILY: Final = Layer(
    "progress_daily",
    "Where each subject stands with each achievement, once a day: by the first run of a day, of all that have changed "
    "since the one before. The row of a subject holds until its next one.",
    (
        *_SUBJECT,
        *_RULE,
        _RULE_VERSION,
        _OCCURRENCE,
        Column("status", Kind.ID, "`locked`, `in_progress`, `settling`, `earned`, `contested` or `revoked`."),
        Column("percent", Kind.INTEGER, "How far, from 0 to 100; 100 for what is earned or settling alone."),
        Column("current_value", Kind.NUMBER, "How much is reached, where something is counted.", nullable=True),
        Column("target_value", Kind.NUMBER, "How much is asked for.", nullable=True),
        Column("times", Kind.INTEGER, "How many occurrences are earned."),
        Column("processing_time", Kind.INSTANT, "As of when."),
    ),
    key=("tenant_id", "scope", "subject", "achievement", "tier", "processing_time"),
    whose="user_id",
)

LAYERS: Final = (EVENT, EVALUATION, UNLOCK, FAILED_EVENT, RULE_VERSION, TRAIT, PROGRESS_DAILY)
BY_NAME: Final = {layer.name: layer for layer in LAYERS}

_LAST_CHANGE: Final = """
SELECT
    unlock_id, tenant_id, scope, subject, user_id, achievement, tier, occurrence, revision,
    CASE
        WHEN unlock_status = 'granted' AND announced_when IS NOT NULL THEN 'announced'
        ELSE unlock_status
    END AS unlock_status,
    rule_version, final, event_time, deduplication_key, processing_time, granted_at, announced_when AS announced_at,
    origin, reward
FROM (
    SELECT
        change_of.*,
        MAX(announced_at) OVER (
            PARTITION BY tenant_id, scope, subject, achievement, tier, occurrence) AS announced_when,
        ROW_NUMBER() OVER (
            PARTITION BY tenant_id, scope, subject, achievement, tier, occurrence
            ORDER BY COALESCE(evaluation_id, 0) DESC) AS nth
    FROM unlock AS change_of
) AS numbered
WHERE nth = 1 AND unlock_status <> 'withdrawn'
"""

VIEWS: Final = (
    View("unlock_now", "One row an unlock, as it stands: what `v_unlock` says in PostgreSQL.", _LAST_CHANGE.strip()),
    View(
        "unlock_event",
        "One row an unlock, with the event that earned it: all ten columns of a fact.",
        """
SELECT
    stands.user_id, stands.tenant_id, earned_by.event_type, stands.event_time, stands.processing_time,
    stands.rule_version, stands.unlock_status, earned_by.source, stands.deduplication_key, earned_by.payload,
    stands.scope, stands.subject, stands.achievement, stands.tier, stands.occurrence, stands.final, stands.origin,
    stands.granted_at, stands.announced_at, earned_by.processing_time AS received_at, earned_by.published_at,
    earned_by.region, earned_by.stream_seq
FROM unlock_now AS stands
LEFT JOIN event AS earned_by
    ON earned_by.tenant_id = stands.tenant_id AND earned_by.deduplication_key = stands.deduplication_key
""".strip(),
    ),
    View(
        "trait_span",
        "One row a value of a trait, with the moment when the next one follows: segments as of an event.",
        """
SELECT
    tenant_id, user_id, trait, value, event_time AS valid_from,
    LEAD(event_time) OVER (
        PARTITION BY tenant_id, user_id, trait ORDER BY event_time, deduplication_key) AS valid_until
FROM trait
""".strip(),
    ),
    View(
        "progress_now",
        "One row a subject, achievement and tier: where it stood last.",
        """
SELECT
    tenant_id, scope, subject, user_id, achievement, tier, rule_version, occurrence, status, percent, current_value,
    target_value, times, processing_time
FROM (
    SELECT
        of_day.*,
        ROW_NUMBER() OVER (
            PARTITION BY tenant_id, scope, subject, achievement, tier ORDER BY processing_time DESC) AS nth
    FROM progress_daily AS of_day
) AS numbered
WHERE nth = 1
""".strip(),
    ),
)
