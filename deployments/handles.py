"""The library's ports, answered by other deployments."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from jaxtyping import Float32, UInt8
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    ReplicaUnavailableError,
)
from ray.serve.handle import DeploymentHandle

from omma.domain.cards import RecogniseOptions, Recognition
from omma.domain.errors import NotReady, OmmaError, Overloaded, ReplicaLost
from omma.domain.faces import Detection, DetectOptions, Lane
from omma.domain.images import ImageEmbedding

# How Serve's gRPC channel tells that a replica went while it worked, where it tells it raw.
LOST = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


async def _result(response: Any) -> Any:
    """Await ``response``; an `OmmaError` raised over there is raised here as itself."""
    try:
        return await response
    except RayTaskError as error:
        if isinstance(error.cause, OmmaError):
            raise error.cause from None  # str(error) is two pages of remote traceback
        raise
    except BackPressureError:
        raise Overloaded("every replica of a model has its fill of requests") from None
    except DeploymentUnavailableError:
        raise NotReady("a model's deployment is not running", 5) from None
    except (RayActorError, ReplicaUnavailableError):
        raise _lost() from None
    except grpc.aio.AioRpcError as error:
        if error.code() in LOST:
            raise _lost() from None
        raise


def _lost() -> ReplicaLost:
    return ReplicaLost("a model's replica was lost", 1)


@dataclass(frozen=True, slots=True)
class RemoteFaceDetector:
    """`FaceDetector` over a handle to `FaceDetection`."""

    handle: DeploymentHandle[Any]

    async def detect(
        self, images: Sequence[bytes], options: DetectOptions, *, lane: Lane = Lane.INTERACTIVE
    ) -> list[Detection | OmmaError]:
        return await _result(self.handle.detect.remote(images, options, lane=lane))


@dataclass(frozen=True, slots=True)
class RemoteFaceEmbedder:
    """`FaceEmbedder` over a handle to `FaceEmbedding`."""

    handle: DeploymentHandle[Any]

    async def embed(
        self, crops: UInt8[np.ndarray, "n h w 3"], *, lane: Lane = Lane.INTERACTIVE
    ) -> Float32[np.ndarray, "n d"]:
        return await _result(self.handle.embed.remote(crops, lane=lane))


@dataclass(frozen=True, slots=True)
class RemoteImageEmbedder:
    """`ImageEmbedder` over a handle to `ImageEmbedding`."""

    handle: DeploymentHandle[Any]

    async def embed(
        self, images: Sequence[bytes], *, lane: Lane = Lane.INTERACTIVE
    ) -> list[ImageEmbedding | OmmaError]:
        return await _result(self.handle.embed.remote(images, lane=lane))


@dataclass(frozen=True, slots=True)
class RemoteCardMatcher:
    """`CardMatcher` over a handle to `CardMatching`; its replicas share what is much at once."""

    handle: DeploymentHandle[Any]
    chunk: int = 8  # images of one call

    async def recognise(
        self,
        images: Sequence[bytes],
        options: RecogniseOptions,
        *,
        lane: Lane = Lane.INTERACTIVE,
    ) -> list[Recognition | OmmaError]:
        starts = range(0, len(images), self.chunk)
        calls = [self._call(images[start : start + self.chunk], options, lane) for start in starts]
        return [each for answers in await asyncio.gather(*calls) for each in answers]

    async def _call(
        self, images: Sequence[bytes], options: RecogniseOptions, lane: Lane
    ) -> list[Recognition | OmmaError]:
        return await _result(self.handle.recognise.remote(images, options, lane=lane))
