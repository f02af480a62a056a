"""The server: which request goes to which function, and what is sent to the editor unasked. No error ends it.

Every function is called through `_answer`: what it raises is written to the editor's log, and the question goes
without an answer. Diagnostics follow a change after DELAY, or where the last check was a long one after as much again,
so that a burst of keystrokes costs one check; a question that comes earlier makes the check at once. Advice follows
when nothing has been typed for PAUSE.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar, cast

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer

from worker.distribution import release
from worker.lsp import completion, hover, lenses, navigation, outline, rename
from worker.lsp.actions import actions
from worker.lsp.colours import LEGEND, semantic_tokens
from worker.lsp.desk import Desk
from worker.lsp.formatting import formatting
from worker.lsp.problems import diagnostics
from worker.rulefiles import SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.lsp.rulebook import Rulebook

P = TypeVar("P")

DELAY: Final = 0.01
"""Seconds between a change and its diagnostics, at least."""
LONG: Final = 0.1
"""Seconds that a check takes, from which on the next one waits longer."""
LONGEST_DELAY: Final = 0.25
"""Seconds between a change and its diagnostics, at most, besides the check itself."""
PAUSE: Final = 0.3
"""Seconds without a change, after which advice is given."""
_REQUEST_FAILED: Final = -32803
_TRIGGERS: Final = ["=", "(", "[", "{", ",", ".", '"']

_FEATURES: Final = (
    (types.TEXT_DOCUMENT_HOVER, None, hover.hover),
    (types.TEXT_DOCUMENT_DEFINITION, None, navigation.definition),
    (types.TEXT_DOCUMENT_REFERENCES, None, navigation.references),
    (types.TEXT_DOCUMENT_DOCUMENT_HIGHLIGHT, None, navigation.highlights),
    (types.TEXT_DOCUMENT_PREPARE_RENAME, None, rename.prepare),
    (types.TEXT_DOCUMENT_RENAME, types.RenameOptions(prepare_provider=True), rename.rename),
    (types.TEXT_DOCUMENT_DOCUMENT_SYMBOL, None, outline.document_symbols),
    (types.WORKSPACE_SYMBOL, None, outline.workspace_symbols),
    (types.TEXT_DOCUMENT_FORMATTING, None, formatting),
    (
        types.TEXT_DOCUMENT_CODE_ACTION,
        types.CodeActionOptions(code_action_kinds=[types.CodeActionKind.QuickFix]),
        actions,
    ),
    (types.TEXT_DOCUMENT_CODE_LENS, types.CodeLensOptions(), lenses.lenses),
    (types.TEXT_DOCUMENT_SEMANTIC_TOKENS_FULL, LEGEND, semantic_tokens),
)
"""Each feature: its method, its options, and the function from the desk and the question to the answer."""


class Server:
    """The desk and the connection, and what has been said over it."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.connection = LanguageServer("ach", release(), text_document_sync_kind=types.TextDocumentSyncKind.Full)
        self._published: dict[str, tuple[list[types.Diagnostic], int | None]] = {}
        self._versions: dict[str, int] = {}
        self._uris_of: dict[Rulebook, set[str]] = {}
        self._changed: dict[Rulebook, None] = {}
        self._waiting: asyncio.TimerHandle | None = None
        self._unadvised: dict[Rulebook, None] = {}
        self._pausing: asyncio.TimerHandle | None = None
        self._delay = DELAY
        self._register()

    def _register(self) -> None:
        for method, options, function in _FEATURES:
            self._on(method, partial(cast("Callable[[Desk, object], object]", function), self.desk), options)
        self._on(types.TEXT_DOCUMENT_COMPLETION, self._complete, types.CompletionOptions(_TRIGGERS))
        self._on(types.INITIALIZE, self._initialize)
        self._on(types.INITIALIZED, self._initialized)
        self._on(types.TEXT_DOCUMENT_DID_OPEN, self._open)
        self._on(types.TEXT_DOCUMENT_DID_CHANGE, self._change)
        self._on(types.TEXT_DOCUMENT_DID_CLOSE, self._close)
        self._on(types.WORKSPACE_DID_CHANGE_WATCHED_FILES, self._watched)
        self._on(types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS, self._folders)

        # The command's parameters are read from the annotations, and only a function can be registered.
        def run(uri: str, number: int) -> object:
            return self._answer(lenses.RUN, partial(self._run_example, uri, number))

        self.connection.command(lenses.RUN)(run)

    def _on(self, method: str, function: Callable[[P], object], options: object = None) -> None:
        def answered(params: P) -> object:
            return self._answer(method, partial(function, params))

        self.connection.feature(method, options)(answered)

    def _answer(self, what: str, function: Callable[[], object]) -> object:
        """Return an answer, or none where the function fails: nothing that is asked may end the server."""
        try:
            return function()
        except rename.RefusedError as refused:
            raise JsonRpcException(str(refused), _REQUEST_FAILED) from refused
        except Exception as error:  # noqa: BLE001 - see above
            self._log(f"{what}: {type(error).__name__}: {error}")
            return None

    def _log(self, text: str) -> None:
        self.connection.window_log_message(types.LogMessageParams(types.MessageType.Error, text))

    # -- the begin ----------------------------------------------------------------------------------------------------

    def _initialize(self, params: types.InitializeParams) -> None:
        self.desk.encoding = self.connection.workspace.position_encoding or self.desk.encoding
        self.desk.rule_sets = _rule_sets(params.initialization_options)
        folders = [folder.uri for folder in params.workspace_folders or []]
        for uri in folders or [uri for uri in (params.root_uri,) if uri]:
            self.desk.add_folder(uri)

    def _initialized(self, _params: types.InitializedParams) -> None:
        if self._can_watch():
            watching = {"watchers": [{"globPattern": f"**/*{SUFFIX}"}]}
            asked = types.Registration("watched", types.WORKSPACE_DID_CHANGE_WATCHED_FILES, watching)
            self.connection.client_register_capability(types.RegistrationParams([asked]))
        for book in self.desk.books():
            self._touch(book)

    def _can_watch(self) -> bool:
        workspace = self.connection.client_capabilities.workspace
        watching = None if workspace is None else workspace.did_change_watched_files
        return watching is not None and bool(watching.dynamic_registration)

    # -- files --------------------------------------------------------------------------------------------------------

    def _open(self, params: types.DidOpenTextDocumentParams) -> None:
        document = params.text_document
        self._versions[document.uri] = document.version
        self._touch(self.desk.open(document.uri, document.text))

    def _change(self, params: types.DidChangeTextDocumentParams) -> None:
        document = params.text_document
        self._versions[document.uri] = document.version
        text = self.connection.workspace.get_text_document(document.uri).source
        self._touch(self.desk.open(document.uri, text))

    def _close(self, params: types.DidCloseTextDocumentParams) -> None:
        self._versions.pop(params.text_document.uri, None)
        self._touch(self.desk.open(params.text_document.uri, None))

    def _watched(self, params: types.DidChangeWatchedFilesParams) -> None:
        for change in params.changes:
            self._touch(self.desk.read(change.uri))

    def _folders(self, params: types.DidChangeWorkspaceFoldersParams) -> None:
        for folder in params.event.removed:
            self.desk.remove_folder(folder.uri)
        for folder in params.event.added:
            self.desk.add_folder(folder.uri)
        for book in self.desk.books():
            self._touch(book)

    # -- diagnostics --------------------------------------------------------------------------------------------------

    def _touch(self, book: Rulebook) -> None:
        """Publish the problems of a rule set soon; a further change puts that off."""
        self._changed[book] = None
        for timer in (self._waiting, self._pausing):
            if timer is not None:
                timer.cancel()
        self._waiting = asyncio.get_running_loop().call_later(self._delay, self._tell_changed)

    def _tell_changed(self) -> None:
        changed, self._changed = list(self._changed), {}
        began = time.perf_counter()
        for book in changed:
            self._answer("diagnostics", partial(self._publish, book))
        took = time.perf_counter() - began
        self._delay = DELAY if took < LONG else min(took, LONGEST_DELAY)
        self._unadvised.update(dict.fromkeys(changed))
        self._pausing = asyncio.get_running_loop().call_later(PAUSE, self._advise)

    def _advise(self) -> None:
        unadvised, self._unadvised = list(self._unadvised), {}
        for book in unadvised:
            self._answer("advice", partial(self._tell_advice, book))

    def _tell_advice(self, book: Rulebook) -> None:
        edition = book.edition()
        if not edition.advised:
            edition.advise()
            self._publish(book)

    def _publish(self, book: Rulebook) -> None:
        """Publish the problems of the files of a rule set whose problems, or text, have changed since the last time."""
        found = diagnostics(self.desk, book.edition())
        before = self._uris_of.get(book, set())
        for uri in sorted(before | set(found)):
            latest = found.get(uri, []), self._versions.get(uri)
            if latest != self._published.get(uri, ([], None)):
                self._published[uri] = latest
                self.connection.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, *latest))
        self._uris_of[book] = set(found)

    # -- what only the connection knows -------------------------------------------------------------------------------

    def _complete(self, params: types.CompletionParams) -> types.CompletionList | None:
        document = self.connection.client_capabilities.text_document
        asked = None if document is None or document.completion is None else document.completion.completion_item
        return completion.completion(self.desk, params, snippets=asked is not None and bool(asked.snippet_support))

    def _run_example(self, uri: str, number: int) -> dict[str, object]:
        """Run an example, and show the result in its lens, in its diagnostics, and to the user who asked."""
        said = lenses.run(self.desk, uri, number)
        if isinstance(said, str):
            self.connection.window_show_message(types.ShowMessageParams(types.MessageType.Warning, said))
            return {"passed": False, "failures": [said]}
        self._touch(self.desk.book(uri))
        workspace = self.connection.client_capabilities.workspace
        if workspace is not None and workspace.code_lens is not None and workspace.code_lens.refresh_support:
            self.connection.workspace_code_lens_refresh(None)
        failures = [f"expected: {failure.expected}; got: {failure.got}" for failure in said.failures]
        return {"passed": not failures, "failures": failures}


def _rule_sets(options: object) -> list[str]:
    """Return `ruleSets` of the initialization options, which are whatever the editor sends."""
    found = cast("dict[str, object]", options).get("ruleSets") if isinstance(options, dict) else None
    return [each for each in cast("list[object]", found) if isinstance(each, str)] if isinstance(found, list) else []


def serve() -> None:
    """Serve an editor over standard input and output until it says to end, or goes away."""
    Server().connection.start_io()
