// go get github.com/nats-io/nats.go golang.org/x/crypto; NATS_URL=... go run publish.go
package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/crypto/blake2b"
)

// Event is one event; its payload has the declared fields of its type.
type Event struct {
	ID         string         `json:"event_id"`
	Type       string         `json:"event_type"`
	User       string         `json:"user_id"`
	Tenant     string         `json:"tenant_id"`
	OccurredAt time.Time      `json:"occurred_at"`
	Source     string         `json:"source,omitempty"`
	Payload    map[string]any `json:"payload,omitempty"`
}

// Subject returns the subject of an event, or an error for names that no event may have.
func Subject(tenant, user, kind string) (string, error) {
	for _, name := range []string{tenant, user, kind} {
		if name == "" || len(name) > 512 || !utf8.ValidString(name) {
			return "", fmt.Errorf("expected 1 to 512 bytes of UTF-8, got %d", len(name))
		}
	}
	parts := strings.Split(kind, ".")
	for at, part := range parts {
		if part == "" {
			parts = []string{token(kind)}
			break
		}
		parts[at] = token(part)
	}
	return "events." + token(tenant) + "." + token(user) + "." + strings.Join(parts, "."), nil
}

// MessageID returns the Nats-Msg-Id of an event, "" where its id fits into no header.
func MessageID(tenant, id string) string {
	text := token(tenant) + ":" + id
	if strings.TrimSpace(text) != text || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return ""
	}
	return text
}

func token(name string) string {
	var encoded strings.Builder
	for _, one := range []byte(name) {
		switch {
		case 'a' <= one && one <= 'z', 'A' <= one && one <= 'Z', '0' <= one && one <= '9', one == '_', one == '-':
			encoded.WriteByte(one)
		default:
			fmt.Fprintf(&encoded, "%%%02X", one)
		}
	}
	if encoded.Len() <= 120 {
		return encoded.String()
	}
	hash, _ := blake2b.New(16, nil)
	hash.Write([]byte(name))
	return "~" + hex.EncodeToString(hash.Sum(nil))
}

// Publish returns once the stream has the event.
func Publish(ctx context.Context, js jetstream.JetStream, event Event) error {
	subject, err := Subject(event.Tenant, event.User, event.Type)
	if err != nil {
		return err
	}
	body, err := json.Marshal(event)
	if err != nil {
		return err
	}
	message := &nats.Msg{Subject: subject, Data: body, Header: nats.Header{}}
	if id := MessageID(event.Tenant, event.ID); id != "" {
		message.Header.Set("Nats-Msg-Id", id)
	}
	for delay := 100 * time.Millisecond; ; delay = min(2*delay, 10*time.Second) {
		if _, err = js.PublishMsg(ctx, message); err == nil {
			return nil
		}
		// It may have arrived or not: the same ids again do no harm.
		select {
		case <-ctx.Done():
			return err
		case <-time.After(delay):
		}
	}
}

func main() {
	url := os.Getenv("NATS_URL")
	if url == "" {
		url = nats.DefaultURL
	}
	client, err := nats.Connect(url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Drain()
	js, err := jetstream.New(client)
	if err != nil {
		log.Fatal(err)
	}
	event := Event{
		ID: "lesson-l1-ann", Type: "lesson.completed", User: "ann@example.com", Tenant: "acme.io",
		OccurredAt: time.Now(), Payload: map[string]any{"lesson_id": "l1", "duration_seconds": 600},
	}
	if err := Publish(context.Background(), js, event); err != nil {
		log.Fatal(err)
	}
}
