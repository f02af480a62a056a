// Reads UNLOCKS by a durable consumer: npm install @nats-io/transport-node @nats-io/jetstream; NATS_URL=... node unlocks.mjs

import { AckPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";

const client = await connect({ servers: process.env.NATS_URL ?? "nats://localhost:4222" });
const manager = await jetstreamManager(client);
await manager.consumers.add("UNLOCKS", { durable_name: "mailer", ack_policy: AckPolicy.Explicit, filter_subject: "unlocks.>" });
const consumer = await jetstream(client).consumers.get("UNLOCKS", "mailer");
const latest = new Map(); // your table: unlock_id to the message with the highest revision

for await (const message of await consumer.consume({ max_messages: 100 })) {
  if (message.headers?.has("Nats-Msg-Id")) {
    const unlock = message.json();
    const known = latest.get(unlock.unlock_id);
    if (!known || unlock.revision > known.revision) latest.set(unlock.unlock_id, unlock);
    console.log(unlock.unlock_id, unlock.revision, unlock.kind);
  }
  message.ack(); // once the table has it
}
