"""A share of the points of sweep.py; `make faults` runs them all, also with a sanitizer."""

import pytest
import sweep
from running import build_option

pytestmark = pytest.mark.skipif(
    bool(build_option("b_coverage")), reason="what counts lines calls the system itself, and badly"
)

# Every so manieth point: of each call some, and some of each error. Of allocations, of which
# TLS makes many, so many at most.
SHARE = 6
MEMORY_POINTS_MAX = 16


def share(points):
    memory = [point for point in points if sweep.slot_key(point[0])[1] == "memory"]
    calls = [point for point in points if point not in memory]
    return memory[:: max(SHARE, len(memory) // MEMORY_POINTS_MAX)] + calls[::SHARE]


@pytest.mark.parametrize("scenario", sweep.SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_call_that_fails_harms_its_own_request_at_most(scenario):
    tally = sweep.sweep(scenario, share)
    assert not tally.wrong, "\n".join(tally.wrong)
    assert tally.points  # how many there are is a matter of time; each that is reached counts


def test_a_call_that_nobody_thought_of_is_told():
    slot = sweep.OWNERS.index("libuv") * len(sweep.KINDS) * len(sweep.CALLS)
    counts = [0] * (slot + len(sweep.CALLS))
    counts[slot + sweep.CALLS.index("opendir")] = 1
    with pytest.raises(sweep.Wrong, match="libuv opendir other is called"):
        sweep.points_of(counts)
