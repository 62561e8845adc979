"""The command as a whole."""

import subprocess
import sys

HEAVY = {"cv2", "faiss", "fastapi", "h5py", "insightface", "obstore", "onnxruntime", "ray", "scipy"}


def test_its_help_imports_nothing_heavy():
    script = (
        "import sys; from omma.cli.main import app; "
        "app(['--help'], standalone_mode=False); print(*sys.modules)"
    )

    ended = subprocess.run(  # noqa: S603  our own script
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert "Usage" in ended.stdout
    assert not HEAVY & set(ended.stdout.split())
