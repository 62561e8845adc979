"""The environment variables that the five original services document, under their own names."""

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from omma.domain.errors import CannotStart


def _upper(value: str) -> str:
    return value.upper()


def _gpu(value: str) -> str:
    return "auto" if value.strip().lower() in {"1", "true", "yes", "on"} else "never"


def _integer(value: str) -> int | str:
    return int(value) if value.strip().isdigit() else value


def _origins(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _lower(value: str) -> str:
    return value.lower()


def _is_true(value: str) -> bool:
    return value.strip().lower() in {"1", "true", "yes", "on"}


def _blobs(value: str) -> str:
    """Results are documented to lie in STORAGE_DIR/{job_id}: here below `jobs` of the folder."""
    folder = PurePath(value)
    return str(folder.parent) if folder.name == "jobs" else value


def _database(environ: Mapping[str, str]) -> str | None:
    """The one that is named, else PostgreSQL's by its parts, else one in the folder named."""
    folder = environ.get("DATABASE_DIR")
    fallback = f"sqlite:///{PurePath(folder) / 'omma.db'}" if folder else None
    return environ.get("DATABASE_URL") or _postgres(environ) or fallback


def _postgres(environ: Mapping[str, str]) -> str | None:
    """None where only a user, a password or a port is named: that is no database yet."""
    if not (environ.get("POSTGRES_HOST") or environ.get("POSTGRES_DB")):
        return None
    user = environ.get("POSTGRES_USER") or "postgres"
    password = quote(environ.get("POSTGRES_PASSWORD", ""), safe="")
    host = environ.get("POSTGRES_HOST") or "localhost"
    port = environ.get("POSTGRES_PORT") or "5432"
    name = quote(environ.get("POSTGRES_DB") or user, safe="")  # as the server's own image has it
    login = quote(user, safe="") + (f":{password}" if password else "")
    if host.startswith("/"):  # the folder of a socket
        return f"postgresql://{login}@/{name}?host={quote(host)}&port={port}"
    return f"postgresql://{login}@{f'[{host}]' if ':' in host else host}:{port}/{name}"


def _media_store(environ: Mapping[str, str]) -> str | None:
    """None beside a stub, whatever the example of both says."""
    return None if _is_true(environ.get("MEDIA_STORE_STUB", "")) else environ["MEDIA_STORE_URL"]


def _media_folder(environ: Mapping[str, str]) -> str | None:
    return "media" if _is_true(environ.get("MEDIA_STORE_STUB", "")) else None


def _redis(environ: Mapping[str, str]) -> str:
    host = environ.get("REDIS_HOST") or "localhost"
    port = environ.get("REDIS_PORT") or "6379"
    password = quote(environ.get("REDIS_PASSWORD", ""), safe="")
    return f"redis://{f':{password}@' if password else ''}{host}:{port}/0"


@dataclass(frozen=True, slots=True)
class Alias:
    """Which settings a documented variable fills, and how its text is read."""

    settings: tuple[str, ...]  # dotted paths into Settings
    read: Callable[[str], Any] = str
    # Where several variables make one value: reads all of them; None leaves the settings alone.
    read_all: Callable[[Mapping[str, str]], Any] | None = None


ALIASES: Mapping[str, Alias] = {
    "DETECTION_THRESHOLD": Alias(("faces.min_score",)),
    "DET_SIZE": Alias(("faces.det_size",), _integer),
    "USE_GPU": Alias(("faces.detection.gpu", "faces.arcface.gpu", "faces.facenet.gpu"), _gpu),
    "LOG_LEVEL": Alias(("log.level",), _upper),
    "DATABASE_URL": Alias(("database.url",), read_all=_database),
    "DATABASE_DIR": Alias(("database.url",), read_all=_database),
    "POSTGRES_HOST": Alias(("database.url",), read_all=_database),
    "POSTGRES_PORT": Alias(("database.url",), read_all=_database),
    "POSTGRES_DB": Alias(("database.url",), read_all=_database),
    "POSTGRES_USER": Alias(("database.url",), read_all=_database),
    "POSTGRES_PASSWORD": Alias(("database.url",), read_all=_database),
    "SCRYFALL_DATA_DIR": Alias(("indexes.work_dir",)),
    "STORAGE_DIR": Alias(("blobs.url",), _blobs),
    "PUBLIC_KEY_PATH": Alias(("auth.public_key_path",)),
    "AUTH_DISABLED": Alias(("auth.disabled",)),
    "JWT_SECRET": Alias(("auth.secret",)),
    "JWT_ALGORITHM": Alias(("auth.algorithm",), _upper),
    "REDIS_HOST": Alias(("auth.redis_url", "indexes.redis_url"), read_all=_redis),
    "REDIS_PORT": Alias(("auth.redis_url", "indexes.redis_url"), read_all=_redis),
    "REDIS_PASSWORD": Alias(("auth.redis_url", "indexes.redis_url"), read_all=_redis),
    "WORKER_POLL_INTERVAL": Alias(("jobs.poll_interval_s",)),
    "WORKER_MAX_RETRIES": Alias(("jobs.max_retries",)),
    "MEDIA_STORE_URL": Alias(("media_store.url",), read_all=_media_store),
    "MEDIA_STORE_STUB": Alias(("media_store.folder",), read_all=_media_folder),
    "BROADCAST_TYPE": Alias(("broadcast.type",), _lower),
    "MQTT_BROKER": Alias(("broadcast.host",)),
    "MQTT_PORT": Alias(("broadcast.port",)),
    "MQTT_TOPIC": Alias(("broadcast.topic",)),
    "CALLBACK_URL": Alias(("callbacks.url",)),
    "CALLBACK_SECRET": Alias(("callbacks.secret",)),
    "FRONTEND_URL": Alias(("http.cors_origins",), _origins),
}

NATIVE: Mapping[str, str] = {
    "CUDA_VISIBLE_DEVICES": "read by CUDA and Ray themselves: which GPUs there are",
}

REFUSED: Mapping[str, str] = {
    "FLASK_ENV": "there is no Flask here; `make dev` reloads on change",
    "LOG_FILE_PATH": "logs go to files of the Ray session under OMMA_HOME, for a collector to read",
    "VISAGE_URL": "recognition runs inside omma: there is no second service to call",
}

# Documented by the originals; each arrives with the feature that it configures.
PLANNED: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY", "MIN_CLUSTER_SIZE", "MIN_SAMPLES",
            "CLUSTER_EPSILON",
        ),
        "event faces",
    ),
    **dict.fromkeys(
        (
            "MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD", "LOCAL_S3_PROXY_SERVICE_URL",
            "ALLOY_ENDPOINT", "USE_LOCAL", "MLFLOW_TRACKING_URI", "MODEL_URI", "RUN_ID",
        ),
        "classification",
    ),
}  # fmt: skip


