"""How many job runners there shall be, from what they themselves report."""

import math
from collections.abc import Mapping
from typing import Any

from ray.serve.config import AutoscalingContext

NOTHING: Mapping[Any, float] = {}


def by_queue(context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
    """One runner for every ``per_runner`` jobs that wait or run.

    Serve keeps the answer between ``min_replicas`` and ``max_replicas``, and waits its delays, so
    that a short queue starts nobody and a short pause stops nobody.
    """
    reported = context.aggregated_metrics or {}
    waiting = max(reported.get("waiting", NOTHING).values(), default=0.0)  # all see one queue
    running = sum(reported.get("running", NOTHING).values())
    per_runner = max(reported.get("per_runner", NOTHING).values(), default=0.0)
    if not per_runner:  # nobody has reported yet
        return context.target_num_replicas, {}
    return max(1, math.ceil((waiting + running) / per_runner)), {}
