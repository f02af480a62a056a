// With io.nats:jnats on the class path: javac Subjects.java Publish.java && NATS_URL=... java Publish

import io.nats.client.Connection;
import io.nats.client.JetStream;
import io.nats.client.JetStreamApiException;
import io.nats.client.Nats;
import io.nats.client.PublishOptions;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.UUID;

public final class Publish {
    public static void main(String[] args) throws Exception {
        String url = System.getenv().getOrDefault("NATS_URL", "nats://localhost:4222");
        try (Connection client = Nats.connect(url)) {
            String id = UUID.randomUUID().toString(); // made once, and kept over retries
            String body = """
                {"event_id": "%s", "event_type": "lesson.completed", "user_id": "ann@example.com", "tenant_id": "acme.io",
                 "occurred_at": "%s", "payload": {"lesson_id": "l1", "duration_seconds": 600}}
                """.formatted(id, Instant.now());
            PublishOptions.Builder options = PublishOptions.builder();
            Subjects.messageId("acme.io", id).ifPresent(options::messageId);
            String subject = Subjects.eventSubject("acme.io", "ann@example.com", "lesson.completed");
            send(client.jetStream(), subject, body.getBytes(StandardCharsets.UTF_8), options.build());
        }
    }

    /** Returns once the stream has the message. */
    static void send(JetStream stream, String subject, byte[] body, PublishOptions options) throws InterruptedException {
        for (long delay = 100; ; delay = Math.min(2 * delay, 10_000)) {
            try {
                stream.publish(subject, body, options);
                return;
            } catch (IOException | JetStreamApiException notAcknowledged) {
                // It may have arrived or not: the same ids again do no harm.
                Thread.sleep(delay);
            }
        }
    }
}
