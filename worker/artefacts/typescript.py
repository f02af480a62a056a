"""Types of TypeScript for a rule set's events, and functions for their subjects. Pure.

The functions need no package and no version of Node.js: also BLAKE2b is there, which Node.js has in one length alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsl.types import FieldType
from worker.artefacts.described import FIELDS, GENERATED, about, about_field, filled
from worker.artefacts.names import names_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dsl.schema import EventSchema, Field
    from worker.artefacts.names import Names

_TYPES: Final = {
    FieldType.STRING: "string",
    FieldType.INT: "number",
    FieldType.DECIMAL: "Exact",
    FieldType.BOOL: "boolean",
    FieldType.TIMESTAMP: "Instant",
    FieldType.USER: "string",
    FieldType.STRINGS: "string[]",
    FieldType.INTS: "number[]",
    FieldType.DECIMALS: "Exact[]",
    FieldType.USERS: "string[]",
}


def module(events: Mapping[str, EventSchema], *, prefix: str) -> str:
    """Return the module's text; `prefix` is that of the input subjects."""
    names = names_of(events)
    types = "".join(_event(events[name], names[name]) for name in sorted(events))
    every = "".join(f"\n  | {names[name].event}" for name in sorted(events))
    union = f"/** An event of any declared type. */\nexport type AnyEvent ={every};\n"
    return f"// {GENERATED}\n{_HEAD}{types}\n{union}{filled(_FUNCTIONS, prefix)}"


def _event(schema: EventSchema, names: Names) -> str:
    fields = "".join(_property(field) for field in schema.fields.values())
    needs = any(not field.optional for field in schema.fields.values())
    said = f" {text}" if (text := about(schema)) else ""
    payload = (
        f"interface {names.payload} {{\n{fields}}}" if fields else f"type {names.payload} = Record<string, never>;"
    )
    optional = "" if needs else ", true"
    return (
        f"\nexport {payload}\n"
        f"\n/** `{schema.name}`.{said} */\n"
        f'export type {names.event} = Envelope<"{schema.name}", {names.payload}{optional}>;\n'
    )


def _property(field: Field) -> str:
    mark, null = ("?", " | null") if field.optional else ("", "")
    return f"  /** {about_field(field)} */\n  {field.name}{mark}: {_TYPES[field.type]}{null};\n"


_HEAD: Final = f"""
/** RFC 3339 with an offset, such as `new Date().toISOString()`. */
export type Instant = string;

/** A number, or a string with one in it, which stays exact: "19.90". */
export type Exact = number | string;

/** An event; its payload may be left out where no field of it is required. */
export type Envelope<Type extends string, Payload, Optional extends boolean = false> = {{
  /** {FIELDS["event_id"]} */
  event_id: string;
  event_type: Type;
  /** {FIELDS["user_id"]} */
  user_id: string;
  /** {FIELDS["tenant_id"]} */
  tenant_id: string;
  /** {FIELDS["occurred_at"]} */
  occurred_at: Instant;
  /** {FIELDS["source"]} */
  source?: string | null;
}} & (Optional extends true ? {{ payload?: Payload | null }} : {{ payload: Payload }});
"""


