"""HAProxy that shows its inside to loopback only, says whose it is, and logs no query.

Serve writes HAProxy's configuration with its statistics and metrics on every interface, and with
logs of whole URLs, and offers no setting; it does let us name the program that it starts. Ours
corrects the file and then becomes HAProxy, so that Serve's signals and checks reach the real one.
"""

from pathlib import Path

WRAPPER = r"""#!/bin/sh
# Written at every start by omma. Serve and its replicas listen on loopback alone; the frontend
# for requests, and nothing else, listens where the settings say. The log's format is that of
# `option httplog`, with the path in place of the URL: a query may hold a token. Behind each
# `option httpchk` stands what `deployments.ownership` looks for: a backend takes for a server of
# ours, and asks, only what proves that it is; an id from the HAProxy before us stays as it is.
previous=
for argument; do
  [ "$previous" = -f ] && sed -i \
    -e 's/^\( *bind  *\)\(\*\|0\.0\.0\.0\|\[::\]\)\{0,1\}:\([0-9]\)/\1127.0.0.1:\3/' \
    -e '/^frontend http_frontend/,/^\(frontend\|backend\|listen\)/s/^\( *bind  *\)127\.0\.0\.1:/\1@HOST@:/' \
    -e 's/^\( *stats socket .*\)mode 666/\1mode 600/' \
    -e 's|^\( *\)option httplog *$|\1log-format "@FORMAT@"|' \
    -e '/@OWNER@/d' \
    -e 's|^\( *\)option httpchk .*|&@OWNED@|' "$argument"
  previous=$argument
done
exec "@BINARY@" "$@"
"""  # noqa: E501  one expression of sed
LOG_FORMAT = (
    "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc"
    " %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %HM %HP %HV"
)
OWNER = "x-omma-instance"  # the header with the id of the instance that a request is for
OWNED = (
    "http-check send hdr @OWNER@ @ID@",
    "http-check expect hdr name @OWNER@ value @ID@",
    "http-request set-header @OWNER@ @ID@ unless { req.hdr(@OWNER@) -m found }",
)


def write_wrapper(path: Path, binary: str, host: str, instance: str) -> Path:
    """Put a program at ``path`` that Serve can start in place of ``binary``.

    Of all that it listens to, requests alone are taken at ``host``; they are for ``instance``.
    """
    host = f"[{host}]" if ":" in host else host
    owned = "".join(rf"\n\1{line}" for line in OWNED)
    values = {"@BINARY@": binary, "@FORMAT@": LOG_FORMAT, "@HOST@": host, "@OWNED@": owned}
    values |= {"@OWNER@": OWNER, "@ID@": instance}
    text = WRAPPER
    for name, value in values.items():
        text = text.replace(name, value)
    path.write_text(text)
    path.chmod(0o700)
    return path
