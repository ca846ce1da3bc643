"""Fixtures of the conformance tests: servers that are stopped, and watched, at the end."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import running  # noqa: E402


@pytest.fixture
def weir(tmp_path_factory):
    made = running.Weir(tmp_path_factory)
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """All models of tests/fixtures/models, for tests that leave it as it is."""
    made = running.Weir(tmp_path_factory)
    yield made.serve(running.MODELS)
    made.close()
