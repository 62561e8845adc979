"""Names of cards as they are looked for: whatever the case, the accents and the spaces."""

import unicodedata

LONGEST_NAME = 400  # characters of a key; of longer names the start is looked for
LAST = "\U0010ffff"  # sorts after every character of a name
# Letters that no decomposition brings to those of a keyboard, quotation marks, NUL.
PLAIN = str.maketrans(
    {"æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ł": "l", "’": "'", "‘": "'", "\0": " ", LAST: " "}  # noqa: RUF001  meant
)


def name_key(name: str) -> str:
    """What is compared: equal for names that differ in case, accents or spaces alone."""
    whole = name.encode("utf-8", "replace").decode()  # no halves of characters
    letters = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", whole).casefold())
    plain = "".join(each for each in letters if not unicodedata.combining(each))
    return " ".join(plain.translate(PLAIN).split())[:LONGEST_NAME].rstrip()
