"""Every mitigation in docs/threats.md names a test that exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def test_every_mitigation_has_its_test() -> None:
    rows = [line for line in (ROOT / "docs" / "threats.md").read_text().splitlines() if "`tests/" in line]
    named = [found for row in rows for found in NAMED.findall(row)]
    assert len(named) == len(rows) > 10
    missing = [f"{path}::{name}" for path, name in named if f"def {name}(" not in (ROOT / path).read_text()]
    assert not missing, "\n".join(missing)
