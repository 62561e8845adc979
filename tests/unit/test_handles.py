"""What Serve raises on a handle, as the errors of the domain."""

import grpc
import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError
from ray.serve.exceptions import BackPressureError, ReplicaUnavailableError

from deployments.handles import RemoteFaceDetector, RemoteImageEmbedder
from omma.domain.errors import Overloaded, ReplicaLost, UndecodableImage
from omma.domain.faces import DetectOptions, Lane


def broken_channel(code):
    nothing = grpc.aio.Metadata()
    return grpc.aio.AioRpcError(code, nothing, nothing)


class Failing:
    """A handle whose `detect` answers with an error."""

    def __init__(self, error):
        self.error, self.detect = error, self

    async def remote(self, *_arguments, **_options):
        raise self.error


async def detect(error):
    await RemoteFaceDetector(Failing(error)).detect([b""], DetectOptions())


@pytest.mark.parametrize(
    "error",
    [
        ActorDiedError(),
        ActorUnavailableError("gone", None),
        ReplicaUnavailableError("FaceDetection#1"),
        broken_channel(grpc.StatusCode.UNAVAILABLE),
        broken_channel(grpc.StatusCode.CANCELLED),
    ],
    ids=["died", "unavailable", "replica", "channel", "cancelled"],
)
async def test_a_replica_that_is_lost_is_worth_another_try(error):
    with pytest.raises(ReplicaLost, match="replica was lost") as caught:
        await detect(error)

    assert caught.value.retry_after_s == 1


async def test_a_channel_that_fails_otherwise_is_our_fault():
    with pytest.raises(grpc.aio.AioRpcError):
        await detect(broken_channel(grpc.StatusCode.INTERNAL))


async def test_an_error_of_the_domain_is_raised_as_itself():
    remote = RayTaskError("detect", "a traceback", UndecodableImage("no image"))

    with pytest.raises(UndecodableImage, match="no image"):
        await detect(remote)


async def test_a_replica_that_is_full_is_overloaded():
    with pytest.raises(Overloaded):
        await detect(BackPressureError(num_queued_requests=1, max_queued_requests=1))


async def test_a_remote_image_embedder_hands_on_images_and_lane():
    asked = []

    class Answering:
        async def remote(self, images, *, lane):
            asked.append((images, lane))
            return ["embedding"]

    handle = Answering()
    handle.embed = handle

    assert await RemoteImageEmbedder(handle).embed([b"image"], lane=Lane.JOB) == ["embedding"]
    assert asked == [([b"image"], Lane.JOB)]
