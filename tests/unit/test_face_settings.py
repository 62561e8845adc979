"""Settings that contradict each other are refused, in words."""

import pytest
from pydantic import ValidationError

from omma.settings import FaceSettings, HttpSettings


@pytest.mark.parametrize("port", [0, -1, 65536, 70000])
def test_a_port_that_no_machine_has_is_refused(port):
    with pytest.raises(ValidationError, match=r"port"):
        HttpSettings(port=port)


def test_an_embedder_without_settings_is_named_with_those_there_are():
    with pytest.raises(ValidationError, match="among arcface, facenet, got facenett"):
        FaceSettings(embedders=("arcface", "facenett"))


def test_what_answers_by_default_must_be_served():
    with pytest.raises(ValidationError, match=r"among embedders \(facenet\), got arcface"):
        FaceSettings(embedders=("facenet",))


def test_one_embedder_may_be_all():
    faces = FaceSettings(embedders=("facenet",), default_embedders=("facenet",))

    assert faces.embedders == faces.default_embedders
