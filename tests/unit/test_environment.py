from pathlib import Path

import pytest
from pydantic import SecretStr

from omma.domain.errors import CannotStart
from omma.environment import ALIASES, NATIVE, PLANNED, REFUSED, refuse_unsupported, without_meaning
from omma.settings import Settings

# Every variable that the documents of the five original services name.
DOCUMENTED = {
    "card recognition": {
        "FLASK_ENV", "FRONTEND_URL", "LOG_FILE_PATH", "LOG_LEVEL", "POSTGRES_DB", "POSTGRES_HOST",
        "POSTGRES_PASSWORD", "POSTGRES_PORT", "POSTGRES_USER", "REDIS_HOST", "SCRYFALL_DATA_DIR",
    },
    "classification": {
        "ALLOY_ENDPOINT", "DATABASE_URL", "JWT_ALGORITHM", "JWT_SECRET",
        "LOCAL_S3_PROXY_SERVICE_URL", "MINIO_ROOT_PASSWORD", "MINIO_ROOT_USER",
        "MLFLOW_TRACKING_URI", "MODEL_URI", "REDIS_HOST", "REDIS_PASSWORD", "REDIS_PORT", "RUN_ID",
        "USE_LOCAL",
    },
    "event faces": {
        "CALLBACK_SECRET", "CALLBACK_URL", "CLUSTER_EPSILON", "CUDA_VISIBLE_DEVICES",
        "DETECTION_THRESHOLD", "DET_SIZE", "MIN_CLUSTER_SIZE", "MIN_SAMPLES",
        "SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_URL", "USE_GPU",
    },
    "jobs": {
        "AUTH_DISABLED", "DATABASE_DIR", "DATABASE_URL", "LOG_LEVEL", "MEDIA_STORE_STUB",
        "MEDIA_STORE_URL", "PUBLIC_KEY_PATH", "STORAGE_DIR", "WORKER_MAX_RETRIES",
        "WORKER_POLL_INTERVAL",
    },
    "later jobs": {"BROADCAST_TYPE", "MQTT_BROKER", "MQTT_PORT", "MQTT_TOPIC"},
    "gateway": {"LOG_LEVEL", "VISAGE_URL"},
}  # fmt: skip

# A value that differs from the default, and what becomes of it.
CHANGED = {
    "DETECTION_THRESHOLD": ("0.7", 0.7),
    "DET_SIZE": ("320", 320),
    "FRONTEND_URL": (
        "http://a.example, http://b.example",
        ("http://a.example", "http://b.example"),
    ),
    "LOG_LEVEL": ("debug", "DEBUG"),
    "DATABASE_URL": ("postgres://u:p@h/d", "postgres://u:p@h/d"),
    "DATABASE_DIR": ("/data", "sqlite:////data/omma.db"),
    "POSTGRES_HOST": ("db.example", "postgresql://postgres@db.example:5432/postgres"),
    "POSTGRES_PORT": ("5433", "postgresql://postgres@localhost:5433/cards"),
    "POSTGRES_DB": ("cards", "postgresql://postgres@localhost:5432/cards"),
    "POSTGRES_USER": ("ann@home", "postgresql://ann%40home@localhost:5432/cards"),
    "POSTGRES_PASSWORD": ("p@ss/:%", "postgresql://postgres:p%40ss%2F%3A%25@localhost:5432/cards"),
    "SCRYFALL_DATA_DIR": ("/data/scryfall", Path("/data/scryfall")),
    "STORAGE_DIR": ("/data/inference/jobs", "/data/inference"),
    "PUBLIC_KEY_PATH": ("/keys/public_key.pem", Path("/keys/public_key.pem")),
    "AUTH_DISABLED": ("true", True),
    "JWT_SECRET": ("s" * 32, SecretStr("s" * 32)),
    "JWT_ALGORITHM": ("hs256", "HS256"),
    "REDIS_HOST": ("redis", "redis://redis:6379/0"),
    "REDIS_PORT": ("6380", "redis://localhost:6380/0"),
    "REDIS_PASSWORD": ("p@ss/word", "redis://:p%40ss%2Fword@localhost:6379/0"),
    "WORKER_POLL_INTERVAL": ("1", 1.0),
    "WORKER_MAX_RETRIES": ("7", 7),
    "MEDIA_STORE_URL": ("http://media:8000", "http://media:8000"),
    "MEDIA_STORE_STUB": ("true", Path("media")),
    "BROADCAST_TYPE": ("MQTT", "mqtt"),
    "MQTT_BROKER": ("broker", "broker"),
    "MQTT_PORT": ("1884", 1884),
    "MQTT_TOPIC": ("a/b", "a/b"),
    "CALLBACK_URL": ("https://a.example/done", "https://a.example/done"),
    "CALLBACK_SECRET": ("hush", SecretStr("hush")),
    "USE_GPU": ("false", "never"),
}

