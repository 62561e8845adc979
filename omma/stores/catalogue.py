"""The catalogue of models, read from YAML."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import yaml

from omma.domain.errors import CannotStart, ModelNotFound
from omma.domain.models import (
    Alignment,
    Conversion,
    DetectorInfo,
    Framing,
    Licence,
    Model,
    Pack,
    RecogniserInfo,
    Source,
)

_Table = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """`ModelCatalogue` over ``config/models.yaml``."""

    models: tuple[Model, ...]
    packs: Mapping[str, Pack]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read ``path``; `CannotStart` names what in it is not understood."""
        try:
            tables = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
            models = {
                name: _model(name, entry, tables["licences"])
                for name, entry in tables["models"].items()
            }
            packs = {name: _pack(name, entry, models) for name, entry in tables["packs"].items()}
        except FileNotFoundError:
            raise CannotStart(f"no catalogue of models at {str(path)!r}") from None
        except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
            raise CannotStart(f"cannot read the models of {str(path)!r}: {error!r}") from None
        return cls(tuple(models.values()), packs)

    def model(self, name: str) -> Model:
        for model in self.models:
            if model.name == name:
                return model
        raise ModelNotFound(name, tuple(model.name for model in self.models))

    def pack(self, name: str) -> Pack:
        if name not in self.packs:
            raise ModelNotFound(name, tuple(self.packs))
        return self.packs[name]

    def members(self, name: str) -> tuple[Model, ...]:
        if name not in self.packs:
            known = (*self.packs, *(model.name for model in self.models))
            if name not in known:
                raise ModelNotFound(name, known)
            return (self.model(name),)
        pack = self.packs[name]
        names = [pack.detector.name, *(info.name for info in pack.recognisers.values())]
        return tuple(self.model(member) for member in names)


def _model(name: str, entry: _Table, licences: _Table) -> Model:
    fields = dict(entry)
    licence = fields.pop("licence")
    alignment, conversion = fields.pop("alignment", None), fields.pop("conversion", None)
    framing = fields.pop("framing", None)
    return Model(
        name=name,
        source=_source(fields.pop("source")),
        sha256=_sha256(fields.pop("sha256")),
        licence=Licence(**licences[licence]) if licence in licences else Licence(licence),
        alignment=alignment and Alignment(alignment),
        framing=framing and Framing(framing),
        conversion=conversion and Conversion(conversion),
        **fields,
    )


def _source(text: str) -> Source:
    scheme, separator, rest = text.partition(":")
    if not separator:
        raise ValueError(f"expected SCHEME:PACKAGE!MEMBER, got {text!r}")
    package, _, member = rest.partition("!")
    return Source(scheme, package, member)


def _sha256(text: str) -> str:
    if len(text) != 64 or set(text) - set("0123456789abcdef"):  # noqa: PLR2004  hex of 256 bits
        raise ValueError(f"expected a sha256 in lowercase hexadecimal, got {text!r}")
    return text


def _pack(name: str, entry: _Table, models: Mapping[str, Model]) -> Pack:
    detector = models[entry["detector"]]
    recognisers = cast("dict[str, str]", entry["recognisers"])
    return Pack(
        name=name,
        detector=DetectorInfo(detector.name, detector.family, detector.sha256),
        recognisers={slot: _recogniser(models[model]) for slot, model in recognisers.items()},
    )


def _recogniser(model: Model) -> RecogniserInfo:
    if model.alignment is None:
        raise ValueError(f"recogniser {model.name!r} names no alignment")
    return RecogniserInfo(model.name, model.family, model.sha256, model.alignment, model.dimension)
