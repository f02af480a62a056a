"""Pin the images of deploy/ by the digests that their tags have now. It needs skopeo and the registries.

python -m release.pin [--check]
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT: Final = Path(__file__).parents[1]
FILES: Final = ("deploy/Containerfile", "deploy/compose.yaml", "deploy/kubernetes/base/kustomization.yaml")
_SECONDS: Final = 120
_DIGEST: Final = r"sha256:[0-9a-f]{64}"
_REFERENCE: Final = re.compile(rf"(?<![\w./])(?<!\w-)((?:\w[\w-]*\.)+[\w-]+/[\w./-]+:[\w.-]+)(?:@{_DIGEST})?")
"""Of a registry, with a tag; perhaps with a digest of before."""
_KUSTOMIZED: Final = re.compile(rf'(newName: ([\w./-]+), newTag: "?([\w.-]+)"?)(?:, digest: "{_DIGEST}")?')
_OURS: Final = "registry.example.com/"
"""The image that a release makes, which only its operator knows."""


def main() -> None:
    """Write the digests into the files; with --check, name what has none and exit with 1."""
    texts = {name: (ROOT / name).read_text() for name in FILES}
    if sys.argv[1:] == ["--check"]:
        missing = sorted({one for text in texts.values() for one in unpinned(text)})
        sys.exit("\n".join(f"not pinned: {one}" for one in missing) if missing else 0)
    if not shutil.which("skopeo"):
        sys.exit(
            "error: skopeo is missing, which asks a registry for a digest; on Debian or Ubuntu: apt install skopeo"
        )
    known: dict[str, str] = {}

    def digest(reference: str) -> str:
        if reference not in known:
            known[reference] = ask(reference)
            print(f"{reference}@{known[reference]}")
        return known[reference]

    written = {name: pinned(text, digest) for name, text in texts.items()}
    for name, text in written.items():
        (ROOT / name).write_text(text)


def ask(reference: str) -> str:
    """Return the digest that a tag has in its registry."""
    command = ["skopeo", "inspect", "--no-tags", "--format", "{{.Digest}}", f"docker://{reference}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        sys.exit(f"error: no answer about {reference} within {_SECONDS} seconds; nothing was changed")
    if done.returncode or not re.fullmatch(_DIGEST, said := done.stdout.strip()):
        last = done.stderr.strip().rpartition("\n")[2] or "no digest"
        sys.exit(f"error: no digest of {reference}: {last}; nothing was changed")
    return said


def pinned(text: str, digest: Callable[[str], str]) -> str:
    """Return a text in which each image has its digest; the tag stays, for people to read."""
    text = _KUSTOMIZED.sub(lambda one: _with_digest(one, digest), text)
    return _REFERENCE.sub(lambda one: f"{one[1]}@{digest(one[1])}", text)


def unpinned(text: str) -> list[str]:
    """Return the images that have no digest."""
    kustomized = [
        f"{one[2]}:{one[3]}" for one in _KUSTOMIZED.finditer(text) if _foreign(one) and "digest" not in one[0]
    ]
    return kustomized + [one[1] for one in _REFERENCE.finditer(text) if "@" not in one[0]]


def _with_digest(one: re.Match[str], digest: Callable[[str], str]) -> str:
    return f'{one[1]}, digest: "{digest(f"{one[2]}:{one[3]}")}"' if _foreign(one) else one[0]


def _foreign(one: re.Match[str]) -> bool:
    return not one[2].startswith(_OURS)


if __name__ == "__main__":
    main()
