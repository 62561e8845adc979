import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from deployments import instance as instances
from deployments.instance import (
    Instance,
    lock,
    make_private,
    new_mark,
    of_home,
    read_instance,
    run_dir,
    short,
)
from deployments.reaping import Process, itself
from omma.domain.errors import CannotStart

NOBODY = 65534


@pytest.fixture
def instance(tmp_path):
    return Instance(
        home=str(tmp_path),
        mark=new_mark(tmp_path),
        process=itself(),
        config="config/local.yaml",
        host="127.0.0.1",
        port=8000,
        short_home=str(tmp_path),
    )


def test_a_record_is_read_as_it_was_written(instance, tmp_path):
    written = instance.but(is_ready=True, processes=(Process(1, 2, "init"),))

    written.write()

    assert read_instance(tmp_path) == written


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"home": "/", "mark": "of an older version"}'])
def test_a_record_that_is_not_understood_is_none(tmp_path, text):
    instances.record_path(tmp_path).write_text(text)

    assert read_instance(tmp_path) is None


def test_no_record_is_none(tmp_path):
    assert read_instance(tmp_path) is None


def test_nobody_else_looks_into_what_runs(tmp_path):
    assert stat.S_IMODE(run_dir(tmp_path).stat().st_mode) == 0o700


def test_an_instance_is_alive_while_its_process_is(instance):
    gone = instance.but(process=Process(os.getpid(), 1))

    assert (instance.is_alive, gone.is_alive) == (True, False)


def test_marks_tell_instances_and_homes_apart(tmp_path):
    first, second = new_mark(tmp_path / "a"), new_mark(tmp_path / "a")

    assert first != second
    assert of_home(tmp_path / "a")(first)
    assert not of_home(tmp_path)(first)


@pytest.fixture
def shared():
    """A folder that every user may enter."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_nobody_else_sees_into_a_home_or_moves_what_is_in_it(shared):
    home = shared / "home"
    (home / "ray").mkdir(parents=True)
    (home / "ray").chmod(0o777)  # as Ray does
    home.chmod(0o755)

    assert make_private(home) == ""

    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    if os.geteuid() == 0:  # only root can try as another
        program = f"ls {home} || ls {home}/ray || mv {home}/ray {home}/mine"
        tried = subprocess.run(["sh", "-c", program], user=NOBODY, capture_output=True, text=True)  # noqa: S603, S607, PLW1510
        assert tried.returncode != 0
        assert tried.stderr.count("Permission denied") == 3
    assert (home / "ray").is_dir()


def test_a_home_that_all_users_share_is_refused(shared):
    shared.chmod(0o1777)

    with pytest.raises(CannotStart, match="of its own"):
        make_private(shared)

    assert stat.S_IMODE(shared.stat().st_mode) == 0o1777
    assert list(shared.iterdir()) == []


def test_a_home_of_another_user_is_warned_of_and_left_as_it_is(shared, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)

    assert "another user" in make_private(shared)

    assert stat.S_IMODE(shared.stat().st_mode) == 0o755


def test_one_home_is_locked_once(tmp_path):
    program = f"from deployments.instance import *; print(lock(Path({str(tmp_path)!r})))"

    def another():
        return subprocess.run(  # noqa: S603
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout.strip()

    assert another() == "True"
    assert lock(tmp_path)
    assert another() == "False"


def test_a_short_home_is_used_as_it_is():
    assert short(Path("/srv/omma")) == "/srv/omma"


@pytest.mark.parametrize("name", ["my home", "tab\t", "#1", "a'b"])
def test_a_home_that_haproxy_would_misread_gets_a_link(instance, name):
    link = short(Path("/srv", name))

    assert Path(link).readlink() == Path("/srv", name)
    assert instances.PLAIN.fullmatch(link)
    instance.but(short_home=link).forget()


@pytest.mark.parametrize(
    ("host", "url"), [("127.0.0.1", "http://127.0.0.1:8000"), ("::1", "http://[::1]:8000")]
)
def test_the_url_tells_the_address_from_the_port(instance, host, url):
    assert instance.but(host=host).url == url


def test_a_long_home_gets_a_private_link_that_goes_with_the_instance(instance, tmp_path):
    home = tmp_path / ("long" * 20)
    home.mkdir()

    link = Path(short(home))

    assert len(str(link)) <= instances.LONGEST_HOME
    assert link.resolve() == home.resolve()
    assert stat.S_IMODE(link.parent.stat().st_mode) == 0o700
    instance.but(home=str(home), short_home=str(link)).forget()
    assert not link.parent.exists()
    assert home.exists()
