// Publishes events to JetStream: npm install @nats-io/transport-node @nats-io/jetstream; NATS_URL=... node publish.mjs

import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { jetstream } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { eventSubject, messageId, token } from "./subjects.mjs";

/** Publishes one event; returns once the stream has it. */
async function publish(js, event) {
  const subject = eventSubject(event.tenant_id, event.user_id, event.event_type);
  await send(js, subject, event, { msgID: messageId(event.tenant_id, event.event_id) });
}

/** Publishes events of any users of one tenant as one message of at most 1 MiB. */
async function publishMany(js, tenant, events) {
  await send(js, `events.${token(tenant)}.~batch.batch`, events, {});
}

async function send(js, subject, body, options) {
  for (let delay = 100; ; delay = Math.min(2 * delay, 10_000)) {
    try {
      await js.publish(subject, JSON.stringify(body), options);
      return;
    } catch (error) {
      // It may have arrived or not: the same ids again do no harm.
      console.error(`not acknowledged, again in ${delay} ms: ${error.message}`);
      await pause(delay);
    }
  }
}

const client = await connect({ servers: process.env.NATS_URL ?? "nats://localhost:4222" });
const event = {
  event_id: randomUUID(), // made once, and kept over retries
  event_type: "lesson.completed",
  user_id: "ann@example.com",
  tenant_id: "acme.io",
  occurred_at: new Date().toISOString(),
  source: "app",
  payload: { lesson_id: "l1", duration_seconds: 600 },
};
const js = jetstream(client);
await publish(js, event);
await publishMany(js, "acme.io", ["ben", "zoë"].map((user_id) => ({ ...event, event_id: randomUUID(), user_id })));
await client.drain();
