import re
import tomllib
from pathlib import Path

import pytest

REQUIREMENTS = Path(__file__).parents[2] / "requirements"
LOCKS = ("cpu", "dev", "gpu")
PIN = re.compile(r"(?P<name>[a-z0-9][a-z0-9._-]*)==(?P<version>[^ ]+)( ; (?P<marker>.+))?")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def read(lock):
    return (REQUIREMENTS / f"{lock}.txt").read_text()


def entries(lock):
    """Every requirement of the lock on one line, comments gone."""
    code = re.sub(r"^\s*#.*\n", "", read(lock), flags=re.MULTILINE)
    return [line for line in code.replace("\\\n", "").splitlines() if line.strip()]


def pins(lock):
    found = [PIN.match(line) for line in entries(lock)]
    return {(pin["name"], (pin["marker"] or "").strip()): pin["version"] for pin in found if pin}


def names(lock):
    return {name for name, _ in pins(lock)}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_entry_is_one_version_with_hashes_and_nothing_else(lock):
    for entry in entries(lock):
        requirement, *hashes = re.split(r"\s+(?=--hash)", entry.strip())

        assert PIN.fullmatch(requirement.strip()), entry
        assert hashes, requirement
        assert all(HASH.fullmatch(digest) for digest in hashes), requirement


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_knows_where_it_was_made(lock):
    text = read(lock)

    assert "://" not in text
    assert "index-url" not in text
    assert "find-links" not in text
    assert not re.search(r"(^|[\s=])/\w", text), "an absolute path"


@pytest.mark.parametrize("lock", LOCKS)
def test_each_lock_holds_one_cv2_and_it_is_headless(lock):
    assert {name for name in names(lock) if name.startswith("opencv")} == {"opencv-python-headless"}


@pytest.mark.parametrize(
    ("lock", "runtime", "index"),
    [
        ("cpu", "onnxruntime", "faiss-cpu"),
        ("dev", "onnxruntime", "faiss-cpu"),
        ("gpu", "onnxruntime-gpu", "faiss-gpu"),
    ],
)
def test_each_lock_holds_one_onnxruntime_and_one_faiss(lock, runtime, index):
    assert {name for name in names(lock) if name.startswith("onnxruntime")} == {runtime}
    assert {name for name in names(lock) if name.startswith("faiss")} == {index}


def test_the_gpu_lock_is_cuda_12_throughout_with_one_of_each_library():
    nvidia = {name for name in names("gpu") if name.startswith("nvidia-")}

    assert "nvidia-cudnn-cu12" in nvidia
    assert "nvidia-cublas-cu12" in nvidia
    assert {name for name in nvidia if not name.endswith("-cu12")} == set()


@pytest.mark.parametrize("lock", ["cpu", "dev"])
def test_locks_without_a_gpu_carry_no_cuda(lock):
    assert not {name for name in names(lock) if name.startswith("nvidia-")}


def test_the_tests_run_on_exactly_what_is_served():
    assert pins("cpu").items() <= pins("dev").items()


def test_packages_that_both_places_need_have_one_version():
    cpu, gpu = pins("cpu"), pins("gpu")

    assert {name: cpu[name] for name in cpu.keys() & gpu} == {
        name: gpu[name] for name in cpu.keys() & gpu
    }


@pytest.mark.parametrize(
    ("lock", "extra", "groups"),
    [("cpu", "cpu", ["build"]), ("dev", "cpu", ["build", "dev"]), ("gpu", "gpu", ["build"])],
)
def test_the_locks_hold_what_pyproject_asks_for(lock, extra, groups):
    pyproject = tomllib.loads((REQUIREMENTS.parent / "pyproject.toml").read_text())
    asked = pyproject["project"]["dependencies"]
    asked = asked + pyproject["project"]["optional-dependencies"][extra]
    asked = asked + [each for group in groups for each in pyproject["dependency-groups"][group]]

    assert {re.split(r"[\[=<>; ]", each)[0] for each in asked} <= names(lock)