PREFIX = "OMMA_"
LIKE = 0.8  # of difflib: less is another name
OTHERS = ("OMMA_URL", "OMMA_TOKEN", "OMMA_INSTANCE", "OMMA_EVAL_DATA")  # no settings, yet read
TESTS = "OMMA_TEST_"


class DocumentedVariables(PydanticBaseSettingsSource):
    """A settings source over `ALIASES`; ``OMMA_*`` variables win over it."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)
        self._environ = os.environ

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Answer a top-level field's value as far as documented variables set it."""
        del field
        return self().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Answer everything that documented variables set, as a tree of settings."""
        values: dict[str, Any] = {}
        for name, alias in ALIASES.items():
            if text := self._environ.get(name):
                value = alias.read_all(self._environ) if alias.read_all else alias.read(text)
                for path in alias.settings if value is not None else ():
                    _put(values, path.split("."), value)
        return values


def refuse_unsupported(environ: Mapping[str, str]) -> None:
    """Raise `CannotStart` naming every variable in ``environ`` that has no meaning here."""
    found = [f"{name}: {why}" for name, why in REFUSED.items() if name in environ]
    if found:
        raise CannotStart("unset these variables; " + "; ".join(found))


def without_meaning(environ: Iterable[str], known: Collection[str]) -> list[str]:
    """A line for each ``OMMA_*`` variable that sets nothing, with the nearest name that does."""
    lines: list[str] = []
    for name in sorted(environ):
        full = name.upper()  # as the settings read them
        is_ours = full.startswith(PREFIX) and not full.startswith(TESTS)
        if is_ours and full not in {*known, *OTHERS}:
            near = get_close_matches(full, known, 1, LIKE)
            lines.append(f"{name} sets nothing" + (f"; {near[0]} would" if near else ""))
    return lines


def _put(tree: dict[str, Any], path: list[str], value: Any) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = value
