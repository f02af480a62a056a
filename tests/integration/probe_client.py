"""Asking a port of probes."""

from __future__ import annotations

import anyio


async def get(port: int, path: str, request: bytes | None = None) -> tuple[int, str]:
    async with await anyio.connect_tcp("127.0.0.1", port) as client:
        await client.send(request or f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = b""
        with anyio.fail_after(5):
            while True:
                try:
                    answer += await client.receive()
                except anyio.EndOfStream:
                    break
    head, _, body = answer.decode().partition("\r\n\r\n")
    return int(head.split(" ")[1]), body
