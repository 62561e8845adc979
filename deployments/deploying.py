"""`python -m deployments.deploying HOME`: puts the graph onto Ray, and ends.

A process of its own: it imports the code as it is now, while Ray is starting, and what it has
imported does not stay in memory. Ray's address comes by standard input; why nothing was deployed,
or what the index of cards waits for, goes to standard output.
"""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import ray
from pydantic import ValidationError
from ray import serve
from ray.serve.config import HTTPOptions
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview

from deployments.first_index import awaited_index, publish_shipped
from deployments.instance import Instance, read_instance
from deployments.logs import serve_logging
from deployments.preflight import require_places
from deployments.records import prepare_records, require_shared
from deployments.sizes import Plan, read_plan
from deployments.speech import mistakes, say
from deployments.surroundings import LOOPBACK
from graph import build_sized
from omma.domain.errors import CannotStart

NAME = "omma"
POLL_S = 0.2
FAILED = {ApplicationStatus.DEPLOY_FAILED, ApplicationStatus.UNHEALTHY}


def plan_of(instance: Instance) -> Plan:
    """What the files and the environment say now, at the address of ``instance``."""
    address = {"host": instance.host, "port": instance.port}
    return read_plan(Path(instance.config), {"home": instance.home, "http": address})


def deploy(plan: Plan) -> None:
    """Run the graph and wait until every deployment answers; say how far it is."""
    logging.getLogger("ray.serve").setLevel(logging.WARNING)  # of this process: we say it better
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    require_shared(plan.settings, len(nodes))
    application = build_sized(plan.settings, plan.sizes)
    require_places(application, nodes)
    asyncio.run(prepare_records(plan.settings))  # once, before replicas look
    asyncio.run(publish_shipped(plan.settings))
    http, logs = plan.settings.http, serve_logging(plan.settings.log)
    serve.start(
        proxy_location="HeadOnly",
        # Replicas answer on loopback; HAProxy, as we write it, where the settings say.
        http_options=HTTPOptions(host=LOOPBACK, port=http.port),
        logging_config=logs,
    )
    target = serve.RunTarget(application, name=NAME, logging_config=logs)
    serve.run_many([target], wait_for_applications_running=False)
    _await_running()


def _await_running() -> None:
    told = ""
    while (state := serve.status().applications[NAME]).status is not ApplicationStatus.RUNNING:
        if state.status in FAILED:
            raise CannotStart(_why(state))
        if (news := _progress(state)) != told:
            told = news
            say(news)
        time.sleep(POLL_S)


def _progress(state: ApplicationStatusOverview) -> str:
    ready = [name for name, each in state.deployments.items() if each.status == "HEALTHY"]
    return f"loading: {len(ready)} of {len(state.deployments)} deployments ready"


def _why(state: ApplicationStatusOverview) -> str:
    told = {name: _gist(each.message) for name, each in state.deployments.items() if each.message}
    reasons = [f"{name}: {message}" for name, message in told.items() if message]
    return "; ".join(reasons) or _gist(state.message) or "a deployment failed without a word"


def _gist(message: str) -> str:
    """The exception at the end of the first traceback in ``message``, or its first line."""
    lines = message.strip().splitlines()
    return next(filter(None, _exceptions(lines)), lines[0] if lines else "")


def _exceptions(lines: Iterable[str]) -> Iterable[str]:
    for line in lines:
        name, colon, _ = line.partition(":")
        if colon and name.replace(".", "").replace("_", "").isalnum() and "." in name:
            yield line.rpartition("omma.domain.errors.")[2]


def main(home: Path) -> int:
    """Deploy what ``home`` has recorded; 1, with the reason, where that is not possible."""
    instance = read_instance(home)
    address = sys.stdin.readline().strip()
    if instance is None or not address:  # whoever asked is gone
        return 1
    ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    try:
        plan = plan_of(instance)
        deploy(plan)
        sys.stdout.write(asyncio.run(awaited_index(plan.settings)))
    except CannotStart as error:
        return _give_up(str(error))
    except ValidationError as error:
        return _give_up(mistakes(error))
    return 0


def _give_up(reason: str) -> int:
    sys.stdout.write(reason)
    sys.stdout.flush()
    return 1


if __name__ == "__main__":
    os._exit(main(Path(sys.argv[1])))
