"""Runs a file of deploy/bridges/ by Redpanda Connect's own components, in a process of its own.

They come as a plug-in of another program (the wheels `mq-bridge` and `mq-bridge-connect`), which moves messages from
one end to the other: the file's `input` is the one end, its processors and its `output` are the other. Kafka's input
is not in the wheel; there the program's own takes its place.

    python relay.py FILE NAME=VALUE... [INPUT]

INPUT, as JSON, takes the place of the file's. It runs until its standard input is closed.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml


def read(path: Path, values: dict[str, str]) -> dict[str, Any]:
    """Return a file with its `${NAME:default}` filled in, as the tool itself does before it reads YAML."""
    text = path.read_text("utf-8")
    return yaml.safe_load(re.sub(r"\$\{([A-Z_]+)(?::([^}]*))?\}", lambda one: values.get(one[1], one[2] or ""), text))


def end(kind: str, ends: list[dict[str, Any]]) -> dict[str, Any]:
    return {"custom": {"name": "connect", "config": {"connector": "broker", kind: ends}}}


def main() -> None:
    program: Any = import_module("mq_bridge")
    plugin: Any = import_module("mq_bridge_connect")
    path, *rest = sys.argv[1:]
    values = dict(one.split("=", 1) for one in rest if not one.startswith("{"))
    own = next((json.loads(one) for one in rest if one.startswith("{")), None)
    file = read(Path(path), values)
    logging.basicConfig(level=logging.WARNING)
    program.init_logging("warn")
    plugin.register()
    output = {**file["output"], "processors": file["pipeline"]["processors"]}
    route = {"input": own or end("inputs", [file["input"]]), "output": end("outputs", [output])}
    program.Route.from_config({"bridge": route}, "bridge").start()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
