from pathlib import Path

import pytest
import yaml
from ray.serve._private.api import call_user_app_builder_with_args_if_necessary as built_by_serve
from ray.serve.schema import ServeDeploySchema

from deployments.preflight import demands
from deployments.serving import DRAIN_S
from deployments.sizes import DEFAULT, read_home, read_plan
from graph import build, build_sized
from omma.domain.errors import CannotStart
from omma.services.runner import RELEASE_S

FILES = sorted(DEFAULT.parent.glob("*.yaml"))
SERVE_FILES = [path for path in FILES if path.name != "models.yaml"]
EMPTY = "applications: [{name: omma, import_path: 'graph:build'}]"
LIMITS = {
    "max_ongoing_requests",
    "graceful_shutdown_timeout_s",
    "health_check_period_s",
    "health_check_timeout_s",
    "ray_actor_options",
}
files = pytest.mark.parametrize("path", SERVE_FILES, ids=lambda path: path.name)


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return path

    return write


@files
def test_serve_accepts_every_file_of_config(path):
    ServeDeploySchema.model_validate(yaml.safe_load(path.read_text()))


@files
def test_serve_builds_the_graph_of_every_file(path):
    [application] = yaml.safe_load(path.read_text())["applications"]

    built = built_by_serve(build, application["args"])

    assert {demand.name for demand in demands(built)} == set(read_plan(path).sizes)


@files
def test_every_deployment_names_its_limits(path):
    plan = read_plan(path)
    names = {demand.name for demand in demands(build_sized(plan.settings, plan.sizes))}

    assert names == set(plan.sizes)
    for name, options in plan.sizes.items():
        assert set(options) >= LIMITS, name
        assert ("num_replicas" in options) != ("autoscaling_config" in options), name
        assert "num_cpus" in options["ray_actor_options"], name


@files
def test_the_ingress_never_waits_for_a_place_and_models_have_three_batches(path):
    plan = read_plan(path)
    faces = plan.settings.faces
    batches = {
        "FaceDetection": faces.detection.max_batch,
        "ArcFace": faces.arcface.max_batch,
        "FaceNet": faces.facenet.max_batch,
        "ImageEmbedding": plan.settings.embedding.max_batch,
        "CardMatching": plan.settings.cards.max_batch,
    }

    assert plan.sizes["Ingress"]["max_ongoing_requests"] >= 1000
    for name, size in batches.items():
        if name not in plan.sizes:  # its engine lives in the ingress
            continue
        assert plan.sizes[name]["max_ongoing_requests"] >= 3 * size, name


@files
def test_one_replica_scales_at_about_one_batch(path):
    plan = read_plan(path)
    faces = plan.settings.faces
    batches = {
        "FaceDetection": faces.detection.max_batch,
        "ArcFace": faces.arcface.max_batch,
        "CardMatching": plan.settings.cards.max_batch,
    }

    for name, batch in batches.items():
        if scaling := plan.sizes.get(name, {}).get("autoscaling_config"):
            assert scaling["target_ongoing_requests"] == batch, name


@files
def test_who_runs_jobs_has_the_time_to_let_them_end_or_hand_them_back(path):
    plan = read_plan(path)
    name = "Ingress" if plan.settings.jobs.colocated else "JobRunner"

    patience_s = plan.sizes[name]["graceful_shutdown_timeout_s"]

    assert patience_s >= plan.settings.jobs.drain_s + RELEASE_S + 1


def test_omma_waits_for_that_when_it_stops():
    for name in ("local.yaml", "split.yaml"):
        sizes = read_plan(DEFAULT.with_name(name)).sizes.values()

        assert max(each["graceful_shutdown_timeout_s"] for each in sizes) < DRAIN_S


def test_relative_places_of_records_and_files_become_absolute(written, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args = "{database: {url: 'sqlite:///data/omma.db'}, blobs: {url: files}}"

    settings = read_plan(written(f"{EMPTY[:-2]}, args: {args}}}]")).settings

    assert settings.database_url == f"sqlite:///{tmp_path}/data/omma.db"
    assert settings.blobs_url == f"{tmp_path}/files"


@pytest.mark.parametrize("url", ["postgresql://h/data", "sqlite:////data/omma.db"])
def test_a_database_that_is_absolute_stays_as_it_is(written, url):
    args = f"{{database: {{url: '{url}'}}, blobs: {{url: 's3://bucket/a'}}}}"

    settings = read_plan(written(f"{EMPTY[:-2]}, args: {args}}}]")).settings

    assert (settings.database_url, settings.blobs_url) == (url, "s3://bucket/a")


def test_the_local_file_leaves_a_core_of_two_to_tasks():
    sizes = read_plan(DEFAULT).sizes

    assert sum(each["ray_actor_options"]["num_cpus"] for each in sizes.values()) <= 1


def test_one_machine_leaves_a_core_of_two_to_tasks_with_every_engine_apart():
    sizes = read_plan(DEFAULT.with_name("split.yaml")).sizes

    assert sum(map(_most_cpus, sizes.values())) <= 1


def _most_cpus(options):
    replicas = options.get("autoscaling_config", {}).get("max_replicas", 1)
    return replicas * options["ray_actor_options"]["num_cpus"]


def test_args_become_settings_and_overrides_win(written):
    path = written(f"{EMPTY[:-2]}, args: {{http: {{port: 1, host: h}}}}}}]")

    http = read_plan(path, {"http": {"port": 2}}).settings.http

    assert (http.host, http.port) == ("h", 2)


def test_paths_become_absolute(written, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    settings = read_plan(written(EMPTY)).settings

    assert settings.home == tmp_path / "var"
    assert settings.models_file == Path(DEFAULT.parent, "models.yaml")


@pytest.mark.parametrize("text", ["", "applications: []", "[", "applications: [{}, {}]"])
def test_a_file_that_is_no_application_says_so(written, text):
    with pytest.raises(CannotStart, match="one application"):
        read_plan(written(text))


def test_a_file_that_is_not_there_says_so(tmp_path):
    with pytest.raises(CannotStart, match="no file"):
        read_plan(tmp_path / "none.yaml")


@pytest.mark.parametrize("text", ["[", "applications: [none]", "applications: [{args: {x: 1}}]"])
def test_the_home_is_found_though_nothing_else_is_right(written, tmp_path, monkeypatch, text):
    monkeypatch.setenv("OMMA_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("OMMA_FACES__NO_SUCH", "1")

    assert read_home(written(text)) == tmp_path / "state"


def test_a_file_may_name_the_home(written, tmp_path):
    path = written(f"{EMPTY[:-2]}, args: {{home: {tmp_path}/state}}}}]")

    assert read_home(path) == read_plan(path).settings.home == tmp_path / "state"


def test_without_a_word_the_home_is_that_of_the_settings(written, tmp_path, monkeypatch):
    monkeypatch.delenv("OMMA_HOME", raising=False)
    monkeypatch.chdir(tmp_path)

    assert read_home(tmp_path / "none.yaml") == read_plan(written(EMPTY)).settings.home
