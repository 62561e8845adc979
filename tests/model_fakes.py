"""Made-up models, and a source and a converter that count what is asked of them."""

import hashlib
import json
import zipfile
from dataclasses import dataclass, field
from threading import Lock

from omma.domain.errors import ConversionFailed
from omma.domain.models import Converted, Licence, Model, Source
from omma.services.models import ModelService
from omma.stores.catalogue import Catalogue
from omma.stores.models import ModelFiles

CONTENT = b"weights of " * 1000
RESEARCH = Licence("research only", "You may only look.")


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def model(name="m", content=CONTENT, **changes):
    """A model whose published file holds ``content``, in the archive ``shop``."""
    fields = {
        "name": name,
        "slot": "detection",
        "family": "scrfd",
        "source": Source("fake", "shop", f"{name}.onnx"),
        "sha256": sha256(content),
        "size_bytes": len(content),
        "download_bytes": 500,
        "licence": Licence("MIT"),
        "input": "anything",
    }
    return Model(**{**fields, **changes})


@dataclass
class FakeSource:
    """Answers every package with one zip of its files."""

    files: dict = field(default_factory=lambda: {"m.onnx": CONTENT})
    downloads: list = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def download(self, package, into, *, size_bytes, progress):
        with self.lock:
            self.downloads.append(package)
        progress(size_bytes // 2)
        archive = into / "archive.zip"
        with zipfile.ZipFile(archive, "w") as zipped:
            for name, content in self.files.items():
                zipped.writestr(name, content)
        return archive


@dataclass
class FakeConverter:
    """Converts by turning the file round."""

    current: int = 1
    is_broken: bool = False
    conversions: list = field(default_factory=list)

    def version(self, conversion):
        del conversion
        return self.current

    def convert(self, conversion, original, target):
        self.conversions.append(conversion)
        if self.is_broken:
            raise ConversionFailed("answers differ")
        target.write_bytes(original.read_bytes()[::-1])
        return Converted(conversion, self.current, 0.0, 1e-4, {"fake": "1"})


def service(root, *models, source=None, converter=None):
    """The use cases over a catalogue of ``models``, a folder, and fakes."""
    return ModelService(
        Catalogue(models, {}),
        ModelFiles(root),
        {"fake": source or FakeSource()},
        converter or FakeConverter(),
    )


def write_catalogue(path, content, **changes):
    """A catalogue of one detector in a file of this machine, and a pack of it alone."""
    entry = {
        "slot": "detection",
        "family": "scrfd",
        "source": f"file:{path.with_name('m.onnx')}",
        "sha256": sha256(content),
        "size_bytes": len(content),
        "download_bytes": len(content),
        "licence": "MIT",
        "input": "anything",
        **changes,
    }
    tables = {
        "licences": {"research": {"name": RESEARCH.name, "text": RESEARCH.text}},
        "models": {"m": entry},
        "packs": {"open": {"detector": "m", "recognisers": {}}},
    }
    path.write_text(json.dumps(tables))  # JSON is YAML
