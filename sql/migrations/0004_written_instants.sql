-- An instant as it was written is kept where it says more than occurred_at does: nearly all are written the same way.

ALTER TABLE event ALTER COLUMN occurred_at_text DROP NOT NULL;
COMMENT ON COLUMN event.occurred_at_text IS
    'occurred_at as the producer wrote it; null where that was in UTC and to the microsecond.';
