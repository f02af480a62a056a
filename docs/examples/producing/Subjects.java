import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;

/** Subjects and message ids of events. */
public final class Subjects {
    private Subjects() {}

    /** Returns the subject of an event; throws for names that no event may have, and for those too long for a token. */
    public static String eventSubject(String tenant, String user, String type) {
        for (String name : List.of(tenant, user, type)) {
            int bytes = name.getBytes(StandardCharsets.UTF_8).length;
            if (bytes == 0 || bytes > 512 || !StandardCharsets.UTF_8.newEncoder().canEncode(name)) {
                throw new IllegalArgumentException("expected 1 to 512 bytes of UTF-8, got " + bytes);
            }
        }
        List<String> parts = Arrays.asList(type.split("\\.", -1));
        String end = parts.contains("")
            ? token(type)
            : parts.stream().map(Subjects::token).collect(Collectors.joining("."));
        return "events." + token(tenant) + "." + token(user) + "." + end;
    }

    /** Returns the Nats-Msg-Id of an event; empty where its id fits into no header. */
    public static Optional<String> messageId(String tenant, String eventId) {
        String id = token(tenant) + ":" + eventId;
        return id.matches("[!-~]([ -~]*[!-~])?") ? Optional.of(id) : Optional.empty();
    }

    /** Returns the one token of a subject that stands for a name. */
    public static String token(String name) {
        StringBuilder encoded = new StringBuilder();
        for (byte one : name.getBytes(StandardCharsets.UTF_8)) {
            char character = (char) (one & 0xff);
            boolean plain = character < 128 && (Character.isLetterOrDigit(character) || "_-".indexOf(character) >= 0);
            encoded.append(plain ? String.valueOf(character) : String.format("%%%02X", (int) character));
        }
        if (encoded.length() > 120) {
            // Then it is "~" and BLAKE2b-128, such as of Bouncy Castle: new Blake2bDigest(128).
            throw new IllegalArgumentException("too long for a token: " + encoded.length() + " characters");
        }
        return encoded.toString();
    }
}
