"""Hold bills of materials to the schema of CycloneDX 1.6: python -m release.check_sbom FILE ..."""

from __future__ import annotations

import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion  # pyright: ignore[reportMissingImports, reportUnknownVariableType]
from cyclonedx.validation.json import JsonStrictValidator  # pyright: ignore[reportMissingImports, reportUnknownVariableType]


def main() -> None:
    """Exit with 1 at the first bill that breaks the schema."""
    validator = JsonStrictValidator(SchemaVersion.V1_6)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    for name in sys.argv[1:]:
        if error := validator.validate_str(Path(name).read_text()):  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
            sys.exit(f"{name}: {error}")


if __name__ == "__main__":
    main()
