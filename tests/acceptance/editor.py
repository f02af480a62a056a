"""An editor for tests: `ach lsp` as a process, and the protocol spoken to it in plain JSON, as editors do.

It waits for messages, never for time to pass; what does not come within SECONDS is a failure.
"""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import IO, Self

Json: TypeAlias = Any
SECONDS = 60.0
"""Until a message counts as never sent."""

CAPABILITIES: Json = {
    "general": {"positionEncodings": ["utf-16"]},
    "workspace": {
        "workspaceFolders": True,
        "codeLens": {"refreshSupport": True},
        "didChangeWatchedFiles": {"dynamicRegistration": True},
    },
    "textDocument": {
        "completion": {"completionItem": {"snippetSupport": True}},
        "rename": {"prepareSupport": True},
    },
}


class RefusedError(Exception):
    """The server answered with an error."""


class Editor:
    """A connection to a server of its own."""

    def __init__(self, command: list[str], folder: Path, **initialize: Json) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=folder
        )
        self._arrived: queue.Queue[Json] = queue.Queue()
        self._kept: list[Json] = []
        self._number = 0
        self.capabilities: Json = {}
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()
        self._initialize = {"processId": None, "rootUri": None, "capabilities": CAPABILITIES, **initialize}

    # -- messages --

    def _listen(self) -> None:
        stream = self.process.stdout
        assert stream is not None
        while (message := _read(stream)) is not None:
            self._arrived.put(message)
        self._arrived.put(None)

    def _send(self, message: Json) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        self.process.stdin.flush()

    def notify(self, method: str, params: Json) -> None:
        self._send({"method": method, "params": params})

    def request(self, method: str, params: Json) -> Json:
        """Ask, and return the answer."""
        self._number += 1
        number = self._number
        self._send({"id": number, "method": method, "params": params})
        answer = self.wait(lambda message: message.get("id") == number and "method" not in message)
        if "error" in answer:
            raise RefusedError(answer["error"]["message"])
        return answer.get("result")

    def wait(self, wanted: Callable[[Json], bool]) -> Json:
        """Return the first message that is wanted, of those that came unasked and those to come."""
        for at, message in enumerate(self._kept):
            if wanted(message):
                return self._kept.pop(at)
        while True:
            message = self._arrived.get(timeout=SECONDS)
            assert message is not None, "the server went away"
            if "id" in message and "method" in message:
                self._send({"id": message["id"], "result": None})
            if wanted(message):
                return message
            self._kept.append(message)

    def wait_for(self, method: str) -> Json:
        """Return the parameters of the next message of a method."""
        return self.wait(lambda message: message.get("method") == method).get("params")

    # -- the end --

    def __enter__(self) -> Self:
        try:
            self.capabilities = self.request("initialize", self._initialize)["capabilities"]
            self.notify("initialized", {})
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_failure: object) -> None:
        self.process.kill()
        self.process.wait()
        self._listening.join()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()

    def end(self) -> int:
        """Say goodbye as the protocol wants it; return the exit code."""
        self.request("shutdown", None)
        self.notify("exit", None)
        return self.process.wait(SECONDS)


def _read(stream: IO[bytes]) -> Json:
    length = 0
    while line := stream.readline():
        if line == b"\r\n":
            return json.loads(stream.read(length))
        name, _, value = line.decode("ascii").partition(":")
        if name.lower() == "content-length":
            length = int(value)
    return None


class Place(NamedTuple):
    """A position in a document."""

    uri: str
    line: int
    character: int

    @property
    def params(self) -> Json:
        return {
            "textDocument": {"uri": self.uri},
            "position": {"line": self.line, "character": self.character},
        }


class Document:
    """A file that is open in an editor. `|` marks places in what is asked: it is no part of the language."""

    def __init__(self, editor: Editor, path: Path, text: str) -> None:
        self.editor = editor
        self.uri = path.as_uri()
        self.text = text
        self.version = 1
        document = {"uri": self.uri, "languageId": "ach", "version": 1, "text": text}
        editor.notify("textDocument/didOpen", {"textDocument": document})

    def change(self, text: str) -> None:
        self.text = text
        self.version += 1
        document = {"uri": self.uri, "version": self.version}
        self.editor.notify("textDocument/didChange", {"textDocument": document, "contentChanges": [{"text": text}]})

    def close(self) -> None:
        self.editor.notify("textDocument/didClose", {"textDocument": {"uri": self.uri}})

    def problems(self) -> list[Json]:
        """Return the diagnostics of the text as it is now."""

        def wanted(message: Json) -> bool:
            if message.get("method") != "textDocument/publishDiagnostics":
                return False
            return message["params"]["uri"] == self.uri and message["params"].get("version") == self.version

        return self.editor.wait(wanted)["params"]["diagnostics"]

    def at(self, marked: str) -> Place:
        """Return the place of the `|` in a piece of the text."""
        before, _, after = marked.partition("|")
        offset = self.text.index(before + after) + len(before)
        return self._place(offset)

    def _place(self, offset: int) -> Place:
        lines = self.text[:offset].split("\n")
        return Place(self.uri, len(lines) - 1, len(lines[-1].encode("utf-16-le")) // 2)

    def ask(self, method: str, marked: str, **more: Json) -> Json:
        """Ask something about a place."""
        return self.editor.request(f"textDocument/{method}", {**self.at(marked).params, **more})

    def ask_whole(self, method: str, **more: Json) -> Json:
        """Ask something about the document."""
        return self.editor.request(f"textDocument/{method}", {"textDocument": {"uri": self.uri}, **more})

    def applied(self, edits: list[Json]) -> str:
        """Return the text with edits applied."""
        text = self.text
        for edit in sorted(edits, key=lambda edit: _order(edit["range"]["start"]), reverse=True):
            start, end = (self.offset(edit["range"][side]) for side in ("start", "end"))
            text = text[:start] + edit["newText"] + text[end:]
        return text

    def offset(self, position: Json) -> int:
        number, column = _order(position)
        lines = self.text.split("\n")
        before = lines[number].encode("utf-16-le")[: column * 2].decode("utf-16-le")
        return sum(len(line) + 1 for line in lines[:number]) + len(before)

    def text_of(self, where: Json) -> str:
        """Return the text of a range."""
        return self.text[self.offset(where["start"]) : self.offset(where["end"])]


def _order(position: Json) -> tuple[int, int]:
    return position["line"], position["character"]
