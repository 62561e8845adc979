"""What a process calls itself where others read it."""

import os
import socket
import uuid

LONGEST = 100  # characters, as the records keep them


def process_name() -> str:
    """Unique among all that ever were; begins with what helps to find it."""
    return f"{socket.gethostname()[:60]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"[:LONGEST]
