#!/bin/sh
# ACH_INGEST_KEY=... sh curl.sh; an answer of 202 says that the stream has the event. Again with the same ids does no harm.
set -eu
url=${INGEST_URL:-http://localhost:8090}/v1/events
now=$(date -u +%Y-%m-%dT%H:%M:%SZ)

# An event of ours; an array of them, or JSON Lines (application/x-ndjson), works alike.
curl --fail-with-body --retry 5 --retry-all-errors "$url" \
  -H "Authorization: Bearer $ACH_INGEST_KEY" -H 'Content-Type: application/json' \
  -d '{"event_id": "lesson-l1-ann", "event_type": "lesson.completed", "user_id": "ann@example.com",
       "tenant_id": "acme.io", "occurred_at": "'"$now"'", "payload": {"lesson_id": "l1", "duration_seconds": 600}}'

# A CloudEvent. Its event id is `/app#lesson-l2-ann`, and the key says the tenant.
curl --fail-with-body --retry 5 --retry-all-errors "$url" \
  -H "Authorization: Bearer $ACH_INGEST_KEY" -H 'Content-Type: application/cloudevents+json' \
  -d '{"specversion": "1.0", "id": "lesson-l2-ann", "source": "/app", "type": "lesson.completed",
       "subject": "ann@example.com", "time": "'"$now"'", "data": {"lesson_id": "l2", "duration_seconds": 600}}'
