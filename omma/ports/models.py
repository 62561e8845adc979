"""What pulling models needs: a catalogue, places that publish, a converter, a folder."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from omma.domain.models import (
    Conversion,
    Converted,
    Model,
    ModelRecord,
    Pack,
)

BytesSoFar = Callable[[int], None]


class ModelCatalogue(Protocol):
    """Every model and pack that is known, pulled or not."""

    @property
    def models(self) -> tuple[Model, ...]:
        """All models, in the order of the file."""
        ...

    @property
    def packs(self) -> Mapping[str, Pack]:
        """All packs by name."""
        ...

    def model(self, name: str) -> Model:
        """The model of this name, or `ModelNotFound`."""
        ...

    def pack(self, name: str) -> Pack:
        """The pack of this name, or `ModelNotFound`."""
        ...

    def members(self, name: str) -> tuple[Model, ...]:
        """The models of a pack, or the one model, of this name; or `ModelNotFound`."""
        ...


class ModelSource(Protocol):
    """A place that publishes files."""

    def download(self, package: str, into: Path, *, size_bytes: int, progress: BytesSoFar) -> Path:
        """Fetch ``package`` into the empty folder ``into`` and answer the file that came.

        ``size_bytes`` is what the catalogue expects. Whatever goes wrong is a
        `ModelUnfetchable` that says what to do. Nothing of the package is executed.
        """
        ...


class ModelConverter(Protocol):
    """Makes published files runnable."""

    def version(self, conversion: Conversion) -> int:
        """Which version of ``conversion`` this is: an older one's result is made anew."""
        ...

    def convert(self, conversion: Conversion, original: Path, target: Path) -> Converted:
        """Write the runnable ``target``, having compared its answers with ``original``'s.

        `ConversionFailed` when they differ by more than the tolerance, or it cannot be done.
        """
        ...


class ModelStore(Protocol):
    """The folder of pulled models; what it holds is whole, or it is not there."""

    def record(self, model: Model) -> ModelRecord | None:
        """What is stored of ``model``; nothing for another sha256 than the catalogue's."""
        ...

    def reserve(self, package: str, needed_bytes: int) -> AbstractContextManager[Path]:
        """An empty folder on the store's disk, for one process at a time per ``package``.

        Waits for whoever holds it. `ModelUnfetchable` when the disk has not that much room.
        """
        ...

    def admit(self, model: Model, archive: Path) -> None:
        """Take ``model``'s file out of ``archive``, which `reserve` lent the place for.

        `ModelCorrupt` unless its hash is the catalogue's; then nothing is kept.
        """
        ...

    def original(self, model: Model) -> Path:
        """The file as published; `ModelMissing` when it was not admitted."""
        ...

    def adopt(self, model: Model, runnable: Path, converted: Converted) -> None:
        """Move ``runnable`` in as what engines run, in the place of any older one."""
        ...

    def verify(self, model: Model) -> None:
        """Hash every file of ``model`` again; `ModelMissing`, `ModelCorrupt`."""
        ...
