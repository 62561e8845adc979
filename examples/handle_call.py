"""Finds the faces of an image through a Serve handle: examples/handle_call.py IMAGE.

Run it from any process that Ray lets into the cluster: `omma status` prints the environment.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import ray
from ray import serve


def main(image: Path) -> None:
    """Print one line per face, best first."""
    ray.init(address=os.environ["RAY_ADDRESS"], log_to_driver=False, logging_level="ERROR")
    handle = serve.get_app_handle("omma")
    found = handle.detect_faces.remote(image.read_bytes()).result(timeout_s=60)
    for face in found.faces:
        x1, y1, x2, y2 = face.box.round().astype(int)
        print(f"{face.score:.2f}  from ({x1}, {y1}) to ({x2}, {y2})  quality {face.quality:.2f}")
    print(f"{len(found.faces)} faces in {found.width_px}x{found.height_px} px")


def environment() -> dict[str, str]:
    """Address and token of the instance that runs here."""
    status = [sys.executable, "-m", "deployments.lifecycle", "status"]
    told = subprocess.run(status, check=False, capture_output=True, text=True)
    running = json.loads(told.stdout)
    if not running["is_running"]:
        sys.exit("nothing runs here: start it with `make run`")
    return running["ray"]


if __name__ == "__main__":
    if "RAY_ADDRESS" not in os.environ:
        # Ray reads these when it is imported, so this program starts once more with them.
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **environment()})
    main(Path(sys.argv[1]))
