"""Multipart forms, kept in memory within limits: nothing is spooled to disk."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from omma.api import bodies
from omma.api.bodies import BodyLimits
from omma.domain.errors import InvalidInput, OmmaError

MAX_PARTS_BESIDE_FILES = 16
MAX_HEADER_BYTES = 4096  # of the form and of each of its parts
MAX_PARAMETERS = 64  # or semicolons in a file's name
MAX_TEXT_BYTES = 16 * 1024  # of a plain value
ENVELOPE_BYTES = 64 * 1024  # boundaries, headers and small fields around the files


@dataclass(frozen=True, slots=True)
class FormLimits:
    """What a form may hold."""

    fields: Collection[str]  # names whose parts are images
    max_bytes: int  # of each image
    body: BodyLimits
    texts: Collection[str] = ()  # names whose parts are plain values


@dataclass(frozen=True, slots=True)
class Form:
    """What a form held."""

    uploads: list["Upload"]
    texts: dict[str, str]


@dataclass(slots=True)
class Upload:
    """One file of a form; ``data`` is what was sent, or why it was not kept."""

    filename: str | None
    data: bytes | OmmaError = b""


async def read_files(
    request: Request, limits: FormLimits, on_file: Callable[[int], None]
) -> list[Upload]:
    """The form's images in order, as `read_form` reads them."""
    return (await read_form(request, limits, on_file)).uploads


async def read_form(request: Request, limits: FormLimits, on_file: Callable[[int], None]) -> Form:
    """The form's images in order; ``on_file`` is told each one's number before it is read.

    Raises `InvalidInput` for a form that is malformed or ends early.
    """
    form = _Form(limits, on_file)
    try:
        parser = MultipartParser(
            _boundary(request),
            form.callbacks(),  # pyright: ignore[reportArgumentType]
            max_header_size=MAX_HEADER_BYTES,
        )
        async for chunk in bodies.chunks(request, limits.body):
            parser.write(chunk)
    except FormParserError as error:
        raise InvalidInput(f"malformed multipart form: {error}") from None
    if not form.is_complete:
        raise InvalidInput("the multipart form ends before its closing boundary")
    return Form(form.uploads, form.texts)


def _boundary(request: Request) -> bytes:
    options = _options(request.headers["content-type"].encode("latin-1"))
    if boundary := options.get(b"boundary"):
        return boundary
    raise InvalidInput("expected a boundary in the Content-Type of a multipart form")


def _options(header: bytes) -> dict[bytes, bytes]:
    """Its parameters; the parser takes long over many of them, so that many are refused."""
    if len(header) > MAX_HEADER_BYTES or header.count(b";") > MAX_PARAMETERS:
        raise InvalidInput(
            f"expected headers of at most {MAX_HEADER_BYTES} bytes and {MAX_PARAMETERS} parameters"
        )
    return parse_options_header(header)[1]


@dataclass(slots=True)
class _Form:
    """Receives what the parser finds."""

    limits: FormLimits
    on_file: Callable[[int], None]
    uploads: list[Upload] = field(default_factory=list[Upload])
    texts: dict[str, str] = field(default_factory=dict[str, str])
    is_complete: bool = False
    _name: bytes = b""  # of the header that is being read
    _value: bytes = b""
    _disposition: bytes = b""
    _upload: Upload | None = None  # None while a part is read that is no image
    _text: str | None = None  # the name of the plain value that is read
    _chunks: list[bytes] = field(default_factory=list[bytes])
    _size: int = 0
    _other_parts: int = 0

    def callbacks(self) -> dict[str, Callable[..., None]]:
        """As the parser calls them, in this order."""
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": self._extend_name,
            "on_header_value": self._extend_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._keep,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin_part(self) -> None:
        self._disposition, self._upload, self._text, self._size = b"", None, None, 0
        self._chunks = []

    def _extend_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _extend_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name = self._value = b""

    def _end_headers(self) -> None:
        options = _options(self._disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name in self.limits.fields:
            filename = options.get(b"filename", b"").decode("utf-8", "backslashreplace")
            self._upload = Upload(filename or None)
            self.on_file(len(self.uploads) + 1)
            return
        if name in self.limits.texts:
            if name in self.texts:
                raise InvalidInput(f"expected one part named {name!r}")
            self._text = name
        self._other_parts += 1
        if self._other_parts > MAX_PARTS_BESIDE_FILES:
            raise InvalidInput(f"expected at most {MAX_PARTS_BESIDE_FILES} parts beside the files")

    def _keep(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._text is not None and self._size > MAX_TEXT_BYTES:
            raise InvalidInput(f"expected {self._text!r} of at most {MAX_TEXT_BYTES} bytes")
        is_kept = self._upload is not None and self._size <= self.limits.max_bytes
        if is_kept or self._text is not None:
            self._chunks.append(data[start:end])

    def _end_part(self) -> None:
        if self._text is not None:
            self.texts[self._text] = _decoded(self._text, b"".join(self._chunks))
        if self._upload is None:
            return
        is_over = self._size > self.limits.max_bytes
        self._upload.data = (
            bodies.over(self.limits.max_bytes) if is_over else b"".join(self._chunks)
        )
        self._chunks = []
        self.uploads.append(self._upload)

    def _end(self) -> None:
        self.is_complete = True


def _decoded(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise InvalidInput(f"expected {name!r} in UTF-8") from None