# Without these, the variable alone says too little.
BESIDE = {
    name: {"POSTGRES_DB": "cards"}
    for name in ("POSTGRES_PORT", "POSTGRES_USER", "POSTGRES_PASSWORD")
}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in ALIASES:
        monkeypatch.delenv(name, raising=False)


def look_up(settings, path):
    for name in path.split("."):
        settings = getattr(settings, name)
    return settings


@pytest.mark.parametrize("name", sorted(set().union(*DOCUMENTED.values())))
def test_a_documented_variable_has_exactly_one_answer(name):
    assert [name in answers for answers in (ALIASES, NATIVE, PLANNED, REFUSED)].count(True) == 1


@pytest.mark.parametrize("name", ALIASES)
def test_an_alias_changes_every_setting_it_names(name, monkeypatch):
    text, value = CHANGED[name]
    for other, content in BESIDE.get(name, {}).items():
        monkeypatch.setenv(other, content)
    before = [look_up(Settings(), path) for path in ALIASES[name].settings]

    monkeypatch.setenv(name, text)
    after = [look_up(Settings(), path) for path in ALIASES[name].settings]

    assert after == [value] * len(after)
    assert value not in before


@pytest.mark.parametrize("text", ["1", "true", "YES", "on"])
def test_use_gpu_that_says_yes_leaves_the_choice_to_the_runtime(text, monkeypatch):
    monkeypatch.setenv("USE_GPU", text)

    assert Settings().faces.detection.gpu == "auto"


def test_det_size_auto_stays_a_word(monkeypatch):
    monkeypatch.setenv("DET_SIZE", "auto")

    assert Settings().faces.det_size == "auto"


def test_redis_is_made_of_three_variables(monkeypatch):
    monkeypatch.setenv("REDIS_HOST", "r.example")
    monkeypatch.setenv("REDIS_PORT", "1234")
    monkeypatch.setenv("REDIS_PASSWORD", "pw")

    assert Settings().auth.redis_url == "redis://:pw@r.example:1234/0"
    assert Settings().indexes.redis_url == "redis://:pw@r.example:1234/0"


def test_postgres_is_made_of_five_variables(monkeypatch):
    for name, text in (("USER", "u"), ("PASSWORD", "p w"), ("DB", "cards"), ("HOST", "::1")):
        monkeypatch.setenv(f"POSTGRES_{name}", text)
    monkeypatch.setenv("POSTGRES_PORT", "1234")

    assert Settings().database.url == "postgresql://u:p%20w@[::1]:1234/cards"


def test_postgres_may_be_behind_a_socket(monkeypatch):
    monkeypatch.setenv("POSTGRES_HOST", "/run/postgresql")
    monkeypatch.setenv("POSTGRES_DB", "cards")

    url = Settings().database.url

    assert url == "postgresql://postgres@/cards?host=/run/postgresql&port=5432"


@pytest.mark.parametrize("name", ["POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_PORT"])
def test_a_database_of_no_host_and_no_name_is_none(name, monkeypatch):
    monkeypatch.setenv(name, "5432")

    assert Settings().database.url == ""


