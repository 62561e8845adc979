"""Every error this library raises on purpose.

OmmaError
├── InvalidInput
│   ├── EmptyImage
│   ├── UndecodableImage
│   │   └── TruncatedImage
│   ├── UrlUnreachable
│   ├── UrlTimeout
│   ├── UrlRefused
│   ├── UrlDenied
│   └── MediaDenied
├── TooLarge
│   ├── TooManyBytes
│   ├── TooManyPixels
│   ├── TooManyFrames
│   └── TooManyImages
├── UnsupportedMediaType
├── UploadTimeout
├── NotFound
│   ├── ModelNotFound
│   ├── OperationNotFound
│   ├── JobNotFound
│   ├── BatchNotFound
│   ├── BlobNotFound
│   ├── MediaNotFound
│   ├── CardNotFound
│   ├── IndexNotFound
│   ├── SnapshotNotFound
│   └── SessionNotFound
├── Conflict
│   ├── DuplicateJob
│   ├── JobStateConflict
│   ├── IdempotencyConflict
│   ├── PublishConflict
│   ├── RebuildRunning
│   └── SnapshotRefused
├── Unauthorized
│   ├── TokenMissing
│   ├── TokenInvalid
│   └── TokenExpired
├── Forbidden
│   ├── PermissionMissing
│   ├── AdminRequired
│   ├── HostRefused
│   ├── TokenRevoked
│   └── RefreshToken
├── TooManyRequests
│   ├── RateLimited
│   └── QuotaExceeded
├── Unavailable
│   ├── NotReady
│   │   ├── ReplicaLost
│   │   └── IndexMissing
│   ├── Overloaded
│   ├── StoreUnavailable
│   │   └── StoreFull
│   ├── MediaStoreUnreachable
│   ├── BrokerUnreachable
│   └── SourceUnavailable
│       └── SourceFault
├── LeaseExpired
├── CallTimeout
├── ModelFault
│   ├── ModelMissing
│   ├── ModelCorrupt
│   ├── ModelUnfetchable
│   ├── LicenceNotAccepted
│   └── ConversionFailed
├── IndexFault
│   ├── IndexCorrupt
│   └── SourceCorrupt
├── OutOfMemory
└── CannotStart

Raise them positionally with the values they are about: they cross process
boundaries by pickle, and pickle calls ``cls(*self.args)``.
"""

from typing import ClassVar


class OmmaError(Exception):
    """Base of every deliberate error."""

    code: ClassVar[str] = "internal_error"  # stable: part of the HTTP API


class InvalidInput(OmmaError):
    """The caller sent something we cannot work with."""

    code = "invalid_input"


class EmptyImage(InvalidInput):
    """No image came, or one of zero bytes."""

    code = "empty_image"


class UndecodableImage(InvalidInput):
    """The bytes are not an image in any format we read."""

    code = "undecodable_image"


class TruncatedImage(UndecodableImage):
    """The image begins well and then ends too soon."""

    code = "truncated_image"


class UrlUnreachable(InvalidInput):
    """The URL did not resolve, did not connect, or did not answer with an image."""

    code = "url_unreachable"


class UrlTimeout(InvalidInput):
    """The URL took longer than the limit."""

    code = "url_timeout"


class UrlRefused(InvalidInput):
    """The URL is one we do not fetch: its scheme, its port, or a non-public address."""

    code = "url_refused"


class UrlDenied(InvalidInput):
    """The URL's server answers that it has no picture for us there: a final status of the 400s."""

    code = "url_denied"


class MediaDenied(InvalidInput):
    """The media store refuses this media: a final status of the 400s, other than 404 and 410."""

    code = "media_denied"


class TooLarge(OmmaError):
    """The input is over one of the documented limits."""

    code = "too_large"


class TooManyBytes(TooLarge):
    """More bytes than the limit."""

    code = "too_many_bytes"


class TooManyPixels(TooLarge):
    """More pixels than the limit, by the image's own header."""

    code = "too_many_pixels"


class TooManyFrames(TooLarge):
    """More frames than the limit, by the image's own structure."""

    code = "too_many_frames"


class TooManyImages(TooLarge):
    """More images in one request than the limit."""

    code = "too_many_images"


class UnsupportedMediaType(OmmaError):
    """The request's Content-Type is not one this route reads."""

    code = "unsupported_media_type"


class UploadTimeout(OmmaError):
    """The request's body came more slowly than the limit."""

    code = "upload_timeout"


class NotFound(OmmaError):
    """What the caller named does not exist."""

    code = "not_found"


class ModelNotFound(NotFound):
    """No model of this name is configured."""

    code = "model_not_found"

    def __init__(self, name: str, known: tuple[str, ...] = (), place: str = "") -> None:
        super().__init__(name, known, place)
        self.name = name
        self.known = known
        self.place = place  # where the name stands, as in "item 3: "

    def __str__(self) -> str:
        known = f", expected one of {', '.join(self.known)}" if self.known else ""
        return f"{self.place}no model named {self.name!r}{known}"


class OperationNotFound(NotFound):
    """No operation of this name is served."""

    code = "operation_not_found"


class JobNotFound(NotFound):
    """There is no such job, or none that the token may see."""

    code = "job_not_found"


class BatchNotFound(NotFound):
    """There is no such batch, or none that the token may see."""

    code = "batch_not_found"


class BlobNotFound(NotFound):
    """There is no such file."""

    code = "file_not_found"


class MediaNotFound(NotFound):
    """The media store has nothing of this id, or no media store is configured."""

    code = "media_not_found"


class CardNotFound(NotFound):
    """No card with this id is known."""

    code = "card_not_found"


class IndexNotFound(NotFound):
    """There is no index of this name."""

    code = "index_not_found"


