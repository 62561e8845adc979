import json
from pathlib import Path

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cluster():
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


@pytest.fixture(scope="module")
def schema():
    autoscaler = pytest.importorskip("ray.autoscaler")
    return json.loads((Path(autoscaler.__file__).parent / "ray-schema.json").read_text())


def test_the_launcher_accepts_the_file(cluster, schema):
    jsonschema.validate(cluster, schema)

    assert cluster["head_node_type"] in cluster["available_node_types"]
    assert "cluster_synced_files" in cluster  # Ray takes its absence for a file of another version


def test_there_is_a_head_a_cpu_group_and_a_gpu_group(cluster):
    groups = cluster["available_node_types"]

    assert set(groups) == {"head", "cpu", "gpu"}
    assert groups["gpu"]["resources"]["GPU"] == 1
    assert groups["cpu"]["resources"].keys() == {"CPU"}


def test_every_node_asks_for_the_token_and_the_dashboard_stays_on_loopback(cluster):
    head = " ".join(cluster["head_start_ray_commands"])

    assert "--env RAY_AUTH_MODE=token" in cluster["docker"]["run_options"]
    assert "--dashboard-host=127.0.0.1" in head
    assert any(path.endswith(".ray/auth_token") for path in cluster["file_mounts"])


def test_no_replica_yields_to_other_programs_of_its_node(cluster):
    assert "--env RAY_worker_niceness=0" in cluster["docker"]["run_options"]


def test_the_container_keeps_its_state_where_the_image_expects_it(cluster):
    image = (ROOT / "Dockerfile").read_text()

    assert "OMMA_HOME=/var/lib/omma" in image
    assert any(option.endswith(":/var/lib/omma") for option in cluster["docker"]["run_options"])


def test_the_image_runs_as_a_user_from_hashed_locks_and_no_index():
    image = (ROOT / "Dockerfile").read_text()

    assert image.index("\nUSER omma") < image.index("\nCMD")
    assert "--require-hashes" in image
    assert "://" not in image.replace("http://127.0.0.1:8000/health", "")
    assert "HEALTHCHECK" in image
