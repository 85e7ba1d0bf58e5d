"""What every test shares: the event loop it runs on, and how long hypothesis may think."""

import os

import pytest
from hypothesis import settings

# No deadline: the first example of a law pays for its imports, and machines differ.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if "CI" in os.environ else "here")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The only loop the server runs on."""
    return "asyncio"
