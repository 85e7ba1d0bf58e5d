"""What becomes of an error that is none of the tree: a bug, which is logged in full and answered with a number."""

from typing import Final

from a3s_power.core.errors import PowerError
from a3s_power.log import get_logger, request_id

_log: Final = get_logger(__name__)


def unexpected(error: Exception) -> PowerError:
    """The answer to a bug; to be called while it is being handled, so that its traceback is logged."""
    _log.exception("a request failed in a way nobody foresaw", error=type(error).__name__)
    return PowerError(f"internal server error, see the server's log for request {request_id.get()}")
