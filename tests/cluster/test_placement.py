"""config/gpu.yaml on a machine that says it has a GPU."""

import subprocess
import sys

import pytest

from deployments.surroundings import client_environment

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
PLACES = """
import json, logging, sys, ray
from ray import serve
from deployments.preflight import require_places
from deployments.sizes import DEFAULT, read_plan
from graph import build_sized

ray.init(num_cpus=4, num_gpus=1, include_dashboard=False, logging_level=logging.ERROR)
plan = read_plan(DEFAULT.with_name("gpu.yaml"), {"home": sys.argv[1], "models_file": sys.argv[2]})
application = build_sized(plan.settings, plan.sizes)
require_places(application, [node["Resources"] for node in ray.nodes()])
serve.start(proxy_location="Disabled")
serve.run(application, name="omma")
left = ray.available_resources().get("GPU", 0)
deployments = serve.status().applications["omma"].deployments
states = {name: each.status for name, each in deployments.items()}
print("RESULT", json.dumps({"left": round(left, 2), "states": states}))
"""


def test_every_model_gets_its_share_of_one_gpu(server):
    command = [sys.executable, "-c", PLACES, str(server.home), str(server.models_file)]

    result = subprocess.run(  # noqa: S603
        command,
        env=server.environment()
        | client_environment(server.home),
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert '"left": 0.25' in result.stdout, result.stderr
    assert result.stdout.count("HEALTHY") == 7
