"""Paths as text: on Linux they are bytes, and need not be UTF-8."""

import codecs
import os
import re
import sys
from io import TextIOWrapper
from pathlib import Path

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # would break lines, or command the terminal


def shown(path: str | Path) -> str:
    r"""``path`` as text from which its bytes can be had back.

    Bytes that are no UTF-8 and those of control characters are ``\xNN``, a backslash is ``\\``.
    """
    text = os.fsencode(path).replace(b"\\", rb"\\").decode("utf-8", "backslashreplace")
    return CONTROL.sub(lambda found: _bytes(found[0].encode()), text)


def write_any_text() -> None:
    """Let no text end the command that its output cannot carry: escapes take the place of it."""
    codecs.register_error("omma.escape", _escape)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="omma.escape")


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeEncodeError):
        text = error.object[error.start : error.end]
        if all("\udc80" <= each <= "\udcff" for each in text):  # bytes of a path
            return _bytes(text.encode("utf-8", "surrogateescape")), error.end
    return codecs.backslashreplace_errors(error)


def _bytes(data: bytes) -> str:
    return "".join(f"\\x{each:02x}" for each in data)
