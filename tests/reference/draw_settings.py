"""The number of examples and the settings of all tests that draw rules and streams."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings


def thorough(quick: int) -> settings:
    """Return settings of a run that draws `quick` examples, or as many as `ACH_EXAMPLES` asks for."""
    return settings(
        max_examples=int(os.environ.get("ACH_EXAMPLES", str(quick))),
        deadline=None,
        derandomize=True,
        database=None,
        # Shrinking a failure may take as long as it takes; finding none must stay quick.
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )
