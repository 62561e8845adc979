"""What goes wrong between here and the server."""

from omma.wire.problems import Problem


class ClientError(Exception):
    """Base of what goes wrong between here and the server.

    ClientError
    ├── ServerUnreachable
    ├── AnswerTimeout
    ├── NotOmma
    └── RequestRefused
    """


class ServerUnreachable(ClientError):
    """Nothing answers at that URL."""


class AnswerTimeout(ClientError):
    """The server listens, but took longer than the limit."""


class NotOmma(ClientError):
    """Something else answers at that URL."""


class RequestRefused(ClientError):
    """The server answered with a problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.problem.code}: {self.problem.detail}"
