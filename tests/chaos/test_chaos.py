"""The strikes of a minute, the same in every run as far as the machine lets them be."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import outliving
from tests.chaos.running import run

#: seconds that strikes go on
_SECONDS = 25.0
_SEED = 16


@pytest.mark.timeout(400)
def test_nothing_is_lost_wrong_out_of_order_or_left_whatever_is_struck(tmp_path: Path) -> None:
    outcome = run(tmp_path, _SEED, _SECONDS)
    assert not outcome.problems, str(outcome)
    assert outcome.inputs > 1000
    assert outcome.strikes.total() > 20


@pytest.mark.timeout(400)
def test_runs_and_jobs_outlive_their_script_their_drivers_workers_and_the_server(tmp_path: Path) -> None:
    outcome = outliving.run(tmp_path, _SEED, 2000)
    assert not outcome.problems, str(outcome)
    assert set(outcome.strikes) == {"driver", "server", "workers"}