def test_a_postgres_that_is_named_in_parts_wins_over_a_folder(monkeypatch):
    monkeypatch.setenv("DATABASE_DIR", "../data")
    monkeypatch.setenv("POSTGRES_HOST", "db")

    assert Settings().database.url == "postgresql://postgres@db:5432/postgres"


def test_a_url_of_the_database_wins_over_its_parts(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://u@h/d")
    monkeypatch.setenv("POSTGRES_HOST", "db")

    assert Settings().database.url == "postgresql://u@h/d"


def test_a_database_that_is_named_wins_over_a_folder(monkeypatch):
    monkeypatch.setenv("DATABASE_DIR", "../data")
    monkeypatch.setenv("DATABASE_URL", "sqlite:///../data/inference.db")

    assert Settings().database.url == "sqlite:///../data/inference.db"


def test_a_stub_takes_the_place_of_the_media_store_that_is_named_beside_it(monkeypatch):
    monkeypatch.setenv("MEDIA_STORE_URL", "http://localhost:8000")
    monkeypatch.setenv("MEDIA_STORE_STUB", "true")

    settings = Settings(home="/state")

    assert settings.media_store.url == ""
    assert settings.media_folder == Path("/state/media")


def test_no_stub_leaves_the_media_store_alone(monkeypatch):
    monkeypatch.setenv("MEDIA_STORE_URL", "http://media:8000")
    monkeypatch.setenv("MEDIA_STORE_STUB", "false")

    settings = Settings()

    assert (settings.media_store.url, settings.media_folder) == ("http://media:8000", None)


def test_a_storage_folder_of_another_name_is_the_folder_of_all_files(monkeypatch):
    monkeypatch.setenv("STORAGE_DIR", "/data/files")

    assert Settings().blobs_url == "/data/files"


def test_our_own_variable_wins_over_a_documented_one(monkeypatch):
    monkeypatch.setenv("DETECTION_THRESHOLD", "0.7")
    monkeypatch.setenv("OMMA_FACES__MIN_SCORE", "0.9")

    assert Settings().faces.min_score == 0.9


def test_an_empty_variable_is_no_variable(monkeypatch):
    monkeypatch.setenv("DET_SIZE", "")

    assert Settings().faces.det_size == 640


def test_a_variable_that_settings_do_not_know_does_not_stop_them(monkeypatch):
    monkeypatch.setenv("OMMA_EVAL_DATA", "/pictures")

    Settings()


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_variable_stops_the_start_and_says_why(name):
    with pytest.raises(CannotStart, match=name) as caught:
        refuse_unsupported({name: "anything"})

    assert REFUSED[name] in str(caught.value)


def test_everything_else_may_be_set():
    refuse_unsupported({**dict.fromkeys((*ALIASES, *NATIVE, *PLANNED), "1"), "PATH": "/bin"})


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("OMMA_FACE__MIN_SCORE", "OMMA_FACE__MIN_SCORE sets nothing; OMMA_FACES__MIN_SCORE would"),
        ("OMMA_FACES__MIN_SCOR", "OMMA_FACES__MIN_SCOR sets nothing; OMMA_FACES__MIN_SCORE would"),
        ("OMMA_HTTP_PORT", "OMMA_HTTP_PORT sets nothing; OMMA_HTTP__PORT would"),
        ("omma_homes", "omma_homes sets nothing; OMMA_HOME would"),
        ("OMMA_SOMETHING_ELSE", "OMMA_SOMETHING_ELSE sets nothing"),
    ],
)
def test_a_variable_that_sets_nothing_is_told_with_the_nearest_that_does(name, line):
    assert without_meaning([name, "PATH"], Settings.variables()) == [line]


def test_variables_that_mean_something_are_not_told():
    known = Settings.variables()

    assert {"OMMA_HOME", "OMMA_FACES", "OMMA_INDEXES__GATE__CANARIES"} <= set(known)
    assert without_meaning([*known, "OMMA_URL", "OMMA_TOKEN", "omma_home", *ALIASES], known) == []
