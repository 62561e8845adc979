"""HAProxy that shows its inside to loopback only, and writes no query into a log.

Serve writes HAProxy's configuration with its statistics and metrics on every interface, and with
logs of whole URLs, and offers no setting; it does let us name the program that it starts. Ours
corrects the file and then becomes HAProxy, so that Serve's signals and checks reach the real one.
"""

from pathlib import Path

WRAPPER = r"""#!/bin/sh
# Written at every start by omma. Serve and its replicas listen on loopback alone; the frontend
# for requests, and nothing else, listens where the settings say. The log's format is that of
# `option httplog`, with the path in place of the URL: a query may hold a token.
previous=
for argument; do
  [ "$previous" = -f ] && sed -i \
    -e 's/^\( *bind  *\)\(\*\|0\.0\.0\.0\|\[::\]\)\{0,1\}:\([0-9]\)/\1127.0.0.1:\3/' \
    -e '/^frontend http_frontend/,/^\(frontend\|backend\|listen\)/s/^\( *bind  *\)127\.0\.0\.1:/\1@HOST@:/' \
    -e 's/^\( *stats socket .*\)mode 666/\1mode 600/' \
    -e 's|^\( *\)option httplog *$|\1log-format "@FORMAT@"|' "$argument"
  previous=$argument
done
exec "@BINARY@" "$@"
"""  # noqa: E501  one expression of sed
LOG_FORMAT = (
    "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc"
    " %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %HM %HP %HV"
)


def write_wrapper(path: Path, binary: str, host: str) -> Path:
    """Put a program at ``path`` that Serve can start in place of ``binary``.

    Of all that it listens to, requests alone are taken at ``host``.
    """
    host = f"[{host}]" if ":" in host else host
    values = {"@BINARY@": binary, "@FORMAT@": LOG_FORMAT, "@HOST@": host}
    text = WRAPPER
    for name, value in values.items():
        text = text.replace(name, value)
    path.write_text(text)
    path.chmod(0o700)
    return path
