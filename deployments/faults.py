"""What callers are told of an engine's or a decoder's failure."""

import logging

from omma.domain.errors import OmmaError

log = logging.getLogger(__name__)


def told(error: Exception) -> OmmaError:
    """``error`` as callers may see it; one that nobody foresaw is described to the log alone."""
    if isinstance(error, OmmaError):
        return error
    log.error("an engine or a decoder failed", exc_info=error)
    return OmmaError("an engine or a decoder failed; its replica's log says why")
