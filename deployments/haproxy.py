"""HAProxy that shows its inside to loopback only, says whose it is, and logs no query.

Its own answers are problem details, as all others are: 503 where no replica is up, and the like.

Serve writes HAProxy's configuration with its statistics and metrics on every interface, and with
logs of whole URLs, and offers no setting; it does let us name the program that it starts. Ours
corrects the file and then becomes HAProxy, so that Serve's signals and checks reach the real one.
"""

from pathlib import Path

from omma.wire.problems import PROBLEM_MEDIA_TYPE, TYPE_PREFIX, Problem

RETRY_AFTER = ' hdr Retry-After "1"'
PROBLEMS = {
    502: ("bad_gateway", "Bad Gateway", "a replica broke off", ""),
    503: ("service_unavailable", "Service Unavailable", "no replica is up", RETRY_AFTER),
    504: ("gateway_timeout", "Gateway Timeout", "a replica took too long", ""),
}
NOT_FOUND = ("not_found", "Not Found", "nothing is served at this path")
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
@ERRORS@
    -e 's|^\( *http-request return status 404 content-type \)text/plain lf-string ".*"$|\1@NOT_FOUND@|' \
    -e '/@OWNER@/d' \
    -e 's|^\( *\)option httpchk .*|&@OWNED@|' "$argument"
  previous=$argument
done
exec "@BINARY@" "$@"
"""  # noqa: E501  expressions of sed
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
    values = {
        "@BINARY@": binary,
        "@FORMAT@": LOG_FORMAT,
        "@HOST@": host,
        "@ERRORS@": " \\\n".join(map(_error, PROBLEMS)) + " \\",
        "@NOT_FOUND@": _body(404, *NOT_FOUND),
        "@OWNED@": "".join(rf"\n\1{line}" for line in OWNED),
        "@OWNER@": OWNER,
        "@ID@": instance,
    }
    text = WRAPPER
    for name, value in values.items():
        text = text.replace(name, value)
    path.write_text(text)
    path.chmod(0o700)
    return path


def _error(status: int) -> str:
    """The expression of sed that puts a problem in the place of Serve's file."""
    code, title, detail, headers = PROBLEMS[status]
    words = f"http-error status {status} content-type {_body(status, code, title, detail)}{headers}"
    return f"    -e 's|^\\( *\\)errorfile {status} .*$|\\1{words}|'"


def _body(status: int, code: str, title: str, detail: str) -> str:
    """A problem as HAProxy reads it, between its double quotes."""
    problem = Problem(
        type=f"{TYPE_PREFIX}{code}", title=title, status=status, detail=detail, code=code
    )
    body = problem.model_dump_json(exclude_none=True).replace('"', '\\\\"')
    return f'{PROBLEM_MEDIA_TYPE} string "{body}"'
