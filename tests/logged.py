"""What ours logged: other libraries may log meanwhile, and tests before may have raised levels."""

import logging


def logged(caplog, name, level=logging.WARNING):
    """Records of the logger ``name`` and of those below it, of this level and above, in order."""
    return [
        each
        for each in caplog.records
        if f"{each.name}.".startswith(f"{name}.") and each.levelno >= level
    ]


def messages(caplog, name, level=logging.WARNING):
    """The same, their words alone."""
    return [each.getMessage() for each in logged(caplog, name, level)]
