"""Every knob of the application, typed; read once, at the top."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from omma.domain.models import DetSize
from omma.environment import PREFIX, DocumentedVariables

UnitFraction = Annotated[float, Field(ge=0, le=1)]


class _Group(BaseModel):
    """A noun's settings; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class EngineSettings(_Group):
    """How one model runs inside its replica."""

    threads: PositiveInt = Field(default=1, description="Threads of one inference.")
    streams: PositiveInt = Field(
        default=2, description="Inferences that run at once over one copy of the weights."
    )
    max_batch: PositiveInt = Field(default=8, description="Most items in one inference.")
    gpu: Literal["auto", "never"] = "auto"
    gpu_memory_mb: NonNegativeInt = Field(
        default=0, description="Most GPU memory the runtime may take; 0 leaves it to the runtime."
    )


class EmbedderSettings(EngineSettings):
    """The same for recognisers, whose items are small crops."""

    max_batch: PositiveInt = Field(default=32, description="Most crops in one inference.")
    max_waiting: PositiveInt = Field(
        default=4096, description="Crops that wait in one replica before more are refused with 503."
    )


class FaceSettings(_Group):
    """Which face models, and what they may answer."""

    pack: str = Field(default="open", description="A pack of config/models.yaml.")
    embedders: tuple[str, ...] = Field(
        default=("arcface", "facenet"), description="Slots of the pack that are served."
    )
    default_embedders: tuple[str, ...] = Field(
        default=("arcface",), description="Slots that answer when a request names none."
    )
    min_score: UnitFraction = Field(default=0.5, description="Faces below this are dropped.")
    min_score_floor: UnitFraction = Field(
        default=0.1,
        description="Lowest `min_score` a request may ask for: noise has hundreds of faint faces.",
    )
    det_size: DetSize = Field(
        default=640, description="Longer side of the detector's input in px, or auto."
    )
    max_faces: PositiveInt = Field(default=200, description="Most faces answered per image.")
    canvas: Literal["tight", "square"] = Field(
        default="tight",
        description="Detector input as tight as the image, or square: any two share a batch.",
    )
    detection: EngineSettings = EngineSettings()
    arcface: EmbedderSettings = EmbedderSettings()
    facenet: EmbedderSettings = EmbedderSettings()
    colocated: bool = Field(
        default=False, description="Run the face engines inside the ingress replica."
    )

    @model_validator(mode="after")
    def _min_score_is_one_that_requests_may_ask_for(self) -> Self:
        if self.min_score < self.min_score_floor:
            raise ValueError(
                f"expected min_score of at least min_score_floor, {self.min_score_floor},"
                f" got {self.min_score}"
            )
        return self

    @model_validator(mode="after")
    def _embedders_are_slots_and_answer_by_default(self) -> Self:
        slots = [name for name, value in self if isinstance(value, EmbedderSettings)]
        if unknown := set(self.embedders) - set(slots):
            raise ValueError(
                f"expected embedders among {', '.join(slots)}, got {', '.join(sorted(unknown))}"
            )
        if unserved := set(self.default_embedders) - set(self.embedders):
            raise ValueError(
                f"expected default_embedders among embedders ({', '.join(self.embedders)}),"
                f" got {', '.join(sorted(unserved))}"
            )
        return self


class ImageSettings(_Group):
    """What an upload may be; checked before anything is decoded."""

    max_bytes: PositiveInt = 25 * 1024 * 1024
    max_pixels: PositiveInt = 52_000_000
    max_frames: PositiveInt = 100
    max_images: PositiveInt = Field(default=32, description="Images in one batch request.")
    max_request_bytes: PositiveInt = Field(
        default=200 * 1024 * 1024, description="Bytes of one batch request, all images together."
    )
    upload_timeout_s: PositiveFloat = Field(
        default=30.0, description="How late a request's body may be, at its beginning and later."
    )
    upload_bytes_per_s: PositiveInt = Field(
        default=2**20, description="How fast a request's body must come, and not be late."
    )


class UrlSettings(_Group):
    """How URLs that clients send are fetched."""

    timeout_s: PositiveFloat = 10.0
    max_redirects: NonNegativeInt = 5
    allow_private: bool = Field(
        default=False, description="Also fetch from private addresses: only on a trusted network."
    )
    max_fetches: PositiveInt = Field(default=16, description="Fetches that run at once.")


