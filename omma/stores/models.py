"""Pulled models in a folder: ``NAME/SHA8/{original.*, CONVERSION-VERSION.onnx, record.json}``."""

import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, Any

from omma.domain.errors import ModelCorrupt, ModelMissing, ModelUnfetchable
from omma.domain.models import (
    Converted,
    DetectorInfo,
    Model,
    ModelRecord,
    RecogniserInfo,
    StoredFile,
)
from omma.stores.sources.archives import extract

RECORD = "record.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """`ModelStore` in ``root``; engines ask it for `path` alone."""

    root: Path

    def path(self, info: DetectorInfo | RecogniserInfo | Model) -> Path:
        """The file that engines run; checked by size and by the record's hash, not re-hashed."""
        record = self._existing(info)
        if record.runnable is None:
            raise ModelMissing(f"{info.name!r} is not converted yet: run `omma models pull`")
        path = self._folder(info) / record.runnable.name
        self._check_size(path, record.runnable)
        return path

    def record(self, model: DetectorInfo | RecogniserInfo | Model) -> ModelRecord | None:
        path = self._folder(model) / RECORD
        try:
            record = _record(json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise ModelCorrupt(f"{path}: {error!r}; delete its folder and pull again") from None
        if record.original.sha256 != model.sha256:
            raise ModelCorrupt(f"{path} is of {record.original.sha256}, not {model.sha256}")
        return record

    @contextmanager
    def reserve(self, package: str, needed_bytes: int) -> Generator[Path]:
        slug = hashlib.sha256(package.encode()).hexdigest()[:16]
        workspace = self.root / ".pulls" / slug
        workspace.parent.mkdir(parents=True, exist_ok=True)
        with (self.root / ".pulls" / f"{slug}.lock").open("w") as lock:
            _lock(lock, package)
            shutil.rmtree(workspace, ignore_errors=True)  # left by a holder that died
            workspace.mkdir()
            try:
                self._check_room(needed_bytes)
                yield workspace
            except OSError as error:
                if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                    raise ModelUnfetchable(_no_room(self.root, needed_bytes)) from None
                raise
            finally:
                shutil.rmtree(workspace, ignore_errors=True)

    def admit(self, model: Model, archive: Path) -> None:
        file = archive.with_name(f".{model.name}")
        extract(archive, model.source.member, file, size_bytes=model.size_bytes)
        suffix = PurePosixPath(model.source.member or archive.name).suffix
        original = self._describe(file, f"original{suffix}")
        if original.sha256 != model.sha256:
            raise ModelCorrupt(
                f"{model.name!r}: expected sha256 {model.sha256}, got {original.sha256} "
                f"({original.size_bytes} bytes): {model.source} publishes something else now, or "
                "it was changed on the way; nothing is kept"
            )
        self._folder(model).mkdir(parents=True, exist_ok=True)
        _move(file, self._folder(model) / original.name)
        runnable = None if model.conversion else original
        self._publish(model, ModelRecord(model.name, str(model.source), original, runnable, None))

    def original(self, model: Model) -> Path:
        record = self._existing(model)
        return self._folder(model) / record.original.name

    def adopt(self, model: Model, runnable: Path, converted: Converted) -> None:
        name = f"{converted.conversion}-{converted.version}{runnable.suffix}"
        stored = self._describe(runnable, name)
        _move(runnable, self._folder(model) / name)
        self._publish(model, replace(self._existing(model), runnable=stored, converted=converted))

    def verify(self, model: Model) -> None:
        record = self._existing(model)
        for file in filter(None, (record.original, record.runnable)):
            path = self._folder(model) / file.name
            self._check_size(path, file)
            if (found := hash_file(path)) != file.sha256:
                raise ModelCorrupt(f"{path}: expected sha256 {file.sha256}, got {found}")
        self.path(model)  # an original alone serves nobody

    def _existing(self, model: DetectorInfo | RecogniserInfo | Model) -> ModelRecord:
        record = self.record(model)
        if record is None:
            raise ModelMissing(f"{model.name!r} is not in {self.root}: run `omma models pull`")
        return record

    def _publish(self, model: Model, record: ModelRecord) -> None:
        folder = self._folder(model)
        draft = folder / f"{RECORD}.new"
        draft.write_text(json.dumps(asdict(record), indent=2) + "\n")
        _move(draft, folder / RECORD)  # the record comes last: what it names is whole
        named = {RECORD, record.original.name, record.runnable and record.runnable.name}
        for path in folder.iterdir():
            if path.name not in named:
                path.unlink(missing_ok=True)

    def _describe(self, file: Path, name: str) -> StoredFile:
        return StoredFile(name, hash_file(file), file.stat().st_size)

    def _folder(self, model: DetectorInfo | RecogniserInfo | Model) -> Path:
        return self.root / model.name / model.sha256[:8]

    def _check_size(self, path: Path, file: StoredFile) -> None:
        try:
            size_bytes = path.stat().st_size
        except FileNotFoundError:
            raise ModelMissing(f"{path} is gone: run `omma models pull`") from None
        if size_bytes != file.size_bytes:
            raise ModelCorrupt(f"{path}: expected {file.size_bytes} bytes, got {size_bytes}")

    def _check_room(self, needed_bytes: int) -> None:
        if shutil.disk_usage(self.root).free < needed_bytes:
            raise ModelUnfetchable(_no_room(self.root, needed_bytes))


def _lock(file: IO[str], package: str) -> None:
    """Take the lock; the kernel frees it when its holder dies."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.warning("waiting for another pull of the same package", extra={"package": package})
        fcntl.flock(file, fcntl.LOCK_EX)


def hash_file(path: Path) -> str:
    """Answer the sha256 of what ``path`` holds, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _move(file: Path, target: Path) -> None:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())
    os.replace(file, target)  # rename is atomic: readers see old or new, never half
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _record(fields: dict[str, Any]) -> ModelRecord:
    runnable, converted = fields["runnable"], fields["converted"]
    return ModelRecord(
        model=fields["model"],
        source=fields["source"],
        original=StoredFile(**fields["original"]),
        runnable=runnable and StoredFile(**runnable),
        converted=converted and Converted(**converted),
    )


def _no_room(root: Path, needed_bytes: int) -> str:
    return (
        f"the disk of {root} has less than the {needed_bytes / 1e6:.0f} MB that this needs: "
        "free some, or set OMMA_HOME to a folder on another disk"
    )
