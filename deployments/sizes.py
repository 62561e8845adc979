"""A file of config/ (Serve's own schema), as our settings and as options of deployments."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from omma.domain.errors import CannotStart
from omma.settings import AuthSettings, Settings

ROOT = Path(__file__).parents[1]  # where graph.py and config/ lie
DEFAULT = ROOT / "config" / "local.yaml"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run, and how much of it."""

    settings: Settings
    sizes: Mapping[str, Mapping[str, Any]]  # options of `serve.deployment` by name


def read_plan(path: Path, overrides: Mapping[str, Any] | None = None) -> Plan:
    """Read ``path``; ``overrides`` win over its ``args``, paths become absolute."""
    application = _application(path)
    settings = Settings(**_merged(application.get("args") or {}, overrides or {}))
    sizes = {
        entry["name"]: {key: value for key, value in entry.items() if key != "name"}
        for entry in application.get("deployments") or []
    }
    return Plan(_absolute(settings), sizes)


def read_home(path: Path) -> Path:
    """Where all state lies; nothing else in ``path`` and the environment need be right.

    Whoever wants to stop an instance shall not be kept from it by a mistyped setting.
    """
    home = Path(os.environ.get("OMMA_HOME", str(Settings.model_fields["home"].default)))
    with suppress(CannotStart, AttributeError, OSError):  # a file that nobody could start with
        home = (_application(path).get("args") or {}).get("home", home)
    return Path(home).resolve()


def _application(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text())
        [application] = document["applications"]
    except FileNotFoundError:
        raise CannotStart(f"there is no file {str(path)!r}") from None
    except (yaml.YAMLError, TypeError, KeyError, ValueError) as error:
        raise CannotStart(f"{str(path)!r} does not describe one application: {error}") from None
    return application


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) else value
    return merged


def _absolute(settings: Settings) -> Settings:
    """Replicas may work in another folder than the one the paths are relative to."""
    models_file = settings.models_file
    if not models_file.exists():
        models_file = ROOT / models_file
    return settings.model_copy(
        update={
            "home": settings.home.resolve(),
            "models_file": models_file.resolve(),
            "auth": _absolute_keys(settings.auth),
            "database": settings.database.model_copy(
                update={"url": _absolute_url(settings.database.url)}
            ),
            "blobs": settings.blobs.model_copy(update={"url": _absolute_place(settings.blobs.url)}),
        }
    )


def _absolute_keys(auth: AuthSettings) -> AuthSettings:
    paths: dict[str, Any] = {}
    if auth.public_key_path:
        paths["public_key_path"] = auth.public_key_path.resolve()
    if auth.jwks and "://" not in auth.jwks:  # else a URL
        paths["jwks"] = str(Path(auth.jwks).resolve())
    return auth.model_copy(update=paths)


def _absolute_url(url: str) -> str:
    """A SQLite database by its whole path; any other URL as it is."""
    scheme, separator, path = url.partition(":///")
    if not scheme.startswith("sqlite") or not separator or not path or path == ":memory:":
        return url
    return f"{scheme}:///{Path(path).resolve()}"


def _absolute_place(url: str) -> str:
    return url if not url or "://" in url else str(Path(url).resolve())
