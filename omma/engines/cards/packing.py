"""What is kept of a picture beside its keypoints: its look, and what tells printings apart."""

import struct

from omma.domain.errors import IndexCorrupt

PREFIX = struct.Struct("<I")  # bytes of the look, which comes first


def pack(look: bytes, regions: bytes) -> bytes:
    """Both in one."""
    return PREFIX.pack(len(look)) + look + regions


def unpack(packed: bytes) -> tuple[bytes, bytes]:
    """The look and the regions; none of both where nothing was kept."""
    if not packed:
        return b"", b""
    if len(packed) < PREFIX.size:
        raise IndexCorrupt("what is kept of a card is cut off")
    (size,) = PREFIX.unpack_from(packed)
    end = PREFIX.size + size
    if end > len(packed):
        raise IndexCorrupt("a card's look is cut off")
    return packed[PREFIX.size : end], packed[end:]
