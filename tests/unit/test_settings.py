import re

import pytest
from pydantic import BaseModel, ValidationError

from omma.settings import FaceSettings, Settings
from omma.stores.blobs import S3Access
from omma.stores.brokers import MqttOptions


def test_a_default_min_score_that_no_request_may_ask_for_is_refused():
    with pytest.raises(ValidationError, match=r"at least min_score_floor, 0\.1, got 0\.05"):
        FaceSettings(min_score=0.05)

    assert FaceSettings(min_score=0.05, min_score_floor=0.05).min_score == 0.05


SENSITIVE = re.compile(r"(^|_)(url|secret|secret_access_key|password|jwks)$")


def sensitive_settings():
    """Names of settings with passwords, or with URLs, which may have a password each."""
    for group, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            for name in field.annotation.model_fields:
                if SENSITIVE.search(name):
                    yield group, name


def test_no_secret_shows_in_what_settings_look_like():
    values = {}
    for group, name in sensitive_settings():
        values.setdefault(group, {})[name] = f"https://ada:hunter2@{name}.test/"

    settings = Settings(**values)

    assert values["database"]
    assert values["auth"].keys() == {"jwks", "secret", "redis_url"}
    assert "hunter2" in settings.database.url
    assert "hunter2" not in f"{settings!r} {settings} {settings.database} {settings.auth!r}"


def test_no_secret_shows_in_what_options_made_of_them_look_like():
    for options in (MqttOptions(password="hunter2"), S3Access(secret_access_key="hunter2")):  # noqa: S106
        assert "hunter2" not in repr(options)
