"""What start and stop say to the person at the terminal."""

import sys
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from deployments.instance import Instance

READY = """\
omma is ready after {took_s:.0f} s ({processes} processes, {memory_mb:.0f} MB)
  API        {url}
  docs       {url}/docs
  dashboard  {dashboard_url}  (`{command} dashboard` prints its token)
  data       {home}
  command    {command}{awaited}
Ctrl-C or `{command} down` stops it."""

AWAITED = "\n  cards      none yet; `{command} indexes rebuild cards` fetches them: {awaited}"


def say(text: str) -> None:
    """Tell the person something, now; whoever has closed the terminal misses it."""
    with suppress(OSError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def mistakes(error: ValidationError) -> str:
    """What is wrong with the settings, in one line."""
    found = error.errors(include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found)


def ready_message(instance: Instance, took_s: float, memory_mb: float, awaited: str = "") -> str:
    """Where everything is, and how an index of cards is made that is ``awaited``."""
    command = _near(Path(sys.executable).with_name("omma"))
    return READY.format(
        took_s=took_s,
        processes=len(instance.processes),
        memory_mb=memory_mb,
        url=instance.url,
        dashboard_url=instance.dashboard_url,
        home=instance.home,
        command=command,
        awaited=AWAITED.format(command=command, awaited=awaited) if awaited else "",
    )


def _near(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
