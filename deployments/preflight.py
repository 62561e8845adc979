"""Which deployment cannot be placed, and why, before Serve waits for ever in silence."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray.serve import Application

from omma.domain.errors import CannotStart

GIB = 1024**3
EPSILON = 1e-6  # Ray counts resources in ten-thousandths
SERVE_CPUS = 1.0  # of a replica, where nothing is said


@dataclass(frozen=True, slots=True)
class Demand:
    """What each replica of a deployment needs, and how many there are from the start."""

    name: str
    replicas: int
    resources: Mapping[str, float]


def require_places(application: Application, nodes: Sequence[Mapping[str, float]]) -> None:
    """Raise `CannotStart` saying what does not fit on ``nodes``, the resources of each."""
    if reasons := unplaceable(demands(application), nodes):
        raise CannotStart("not every deployment finds a place: " + "; ".join(reasons))


def demands(application: Application) -> list[Demand]:
    """What ``application`` asks of the cluster, ingress first."""
    return [_demand(deployment) for deployment in _deployments(application)]


def unplaceable(wanted: Sequence[Demand], nodes: Sequence[Mapping[str, float]]) -> list[str]:
    """One sentence for each of ``wanted`` that finds no place; the hungriest choose first."""
    free = [dict(node) for node in nodes]
    reasons: list[str] = []
    for demand in sorted(wanted, key=_hunger, reverse=True):
        for replica in range(demand.replicas):
            node = next((node for node in free if _lacking(demand, node) is None), None)
            if node is None:
                reasons.append(_reason(demand, replica, nodes, free))
                break
            for resource, amount in demand.resources.items():
                node[resource] = node.get(resource, 0.0) - amount
    return reasons


def _deployments(application: Application, seen: set[str] | None = None) -> Iterator[Any]:
    """Every deployment once, however many others call it."""
    seen = set() if seen is None else seen
    # Serve has no public way to list what an application binds.
    deployment: Any = application._bound_deployment  # noqa: SLF001
    if deployment.name in seen:
        return
    seen.add(deployment.name)
    yield deployment
    for argument in (*deployment.init_args, *deployment.init_kwargs.values()):
        for bound in argument.values() if isinstance(argument, Mapping) else [argument]:
            if isinstance(bound, Application):
                yield from _deployments(bound, seen)


def _demand(deployment: Any) -> Demand:
    options: dict[str, Any] = deployment.ray_actor_options or {}
    resources = {
        "CPU": options.get("num_cpus", SERVE_CPUS),
        "GPU": options.get("num_gpus", 0),
        "memory": options.get("memory", 0),
        **(options.get("resources") or {}),
    }
    wanted = {name: float(amount) for name, amount in resources.items() if amount}
    return Demand(deployment.name, _initial_replicas(deployment), wanted)


def _initial_replicas(deployment: Any) -> int:
    scaling = deployment._deployment_config.autoscaling_config  # noqa: SLF001
    if scaling is None:
        return deployment.num_replicas or 1
    initial = scaling.initial_replicas
    return scaling.min_replicas if initial is None else initial


def _hunger(demand: Demand) -> tuple[float, float, float]:
    wants = demand.resources
    return wants.get("GPU", 0.0), wants.get("memory", 0.0), wants.get("CPU", 0.0)


def _lacking(demand: Demand, node: Mapping[str, float]) -> str | None:
    """The first resource of which ``node`` has too little."""
    for resource, amount in demand.resources.items():
        if node.get(resource, 0.0) + EPSILON < amount:
            return resource
    return None


def _reason(
    demand: Demand,
    replica: int,
    nodes: Sequence[Mapping[str, float]],
    free: Sequence[Mapping[str, float]],
) -> str:
    which = f"{demand.name} (replica {replica + 1} of {demand.replicas})"
    never = [_lacking(demand, node) for node in nodes]
    if None not in never:
        resource = next(filter(None, never), "CPU")  # without any node, CPUs are missing
        have = max((node.get(resource, 0.0) for node in nodes), default=0.0)
        return f"{which} needs {_said(demand, resource)}, the largest node has {_many(have)}"
    resource = next(lack for lack in (_lacking(demand, node) for node in free) if lack)
    left = max(node.get(resource, 0.0) for node in free)
    return f"{which} needs {_said(demand, resource)}, the others leave {_many(left)} on one node"


def _said(demand: Demand, resource: str) -> str:
    amount = demand.resources[resource]
    return f"{amount / GIB:g} GiB memory" if resource == "memory" else f"{amount:g} {resource}"


def _many(amount: float) -> str:
    return f"{amount / GIB:.1f} GiB" if amount > GIB / 2 else f"{max(amount, 0):g}"