_FUNCTIONS: Final = r"""
const utf8 = new TextEncoder();

/** Returns the subject that an event is published on. Throws an error for names that no event may have. */
export function eventSubject(event: { tenant_id: string; user_id: string; event_type: string }): string {
  for (const name of [event.tenant_id, event.user_id, event.event_type]) {
    const bytes = utf8.encode(name).length;
    if (bytes === 0 || bytes > MAX_ID) throw new RangeError(`expected 1 to MAX_ID bytes, got ${bytes}`);
  }
  return `PREFIX.${token(event.tenant_id)}.${token(event.user_id)}.${typeTokens(event.event_type)}`;
}

/** Returns the subject for events of many users of a tenant: one event or an array of events in each message. */
export function batchSubject(tenant: string): string {
  return `PREFIX.${token(tenant)}.~batch.batch`;
}

/** Returns the `Nats-Msg-Id` by which the broker drops copies; undefined where an id fits into no header. */
export function messageId(event: { tenant_id: string; event_id: string }): string | undefined {
  const id = `${token(event.tenant_id)}:${event.event_id}`;
  return /^[!-~]([ -~]*[!-~])?$/.test(id) ? id : undefined;
}

/** Returns the one token of a subject that stands for a name. */
export function token(name: string): string {
  const hex = (character: string) => "%" + character.charCodeAt(0).toString(16).toUpperCase();
  const encoded = encodeURIComponent(name).replace(/[.!~*'()]/g, hex);
  return encoded.length <= MAX_TOKEN ? encoded : "~" + blake2b(utf8.encode(name), 16);
}

function typeTokens(eventType: string): string {
  const parts = eventType.split(".");
  return parts.every((part) => part !== "") ? parts.map(token).join(".") : token(eventType);
}

/** Returns BLAKE2b (RFC 7693) without a key, in hexadecimal digits; `size` is in bytes. */
function blake2b(input: Uint8Array, size: number): string {
  const begin = [
    0x6a09e667f3bcc908n, 0xbb67ae8584caa73bn, 0x3c6ef372fe94f82bn, 0xa54ff53a5f1d36f1n,
    0x510e527fade682d1n, 0x9b05688c2b3e6c1fn, 0x1f83d9abfb41bd6bn, 0x5be0cd19137e2179n,
  ];
  const orders = [
    "0123456789abcdef", "ea489fd61c02b753", "b8c052fdae367194", "7931dcbe265a40f8", "905724afe1bc683d",
    "2c6a0b834d75fe19", "c51fed4a0763928b", "db7ec13950f4862a", "6fe9b308c2d714a5", "a2847615fb9e3cd0",
  ];
  const places = ["048c", "159d", "26ae", "37bf", "05af", "16bc", "278d", "349e"];
  const digits = (text: string) => Array.from(text, (digit) => parseInt(digit, 16));
  const word = (value: bigint) => BigInt.asUintN(64, value);
  const turned = (value: bigint, by: bigint) => word((value >> by) | (value << (64n - by)));
  const state = begin.slice();
  state[0] = state[0]! ^ 0x01010000n ^ BigInt(size);
  const blocks = Math.max(1, Math.ceil(input.length / 128));
  for (let number = 0; number < blocks; number++) {
    const block = new Uint8Array(128);
    block.set(input.subarray(128 * number, 128 * (number + 1)));
    const view = new DataView(block.buffer);
    const said = Array.from({ length: 16 }, (_, at) => view.getBigUint64(8 * at, true));
    const v = [...state, ...begin];
    v[12] = v[12]! ^ BigInt(Math.min(input.length, 128 * (number + 1)));
    if (number === blocks - 1) v[14] = word(~v[14]!);
    for (let round = 0; round < 12; round++) {
      const order = digits(orders[round % 10]!);
      places.forEach((place, step) => {
        const [a, b, c, d] = digits(place) as [number, number, number, number];
        for (const half of [0, 1]) {
          v[a] = word(v[a]! + v[b]! + said[order[2 * step + half]!]!);
          v[d] = turned(v[d]! ^ v[a]!, half === 0 ? 32n : 16n);
          v[c] = word(v[c]! + v[d]!);
          v[b] = turned(v[b]! ^ v[c]!, half === 0 ? 24n : 63n);
        }
      });
    }
    state.forEach((value, at) => (state[at] = value ^ v[at]! ^ v[at + 8]!));
  }
  const out = new DataView(new ArrayBuffer(64));
  state.forEach((value, at) => out.setBigUint64(8 * at, value, true));
  const bytes = new Uint8Array(out.buffer).subarray(0, size);
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
"""
