"""One run of schemathesis against a served document."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from httpx import AsyncClient


async def keep_the_document(folder: Path, client: AsyncClient, key: str, config: str, hooks: str, *more: str) -> None:
    """Send what the document of a server allows and forbids, with `key`, and assert that the answers are as it says.

    `config` and `hooks` are texts of schemathesis, written to `folder`; `more` are further arguments.
    """
    (folder / "hooks.py").write_text(hooks)
    (folder / "schemathesis.toml").write_text(config)
    done = await anyio.run_process(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"{client.base_url}/openapi.json",
            "--header",
            f"Authorization: Bearer {key}",
            *more,
            "--seed",
            "1",
            "--workers",
            "1",
        ],
        cwd=folder,
        env={"SCHEMATHESIS_HOOKS": "hooks", "PATH": "/usr/bin:/bin", "PYTHONPATH": str(folder), "COLUMNS": "160"},
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout.decode()[-6000:]
