"""Single files: from a web server by HTTPS, from a folder of this machine."""

import http.client
import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import urlsplit

from omma.domain.errors import ModelUnfetchable
from omma.ports.models import BytesSoFar

CHUNK_BYTES = 1 << 18
TRY_AGAIN = "check the network, then run `omma models pull` again"


@dataclass(frozen=True, slots=True)
class HttpsSource:
    """`ModelSource` over HTTPS; proxies and SSL_CERT_FILE of the environment apply."""

    timeout_s: float = 30.0
    context: ssl.SSLContext | None = None  # None: the certificates that this machine trusts

    def download(self, package: str, into: Path, *, size_bytes: int, progress: BytesSoFar) -> Path:
        url = f"https:{package}"
        target = into / (PurePosixPath(urlsplit(url).path).name or "file")
        with closing(self._chunks(url)) as chunks:
            _receive(chunks, target, url, size_bytes, progress)
        return target

    def _chunks(self, url: str) -> Generator[bytes]:
        """What the network gives; its faults are told apart from those of our own disk."""
        handlers = (
            _HttpsOnly(),
            urllib.request.HTTPSHandler(context=self.context or ssl.create_default_context()),
        )
        try:
            with urllib.request.build_opener(*handlers).open(url, timeout=self.timeout_s) as body:
                while chunk := body.read(CHUNK_BYTES):
                    yield chunk
        except urllib.error.HTTPError as error:
            error.close()
            raise ModelUnfetchable(f"{url} answered {error.code} {error.reason}") from None
        except TimeoutError:
            raise ModelUnfetchable(f"{url}: silent for {self.timeout_s} s: {TRY_AGAIN}") from None
        except (OSError, http.client.HTTPException) as error:
            raise ModelUnfetchable(f"{url}: {error}: {TRY_AGAIN}") from None


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never to a scheme that anybody on the way could rewrite."""

    def redirect_request(  # noqa: PLR0913, PLR0917  urllib calls it so
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme != "https":
            fp.close()
            raise ModelUnfetchable(f"{req.full_url} redirects to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _receive(
    chunks: Iterable[bytes], target: Path, url: str, size_bytes: int, progress: BytesSoFar
) -> None:
    received = 0
    with target.open("wb") as file:
        for chunk in chunks:
            received += len(chunk)
            if received > size_bytes:
                raise ModelUnfetchable(f"{url} sends more than the {size_bytes} bytes it should")
            file.write(chunk)
            progress(received)
    if received != size_bytes:
        raise ModelUnfetchable(f"{url} sent {received} of {size_bytes} bytes: {TRY_AGAIN}")


@dataclass(frozen=True, slots=True)
class FileSource:
    """`ModelSource` over a path of this machine, for weights brought by other means."""

    def download(self, package: str, into: Path, *, size_bytes: int, progress: BytesSoFar) -> Path:
        target = into / Path(package).name
        try:
            shutil.copyfile(package, target)
        except FileNotFoundError:
            raise ModelUnfetchable(f"no file at {package!r}: put it there") from None
        except (PermissionError, IsADirectoryError) as error:
            raise ModelUnfetchable(f"cannot read {package!r}: {error.strerror}") from None
        progress(size_bytes)
        return target