class SnapshotNotFound(NotFound):
    """The index has no snapshot of this version."""

    code = "snapshot_not_found"


class SessionNotFound(NotFound):
    """No session with this id is open: it never was, or its time is over."""

    code = "session_not_found"


class Conflict(OmmaError):
    """What was asked does not fit what is there."""

    code = "conflict"


class DuplicateJob(Conflict):
    """A job for the same media and operation waits or runs already."""

    code = "duplicate_job"


class JobStateConflict(Conflict):
    """The job's state does not allow that."""

    code = "job_state_conflict"


class IdempotencyConflict(Conflict):
    """The idempotency key was used for another request."""

    code = "idempotency_conflict"


class PublishConflict(Conflict):
    """Another snapshot was published meanwhile."""

    code = "publish_conflict"


class RebuildRunning(Conflict):
    """The index is being rebuilt already; the message says by whom."""

    code = "rebuild_running"


class SnapshotRefused(Conflict):
    """The gate keeps a snapshot from being served; the message says why."""

    code = "snapshot_refused"


class Unauthorized(OmmaError):
    """Nobody knows who asks."""

    code = "unauthorized"


class TokenMissing(Unauthorized):
    """The request carries no token."""

    code = "token_missing"


class TokenInvalid(Unauthorized):
    """The token was not signed by a key we trust, or is not a token at all."""

    code = "token_invalid"


class TokenExpired(Unauthorized):
    """The token's time is over, or has not come."""

    code = "token_expired"


class Forbidden(OmmaError):
    """We know who asks, and the answer is no."""

    code = "forbidden"


class PermissionMissing(Forbidden):
    """The token lacks the permission of this operation."""

    code = "permission_missing"


class AdminRequired(Forbidden):
    """Only administrators may do this."""

    code = "admin_required"


class HostRefused(Forbidden):
    """Without tokens, only requests to this machine by a name of its own are answered."""

    code = "host_refused"


class TokenRevoked(Forbidden):
    """The token was revoked."""

    code = "token_revoked"


class RefreshToken(Forbidden):
    """A refresh token came where an access token is wanted."""

    code = "refresh_token"


class TooManyRequests(OmmaError):
    """The token's subject asks for more than its share; after ``retry_after_s`` it may again."""

    code = "too_many_requests"

    def __init__(self, reason: str, retry_after_s: int = 1) -> None:
        super().__init__(reason, retry_after_s)
        self.reason = reason
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return self.reason


class RateLimited(TooManyRequests):
    """More requests per second, uploads or open streams than the limit."""

    code = "rate_limited"


class QuotaExceeded(TooManyRequests):
    """More jobs waiting, sessions open or corrections sent than the limit."""

    code = "quota_exceeded"


class Unavailable(OmmaError):
    """Not now: the same request may succeed after ``retry_after_s`` seconds."""

    code = "unavailable"

    def __init__(self, reason: str, retry_after_s: int = 1) -> None:
        super().__init__(reason, retry_after_s)
        self.reason = reason
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return self.reason


class NotReady(Unavailable):
    """A model or an index is still loading."""

    code = "not_ready"


class ReplicaLost(NotReady):
    """A model's replica went while it worked: by itself, or by what it was given."""

    code = "replica_lost"


class IndexMissing(NotReady):
    """No snapshot of the index was published yet."""

    code = "index_missing"


class Overloaded(Unavailable):
    """More work is waiting than the limit allows."""

    code = "overloaded"


class StoreUnavailable(Unavailable):
    """The database or the blob store does not answer."""

    code = "store_unavailable"


class StoreFull(StoreUnavailable):
    """The database or the blob store has no room left."""

    code = "store_full"


class MediaStoreUnreachable(Unavailable):
    """The media store does not answer, or not with a success."""

    code = "media_store_unreachable"


class BrokerUnreachable(Unavailable):
    """The message broker does not answer."""

    code = "broker_unreachable"


class SourceUnavailable(Unavailable):
    """Where cards come from does not answer, or asks for patience."""

    code = "source_unavailable"


class SourceFault(SourceUnavailable):
    """Where cards come from fails over one picture, and may fail over no other."""

    code = "source_fault"


class LeaseExpired(OmmaError):
    """The runner that held the job went silent."""

    code = "lease_expired"


class CallTimeout(OmmaError):
    """An operation did not answer within the limit."""

    code = "call_timeout"


class ModelFault(OmmaError):
    """A model's file cannot be used."""

    code = "model_fault"


class ModelMissing(ModelFault):
    """The model's file was not pulled yet."""

    code = "model_missing"


class ModelCorrupt(ModelFault):
    """The file's hash is not the one the catalogue states."""

    code = "model_corrupt"


class ModelUnfetchable(ModelFault):
    """The model's source did not give the file."""

    code = "model_unfetchable"


class LicenceNotAccepted(ModelFault):
    """The model's licence needs the user's explicit yes."""

    code = "licence_not_accepted"


class ConversionFailed(ModelFault):
    """The converted model does not answer as the original does."""

    code = "conversion_failed"


class IndexFault(OmmaError):
    """Something is wrong with an index, not with what was asked of it."""

    code = "index_fault"


class IndexCorrupt(IndexFault):
    """A snapshot's files are not those that were built, or of a form this version cannot read."""

    code = "index_corrupt"


class SourceCorrupt(IndexFault):
    """What a source told is not whole, or not what its format says."""

    code = "source_corrupt"


class OutOfMemory(OmmaError):
    """The accelerator or the host refused the memory for a batch of this size."""

    code = "out_of_memory"


class CannotStart(OmmaError):
    """The system refuses to start as configured; the message says why and what to do."""

    code = "cannot_start"
