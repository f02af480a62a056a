"""Chains of changes: whatever authors, operators, clocks and crashes do, the live tables stay a replay of the ledger.

Each chain is drawn from a seed; one that fails is made smaller and printed as a short program. ACH_FAULTS_CHAINS sets how
many are drawn.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import pytest

from tests.faults.changes_run import run_chain
from tests.faults.changes_chain import drawn, smaller
from tests.faults.changes_world import ground_of
from tests.faults.tally import count
