"""The image of deploy/Containerfile, built without a registry, and its processes without an engine for containers.

The base is Debian 13 with its own Python in place of the official image of Python; pip finds its packages in a folder.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from release.binary import installer
from tests.kit.debian import KEPT, ROOT, base, kept, locked, need, run

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Generator, Mapping

    from anyio.abc import Process

BASE: Final = "localhost/ach-base"
IMAGE: Final = "localhost/ach"
STORE: Final = ("--root", str(KEPT / "storage"), "--runroot", str(KEPT / "storage-run"))
LOCKS: Final = ("requirements-build.lock", "requirements-worker.lock")
_PIP: Final = "[global]\nno-index = true\nfind-links = /wheels\n"
_ENTER: Final = """
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
mount -t proc proc "$1/proc"
mount --bind /dev "$1/dev"
root=$1
shift
exec chroot "$root" setpriv --reuid=65532 --regid=65532 --clear-groups --no-new-privs --bounding-set=-all \\
    --inh-caps=-all env -C /rules -i "$@"
"""


def buildah(*args: str | Path) -> str:
    """Run buildah on images of the tests alone."""
    return run(["buildah", *STORE, *args])


def build() -> dict[str, Any]:
    """Build the image as deploy/Containerfile says, and return what buildah says of it."""
    need("buildah", "debootstrap")
    with locked("image"):
        if not buildah("images", "--quiet", "--filter", f"reference={BASE}"):
            working = buildah("from", "scratch").strip()
            buildah("add", "--quiet", working, base(), "/")
            buildah("commit", "--quiet", "--rm", working, BASE)
        (KEPT / "pip.conf").write_text(_PIP)
        volumes = (f"{KEPT / 'pip.conf'}:/etc/pip.conf:ro", f"{wheels()}:/wheels:ro")
        buildah(
            *("bud", "--isolation", "chroot", "--format", "docker", "--pull-never", "--quiet"),
            *(f"--volume={one}" for one in volumes),
            *(f"--build-arg={one}" for one in (f"PYTHON_IMAGE={BASE}", "VERSION=0.0.1", "REVISION=abc")),
            *("--file", ROOT / "deploy" / "Containerfile", "--tag", IMAGE, ROOT),
        )
    return json.loads(buildah("inspect", "--type", "image", IMAGE))["Docker"]


def wheels() -> Path:
    """Return a folder with the packages of the lock files for the Python of the base, which pip fetches here."""
    locks = [ROOT / name for name in LOCKS]
    digest = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()
    return kept(f"wheels-{digest[:16]}", partial(_fetch, locks))


def _fetch(locks: list[Path], folder: Path) -> None:
    (version,) = (base() / "usr/lib").glob("python3.*/ensurepip")
    number = version.parent.name.removeprefix("python")
    platforms = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_34_x86_64")
    abis = (f"cp{number.replace('.', '')}", "abi3", "none")
    run(
        [
            *(installer(), "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"),
            *("--require-hashes", "--only-binary", ":all:", "--python-version", number, "--implementation", "cp"),
            *(f"--platform={one}" for one in platforms),
            *(f"--abi={one}" for one in abis),
            *(f"--requirement={one}" for one in locks),
            *("--dest", folder),
        ]
    )


@contextmanager
def mounted() -> Generator[Path]:
    """Give the root of a container that is made of the image, for the length of a block."""
    working = buildah("from", "--pull-never", IMAGE).strip()
    try:
        yield Path(buildah("mount", working).strip())
    finally:
        buildah("umount", working)
        buildah("rm", working)


def command(root: Path, environment: Mapping[str, str], *args: str) -> list[str | Path]:
    """Return a command that runs another one as the first process of a container does.

    Its root is read-only, it has an account without rights, and it sees no process of this machine. The network is
    this machine's, so that it reaches the servers of tests.
    """
    namespaces = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
    settings = [f"{name}={value}" for name, value in environment.items()]
    return [*namespaces, "sh", "-ec", _ENTER, "sh", root, *settings, *args]


def first_process(unshare: Process | subprocess.Popen[str]) -> int:
    """Return the process id, as seen from here, of the first process inside."""
    (child,) = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children").read_text().split()
    return int(child)
