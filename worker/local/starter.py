"""The files that a folder of rules begins with: rules with an example, a recorded stream, and a check for CI."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from pathlib import Path

CI = Literal["github", "gitlab", "none"]
_FILES: Final = {
    "rules/lessons.ach": "rules/lessons.ach",
    "events.jsonl": "events.jsonl",
    "expected.json": "expected.json",
    ".gitignore": "gitignore.txt",
}
"""Where each file belongs in the new folder, and its name among ours."""
_OF_CI: Final[dict[CI, dict[str, str]]] = {
    "github": {".github/workflows/rules.yml": "ci/github.yml"},
    "gitlab": {".gitlab-ci.yml": "ci/gitlab.yml"},
    "none": {},
}


def starter(ci: CI) -> dict[str, bytes]:
    """Return the contents of the files of a new folder, by their paths in it."""
    ours = files(__name__.rpartition(".")[0]) / "starter_files"
    return {path: (ours / name).read_bytes() for path, name in (_FILES | _OF_CI[ci]).items()}


def write_starter(folder: Path, ci: CI) -> tuple[list[str], list[str]]:
    """Write the files that a folder does not have; return the paths of those written, and of those that were there.

    Raises:
        OSError: a file cannot be written.
    """
    written: list[str] = []
    kept: list[str] = []
    for path, content in starter(ci).items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            with place.open("xb") as file:
                file.write(content)
        except FileExistsError:
            kept.append(path)
        else:
            written.append(path)
    return written, kept
