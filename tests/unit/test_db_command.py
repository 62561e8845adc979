"""`omma db`: what it prints, what it asks, and how it ends."""

import json
import os
import subprocess
import sys

import pytest
import yaml
from typer.testing import CliRunner

from omma.cli import db, main
from omma.stores.records import migrations
from omma.stores.records.migrations import revisions

NEWEST = revisions()[-1]


@pytest.fixture
def omma(tmp_path, monkeypatch):
    monkeypatch.setenv("OMMA_HOME", str(tmp_path / "var"))

    def omma(*arguments, answer=None):
        return CliRunner().invoke(db.app, arguments, input=answer)

    return omma


def revision_of(answer):
    assert answer.exit_code == 0, answer.stderr
    return json.loads(answer.stdout)["revision"]


def test_a_first_upgrade_makes_the_file_and_its_folder(omma, tmp_path):
    answer = omma("upgrade")

    assert answer.exit_code == 0
    assert answer.stdout.endswith(f"from no revision to {NEWEST}\n")
    assert (tmp_path / "var" / "omma.db").exists()


def test_a_second_upgrade_says_that_there_is_nothing_to_do(omma):
    omma("upgrade")

    answer = omma("upgrade")

    assert (answer.exit_code, "nothing to do" in answer.stdout) == (0, True)


def test_current_says_where_the_schema_is_and_where_it_might_be(omma):
    before = json.loads(omma("current", "--json").stdout)
    omma("upgrade")

    answer = omma("current")

    assert (before["revision"], before["newest"]) == ("", NEWEST)
    assert answer.stdout.endswith(f"is at {NEWEST}, the newest is {NEWEST}\n")


def test_a_downgrade_that_nobody_agreed_to_changes_nothing(omma):
    omma("upgrade")

    answer = omma("downgrade", "base")

    assert (answer.exit_code, "--yes" in answer.stderr) == (2, True)
    assert revision_of(omma("current", "--json")) == NEWEST


def test_a_downgrade_that_was_agreed_to_removes_the_tables(omma):
    omma("upgrade")

    answer = omma("downgrade", "base", "--yes")

    assert answer.exit_code == 0
    assert revision_of(omma("current", "--json")) == ""


def test_a_downgrade_to_no_known_revision_is_refused(omma):
    omma("upgrade")

    answer = omma("downgrade", "4711", "--yes")

    assert (answer.exit_code, "expected a revision among" in answer.stderr) == (2, True)


def test_a_revision_is_written_beside_the_others(omma, tmp_path, monkeypatch):
    for name in ("env.py", "script.py.mako"):
        (tmp_path / name).write_text((migrations.HERE / name).read_text())
    (tmp_path / "versions").mkdir()
    for path in (migrations.HERE / "versions").glob("v*.py"):
        (tmp_path / "versions" / path.name).write_text(path.read_text())
    monkeypatch.setattr(migrations, "HERE", tmp_path)
    omma("upgrade")

    answer = omma("revision", "-m", "more of it")

    number = f"{int(NEWEST) + 1:04d}"
    assert answer.stdout == f"{tmp_path / 'versions' / f'v{number}_more_of_it.py'}\n"
    assert revision_of(omma("current", "--json")) == NEWEST
    assert omma("upgrade").stdout.endswith(f"from {NEWEST} to {number}\n")


def test_the_database_is_the_one_of_the_named_configuration(omma, tmp_path):
    config = tmp_path / "my.yaml"
    args = {"database": {"url": f"sqlite:///{tmp_path / 'mine.db'}"}}
    config.write_text(yaml.safe_dump({"applications": [{"name": "omma", "args": args}]}))

    answer = omma("upgrade", "--config", str(config))

    assert answer.exit_code == 0
    assert (tmp_path / "mine.db").exists()


@pytest.mark.parametrize("text", ["{", "applications: 3", "applications: []", ""])
def test_a_file_that_is_no_configuration_is_refused(omma, tmp_path, text):
    config = tmp_path / "bad.yaml"
    config.write_text(text)

    answer = omma("current", "--config", str(config))

    assert (answer.exit_code, "does not describe" in answer.stderr) == (2, True)


def test_a_configuration_that_is_not_there_is_refused(omma, tmp_path):
    answer = omma("current", "--config", str(tmp_path / "none.yaml"))

    assert (answer.exit_code, "cannot read" in answer.stderr) == (2, True)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("postgresql://me:s3cret@127.0.0.1:1/omma", 1),
        ("postgresql://me@127.0.0.1:1/omma?password=s3cret", 1),
        ("mysql://me:s3cret@127.0.0.1/omma", 2),
        ("postgresql://me:s3cret@127.0.0.1:port/omma", 2),
        ("sqlite://", 2),
        ("s3cret", 2),
    ],
)
def test_no_fault_of_a_database_shows_its_password(omma, monkeypatch, url, code):
    monkeypatch.setenv("OMMA_DATABASE__URL", url)

    answer = omma("upgrade")

    assert answer.exit_code == code, answer.stderr
    assert answer.stderr.startswith("error: ")
    assert "s3cret" not in answer.stdout + answer.stderr


def test_a_mistyped_setting_is_named_without_its_value(omma, monkeypatch):
    monkeypatch.setenv("OMMA_DATABASE__POOL_SIZE", "s3cret")

    answer = omma("upgrade")

    assert (answer.exit_code, "database.pool_size" in answer.stderr) == (2, True)
    assert "s3cret" not in answer.stderr


def test_the_command_reaches_postgresql_without_showing_its_password(postgres_url):
    url = postgres_url.replace("postgres:@", "postgres:s3cret@")
    done = subprocess.run(
        [sys.executable, "-m", "omma.cli.main", "db", "current"],
        env={"OMMA_DATABASE__URL": url, "PATH": ""}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    assert f"is at {NEWEST}" in done.stdout
    assert "s3cret" not in done.stdout


def test_a_home_whose_name_is_not_utf8_is_told_to_people_and_to_programs(omma, tmp_path):
    home = tmp_path / os.fsdecode(b"th\xe9")
    home.mkdir()

    program = json.loads(omma("current", "--json", "--home", str(home)).stdout)
    told = CliRunner().invoke(main.app, ["db", "current", "--home", str(home)])

    assert program["database"] == rf"sqlite:///{tmp_path}/th\xe9/omma.db"
    assert told.stdout.startswith(rf"sqlite:///{tmp_path}/th\xe9/omma.db is at ")