class HttpSettings(_Group):
    """Where the system listens, and to whom browsers may lend its answers."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    cors_origins: tuple[str, ...] = ()


class EmbeddingSettings(EngineSettings):
    """The model that embeds whole images."""

    model: str = Field(default="resnet50_embedding", description="A model of config/models.yaml.")
    is_lazy: bool = Field(
        default=False, description="Load the model with the first image: saves memory until then."
    )


class DatabaseSettings(_Group):
    """Where the records live."""

    url: str = Field(
        default="",
        repr=False,  # URLs may have a password
        description="postgresql://… or sqlite:///…; empty for omma.db under `home`.",
    )
    pool_size: PositiveInt = Field(
        default=5, description="Most connections of one process to PostgreSQL."
    )
    timeout_s: PositiveFloat = Field(default=10.0, description="For a connection, or a lock.")


class BlobSettings(_Group):
    """Where files live."""

    url: str = Field(
        default="",
        repr=False,
        description="s3://BUCKET[/PREFIX] or a folder; empty for `blobs` under `home`.",
    )
    endpoint: str = Field(default="", description="Of S3-compatible servers other than AWS.")
    region: str = "us-east-1"
    access_key_id: str = ""
    secret_access_key: SecretStr = SecretStr("")


class JobSettings(_Group):
    """How durable jobs are run."""

    colocated: bool = Field(default=False, description="Run jobs inside the ingress replica.")
    window: PositiveInt = Field(
        default=32, description="Images that one runner has in work or fetches ahead."
    )
    chunk: PositiveInt = Field(default=8, description="Most images in one call of a model.")
    poll_interval_s: PositiveFloat = Field(
        default=0.25,
        description="How often an idle runner looks for work; four times that for work put off.",
    )
    lease_s: PositiveFloat = Field(
        default=30.0, description="A runner silent for so long has lost its jobs."
    )
    max_retries: NonNegativeInt = 3
    backoff_s: PositiveFloat = Field(
        default=2.0, description="Before the first retry; doubles with each, with jitter."
    )
    max_backoff_s: PositiveFloat = 60.0
    patience_s: PositiveFloat = Field(
        default=6 * 3600.0,
        description="How long a job is tried while something outside is away; costs no retry.",
    )
    call_timeout_s: PositiveFloat = Field(
        default=600.0, description="A call of an operation that takes longer has failed."
    )
    quota: PositiveInt = Field(
        default=20_000, description="Most jobs that one token's subject has waiting."
    )
    max_batch_items: PositiveInt = 10_000
    max_images: PositiveInt = Field(default=100, description="Images of one job.")
    drain_s: PositiveFloat = Field(
        default=10.0, description="What runs at shutdown may end within; the rest is handed back."
    )
    queued_per_runner: PositiveInt = Field(
        default=64, description="Waiting jobs that call for one more runner."
    )


class EventSettings(_Group):
    """How what happens to jobs is told."""

    poll_interval_s: PositiveFloat = Field(
        default=0.1, description="How often a replica looks for new events."
    )
    max_streams: PositiveInt = Field(
        default=1000,
        description="Open streams and sockets of one replica; a quarter for those without a token.",
    )
    max_streams_per_subject: PositiveInt = Field(default=200, description="Most of one subject.")
    keep_alive_s: PositiveFloat = Field(default=15.0, description="Between signs of life.")
    send_timeout_s: PositiveFloat = Field(
        default=30.0, description="A client that takes nothing for so long is let go."
    )
    retention_s: PositiveFloat = Field(default=7 * 86400.0, description="Events older are removed.")


class BroadcastSettings(_Group):
    """Whom outside every event is published to."""

    type: Literal["none", "sse", "mqtt"] = Field(
        default="none", description="mqtt publishes to a broker; event streams are always there."
    )
    host: str = "localhost"
    port: int = Field(default=1883, ge=1, le=65535)
    topic: str = "inference/events"
    username: str = ""
    password: SecretStr = SecretStr("")
    tls: bool = False


class MediaStoreSettings(_Group):
    """The system that keeps the media which jobs name by id."""

    url: str = Field(default="", repr=False, description="Empty for none, or for a folder.")
    folder: Path | None = Field(
        default=None,
        description="A folder in its place, below `home` unless absolute; ids are its file names.",
    )
    timeout_s: PositiveFloat = 10.0
    max_tries: PositiveInt = 3


class CallbackSettings(_Group):
    """Who is told when a job has ended."""

    url: str = Field(
        default="", repr=False, description="For jobs that name no callback_url of their own."
    )
    secret: SecretStr = Field(
        default=SecretStr(""),
        description="Signs every callback; sent as Bearer token to `url` alone.",
    )
    timeout_s: PositiveFloat = 10.0
    max_tries: PositiveInt = 8


class AuthSettings(_Group):
    """Whose tokens are trusted."""

    public_key_path: Path | None = Field(default=None, description="A PEM public key, for ES256.")
    jwks: str = Field(
        default="", repr=False, description="A file, or a URL, of a JSON Web Key Set."
    )
    secret: SecretStr = Field(
        default=SecretStr(""), description="Shared with who issues HS256 tokens: 32 bytes or more."
    )
    algorithm: Literal["", "HS256", "ES256"] = Field(
        default="", description="Only to be sure: the key itself decides."
    )
    issuer: str = Field(default="", description="Required of tokens where it is set.")
    audience: str = Field(default="", description="Required of tokens where it is set.")
    disabled: bool = Field(
        default=False, description="Let everybody in as demo_user: on loopback only."
    )
    redis_url: str = Field(
        default="", repr=False, description="Where revocations lie; empty for the database."
    )
    leeway_s: NonNegativeInt = 10
    requests_per_s: PositiveFloat = Field(
        default=200.0, description="Of one subject, at each ingress replica, on average."
    )
    burst: PositiveInt = Field(default=1000, description="Requests at once before that holds.")

    @property
    def is_configured(self) -> bool:
        """Whether there is a key to verify tokens with."""
        return bool(self.public_key_path or self.jwks or self.secret.get_secret_value())


class CardSourceSettings(_Group):
    """Where cards and their pictures come from."""

    type: Literal["none", "sample", "scryfall", "folder"] = Field(
        default="sample", description="sample: a small set that comes along, to try with."
    )
    url: str = Field(
        default="https://api.scryfall.com", description="Of Scryfall's API, or of a mirror."
    )
    bulk: str = Field(
        default="default_cards",
        description="Which of Scryfall's bulk files, or search:QUERY for what a search finds.",
    )
    language: str = Field(default="en", description="Of Scryfall's cards; empty for all.")
    contact: str = Field(
        default="", description="Of who runs this, for the User-Agent: an address or a URL."
    )
    folder: Path | None = Field(
        default=None, description="Of images, with a table cards.csv or cards.json beside them."
    )
    requests_per_s: PositiveFloat = Field(
        default=8.0, description="Of the API, by one process; Scryfall asks for at most ten."
    )
    max_image_bytes: PositiveInt = 20 * 1024 * 1024
    timeout_s: PositiveFloat = 30.0

    @model_validator(mode="after")
    def _a_folder_source_names_its_folder(self) -> Self:
        if self.type == "folder" and self.folder is None:
            raise ValueError("expected folder to be set where type is folder")
        return self


class CardSettings(_Group):
    """How cards are recognised."""

    enabled: bool = True
    colocated: bool = Field(
        default=False, description="Recognise cards inside the ingress replica."
    )
    threads: PositiveInt = Field(default=1, description="Threads of one look-up in the index.")
    streams: PositiveInt = Field(default=2, description="Images looked at at once.")
    max_batch: PositiveInt = Field(default=8, description="Most images in one look-up.")
    max_cards: PositiveInt = Field(
        default=30, description="Most cards that a request may ask for in one photograph."
    )
    poll_interval_s: PositiveFloat = Field(
        default=1.0, description="How often a replica looks for a new snapshot."
    )
    session_s: PositiveFloat = Field(
        default=55 * 60.0, description="How long a mobile session stays open."
    )
    max_sessions: PositiveInt = Field(default=10_000, description="Most that are open at once.")
    max_own_sessions: PositiveInt = Field(default=200, description="Most of one token's subject.")
    source: CardSourceSettings = CardSourceSettings()


class GateSettings(_Group):
    """When a new snapshot is good enough to be served."""

    canaries: PositiveInt = Field(default=200, description="Query images; corrections come on top.")
    max_corrections: NonNegativeInt = Field(default=200, description="The newest of them.")
    min_accuracy: UnitFraction = Field(default=0.9, description="Whatever the running one has.")
    max_accuracy_drop: UnitFraction = Field(
        default=0.01, description="Below the accuracy of the snapshot that is served."
    )
    max_latency_ratio: PositiveFloat = Field(
        default=1.5, description="Of the median query, new to running; 10 ms are always granted."
    )
    max_loss: UnitFraction = Field(
        default=0.05, description="Part of the running snapshot's items that may be gone."
    )


class IndexSettings(_Group):
    """How indexes are rebuilt, judged and kept."""

    schedule: str = Field(
        default="0 2 * * *", description="Cron expression of the nightly rebuild; empty for never."
    )
    time_zone: str = Field(default="UTC", description="Of the schedule, as Europe/Berlin.")
    work_dir: Path | None = Field(
        default=None, description="Downloads and local copies; empty for `indexes` under `home`."
    )
    shard_items: PositiveInt = Field(default=256, description="Faces that one task looks at.")
    max_tasks: NonNegativeInt = Field(
        default=0, description="Tasks at once; 0 for as many as the cluster has cores."
    )
    max_tries: PositiveInt = Field(default=3, description="Of a picture that fails, over nights.")
    keep: PositiveInt = Field(default=3, description="Snapshots kept beside the published one.")
    serving_ttl_s: PositiveFloat = Field(
        default=60.0, description="A replica silent for so long serves nothing."
    )
    bundle_url: str = Field(
        default="",
        repr=False,
        description="Fetched and imported when no snapshot exists: a zip, or a folder.",
    )
    lease_s: PositiveFloat = Field(
        default=60.0, description="A rebuild silent for so long has lost its right to run."
    )
    redis_url: str = Field(
        default="", repr=False, description="Keeps the rebuild's lock; empty for the database."
    )
    gate: GateSettings = GateSettings()


class AdmissionSettings(_Group):
    """How much work may wait before more is refused with 503."""

    max_interactive: PositiveInt = Field(default=128, description="Images in work or waiting.")
    max_jobs: PositiveInt = Field(default=64, description="The same for durable jobs.")
    max_bytes: PositiveInt = Field(
        default=512 * 1024 * 1024, description="Bytes of all requests in work, as they came."
    )
    upload_share: PositiveFloat = Field(
        default=0.5,
        le=1,
        description="Of these places and bytes, for the uploads of one token's subject together.",
    )
    retry_after_s: PositiveInt = 1


class LogSettings(_Group):
    """How much is logged."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class Settings(BaseSettings):
    """Defaults < documented variables < ``OMMA_*`` variables < ``args:`` of a file in config/."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    home: Path = Field(default=Path("var"), description="All state lies under this folder.")
    models_file: Path = Field(
        default=Path("config/models.yaml"), description="The catalogue of models."
    )
    faces: FaceSettings = FaceSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    images: ImageSettings = ImageSettings()
    urls: UrlSettings = UrlSettings()
    http: HttpSettings = HttpSettings()
    admission: AdmissionSettings = AdmissionSettings()
    cards: CardSettings = CardSettings()
    indexes: IndexSettings = IndexSettings()
    database: DatabaseSettings = DatabaseSettings()
    blobs: BlobSettings = BlobSettings()
    jobs: JobSettings = JobSettings()
    events: EventSettings = EventSettings()
    broadcast: BroadcastSettings = BroadcastSettings()
    media_store: MediaStoreSettings = MediaStoreSettings()
    callbacks: CallbackSettings = CallbackSettings()
    auth: AuthSettings = AuthSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def variables(cls) -> list[str]:
        """The names of the environment that set something: groups as JSON, and what is in them."""
        return [PREFIX + "__".join(path).upper() for path in _paths(cls)]

    @property
    def models_dir(self) -> Path:
        """Where pulled models lie."""
        return self.home / "models"

    @property
    def database_url(self) -> str:
        """Where the records are, always said."""
        return self.database.url or f"sqlite:///{self.home.absolute() / 'omma.db'}"

    @property
    def blobs_url(self) -> str:
        """Where the files are, always said."""
        return self.blobs.url or str(self.home.absolute() / "blobs")

    @property
    def work_dir(self) -> Path:
        """Where downloads and local copies of indexes lie, always said."""
        return self.home.absolute() / (self.indexes.work_dir or "indexes")

    @property
    def media_folder(self) -> Path | None:
        """Where media lie, where that is a folder."""
        folder = self.media_store.folder
        return folder and self.home.absolute() / folder

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources, best first; dotenv and secret files are not read."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, DocumentedVariables(settings_cls)


def _paths(group: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    for name, field in group.model_fields.items():
        yield (name,)
        default = field.get_default()
        if isinstance(default, BaseModel):
            yield from ((name, *rest) for rest in _paths(type(default)))
