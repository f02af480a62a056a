// Subjects and message ids of events. `ach contract` writes the same for TypeScript, names too long for a token included.

const utf8 = new TextEncoder();

/** Returns the subject of an event. Throws for names that no event may have, and for those too long for a token. */
export function eventSubject(tenant, user, type) {
  for (const name of [tenant, user, type]) {
    const bytes = utf8.encode(name).length;
    if (bytes === 0 || bytes > 512) throw new RangeError(`expected 1 to 512 bytes, got ${bytes}`);
  }
  const parts = type.split(".");
  const end = parts.every((part) => part !== "") ? parts.map(token).join(".") : token(type);
  return `events.${token(tenant)}.${token(user)}.${end}`;
}

/** Returns the Nats-Msg-Id of an event; undefined where its id fits into no header. */
export function messageId(tenant, eventId) {
  const id = `${token(tenant)}:${eventId}`;
  return /^[!-~]([ -~]*[!-~])?$/.test(id) ? id : undefined;
}

export function token(name) {
  const hex = (character) => "%" + character.charCodeAt(0).toString(16).toUpperCase();
  const encoded = encodeURIComponent(name).replace(/[.!~*'()]/g, hex);
  if (encoded.length > 120) throw new RangeError("too long for a token: use the functions that `ach contract` writes");
  return encoded;
}
