"""Images within JSON, as base64: any of its alphabets, wrapped or not, bare or as a data URL."""

import binascii
import re

from omma.api import bodies
from omma.domain.errors import InvalidInput

SLICE_CHARS = 2**20  # decoding holds the interpreter's lock: other threads run between slices
BLANK = " \t\r\n"  # between lines of 64 or 76 characters, as mail and PEM have them
WRAPPED = 17 / 16  # of the length, for a line break of `\r\n` in JSON after every 64 characters
ONE_ALPHABET = bytes.maketrans(b"-_", b"+/")  # RFC 4648 has two: one of them for URLs
FOREIGN = re.compile(rf"[^A-Za-z0-9+/_\-{BLANK}]")
GROUP = 4  # characters, for three bytes


def decode(text: str, name: str, max_bytes: int) -> bytes:
    """The bytes of ``text``, which the request calls ``name``; padding may be missing.

    The size is checked before anything is decoded.
    """
    start = _head_length(text, name)
    end = text.find("=", start)
    body = text[start : len(text) if end < 0 else end]
    if len(body) > text_length(max_bytes):
        raise bodies.over(max_bytes)
    image, rest = _whole_groups(body, text, name)
    if end >= 0:
        _check_padding(text, end, name, missing=-len(rest) % GROUP)
    if len(rest) == 1:
        raise InvalidInput(f"{name}: expected base64, got one character more than whole bytes have")
    image += binascii.a2b_base64(rest + b"=" * (-len(rest) % GROUP))
    if len(image) > max_bytes:
        raise bodies.over(max_bytes)
    return bytes(image)


def text_length(size_bytes: int) -> int:
    """Characters that so many bytes may take, with line breaks."""
    return int(GROUP * ((size_bytes + 2) // 3) * WRAPPED)


def _head_length(text: str, name: str) -> int:
    """Of what precedes the base64 in a data URL; RFC 2397 minds no case."""
    if text[:5].lower() != "data:":
        return 0
    head, comma, _ = text.partition(",")
    if not comma or not head.rstrip().lower().endswith(";base64"):
        raise InvalidInput(f"{name}: expected a data URL in base64, as data:image/jpeg;base64,...")
    return len(head) + 1


def _whole_groups(body: str, text: str, name: str) -> tuple[bytearray, bytes]:
    """The bytes of all groups of four characters, and the characters behind them."""
    image, rest = bytearray(), b""
    try:
        for at in range(0, len(body), SLICE_CHARS):
            plain = body[at : at + SLICE_CHARS].encode("ascii")
            plain = rest + plain.translate(ONE_ALPHABET, BLANK.encode())
            end = len(plain) // GROUP * GROUP
            image += binascii.a2b_base64(plain[:end], strict_mode=True)
            rest = plain[end:]
        binascii.a2b_base64(rest + b"A" * (-len(rest) % GROUP), strict_mode=True)
    except (UnicodeEncodeError, binascii.Error):
        start = _head_length(text, name)
        found = FOREIGN.search(text, start)
        place = f", got {found[0]!r} at character {found.start() + 1}" if found else ""
        raise InvalidInput(f"{name}: expected base64{place}") from None
    return image, rest


def _check_padding(text: str, start: int, name: str, *, missing: int) -> None:
    end = text[start:].translate(str.maketrans("", "", BLANK))
    if end.strip("="):
        raise InvalidInput(f"{name}: expected the end after '=' at character {start + 1}")
    if len(end) != missing:
        raise InvalidInput(f"{name}: expected {missing} of '=' at the end, got {len(end)}")
