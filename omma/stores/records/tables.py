"""Every table of the records; `versions/` holds the migrations that make them.

Times are integers, milliseconds since 1970 by the database's clock. JSON is text, because
SQLite's is and because nothing is ever searched within it.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

Serial = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up INTEGER alone
Id = String(36)
# Compared by code points on either database: order and ranges do not hang on a locale.
Word = Text().with_variant(Text(collation="C"), "postgresql")


def _partial(name: str, *columns: ColumnElement[Any], where: str, unique: bool = False) -> Index:
    """An index of the rows that meet ``where``, on either database."""
    meant = text(where)
    return Index(name, *columns, unique=unique, sqlite_where=meant, postgresql_where=meant)


def _job_id(*, unique: bool = True) -> Column[str]:
    key = ForeignKey("jobs.job_id", ondelete="CASCADE")
    return Column("job_id", Id, key, nullable=False, unique=unique)


jobs = Table(
    "jobs",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("job_id", Id, nullable=False, unique=True),
    Column("task_type", String(100), nullable=False),
    Column("media_store_id", String(200), nullable=False, server_default=""),
    Column("status", String(20), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("completed_at", BigInteger),
    Column("error_message", Text),
    Column("retry_count", Integer, nullable=False, server_default="0"),
    Column("max_retries", Integer, nullable=False, server_default="3"),
    Column("result", Text),
    Column("created_by", String(200), nullable=False),
    # what the documented table lacks
    Column("error_code", String(100)),
    Column("priority", Integer, nullable=False),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("images", Text, nullable=False),
    Column("params", Text, nullable=False, server_default="{}"),
    Column("entity", Text, nullable=False, server_default="{}"),
    Column("metrics", Text),
    Column("progress", Text),
    Column("idempotency_key", String(200)),  # null for none: nulls are never equal
    Column("not_before", BigInteger),
    Column("callback_url", Text, nullable=False, server_default=""),
    Column("batch_id", Id, ForeignKey("batches.batch_id", ondelete="CASCADE")),
    Column("position", Integer, nullable=False, server_default="0"),
    Column("has_files", Boolean, nullable=False, server_default=text("false")),
    Column("files_moved", Boolean, nullable=False, server_default=text("false")),
    UniqueConstraint("created_by", "idempotency_key"),
    Index("ix_jobs_created_by_id", "created_by", "id"),
    Index("ix_jobs_status_id", "status", "id"),
    Index("ix_jobs_batch_id_status", "batch_id", "status"),
)
_partial(  # the duplicates that 409 speaks of; ended jobs cost it nothing
    "uq_jobs_media_store_id_active",
    jobs.c.media_store_id,
    jobs.c.task_type,
    unique=True,
    where="media_store_id <> '' AND status IN ('pending', 'processing')",
)
_partial(
    "ix_jobs_unmoved",
    jobs.c.id,
    where="has_files AND NOT files_moved",
)

# One row for each job that waits or runs: claiming never meets those that have ended.
queue = Table(
    "queue",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    _job_id(),
    Column("priority", Integer, nullable=False),
    Column("enqueued_at", BigInteger, nullable=False),
    Column("dequeued_at", BigInteger),
    Column("worker_id", String(100)),
    Column("task_type", String(100), nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("position", BigInteger, nullable=False),  # jobs.id: age, which a retry keeps
    Column("available_at", BigInteger),  # null while its batch is open
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("lease_until", BigInteger),
    Index("ix_queue_created_by", "created_by"),
)
_partial(
    "ix_queue_waiting",
    queue.c.priority.desc(),
    queue.c.position,
    where="dequeued_at IS NULL AND available_at IS NOT NULL",
)
_partial(
    "ix_queue_leased",
    queue.c.lease_until,
    where="dequeued_at IS NOT NULL",
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    _job_id(unique=False),
    Column("attempt", Integer, nullable=False),
    Column("runner", String(100), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("outcome", String(20)),  # completed, failed, released, cancelled
    Column("error_code", String(100)),
    Column("error_message", Text),
    UniqueConstraint("job_id", "attempt"),
)

batches = Table(
    "batches",
    metadata,
    Column("batch_id", Id, primary_key=True),
    Column("created_by", String(200), nullable=False),
    Column("task_type", String(100), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("closed_at", BigInteger),
)

events = Table(  # no foreign key: what happened stays true when the job is deleted
    "events",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=False),
    Column("kind", String(40), nullable=False),
    Column("job_id", Id, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("data", Text, nullable=False),
    Index("ix_events_job_id_seq", "job_id", "seq"),
    Index("ix_events_at", "at"),
)

event_counter = Table(  # one row: the last sequence number, locked to commit by who appends
    "event_counter",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
)

cursors = Table(
    "cursors",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("seq", BigInteger, nullable=False),
)

media_store_sync_status = Table(
    "media_store_sync_status",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    _job_id(),
    Column("sync_attempted_at", BigInteger),
    Column("sync_completed_at", BigInteger),
    Column("sync_status", String(20), nullable=False),  # pending, completed, failed
    Column("sync_error", Text),
    Column("retry_count", Integer, nullable=False, server_default="0"),
    Column("next_retry_at", BigInteger, index=True),  # null when there is none
    sqlite_autoincrement=True,  # the id of a row that is gone shall not mean another
)

callbacks = Table(
    "callbacks",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    _job_id(),
    Column("sync_attempted_at", BigInteger),
    Column("sync_completed_at", BigInteger),
    Column("sync_status", String(20), nullable=False),
    Column("sync_error", Text),
    Column("retry_count", Integer, nullable=False, server_default="0"),
    Column("next_retry_at", BigInteger, index=True),
    sqlite_autoincrement=True,  # the id of a row that is gone shall not mean another
)

sweeps = Table(
    "sweeps",
    metadata,
    Column("folder", String(200), primary_key=True),
    Column("due_at", BigInteger, nullable=False, index=True),
    Column("passes", Integer, nullable=False, server_default="0"),
)

leases = Table(
    "leases",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("holder", String(100), nullable=False),
    Column("until", BigInteger, nullable=False),
)

revoked_tokens = Table(
    "revoked_tokens",
    metadata,
    Column("token_id", String(200), primary_key=True),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

cards = Table(
    "cards",
    metadata,
    Column("card_id", Word, primary_key=True),
    Column("name_key", Word, nullable=False),  # the name as it is looked for
    Column("data", Text, nullable=False),  # the whole card
    Column("digest", String(64), nullable=False),  # of the data: another one when it changed
    Column("seen_in", Word, nullable=False),  # the last pass; no index: each pass writes it
    Column("updated_at", BigInteger, nullable=False),
    Column("removed_at", BigInteger),
)
_partial("ix_cards_name_key", cards.c.name_key, cards.c.card_id, where="removed_at IS NULL")

card_faces = Table(  # a face of a card, and what was last made of its present picture
    "card_faces",
    metadata,
    Column("card_id", Word, ForeignKey("cards.card_id", ondelete="CASCADE"), primary_key=True),
    Column("face", Integer, primary_key=True, autoincrement=False),
    Column("image_key", Word, nullable=False),
    Column("data", Text, nullable=False),  # the whole face
    Column("features_key", Word, nullable=False, server_default=""),  # empty: nothing was made
    Column("shard", Word),  # null where there are no features
    Column("keypoints", Integer),
    Column("tries", Integer, nullable=False, server_default="0"),  # failed ones by this key
    Column("is_final", Boolean, nullable=False, server_default=text("false")),  # as failures are
    Column("error", Text),  # null unless the last try failed
    Index("ix_card_faces_features_key", "features_key", "card_id", "face"),
)
_partial(
    "ix_card_faces_failed",
    card_faces.c.features_key,
    card_faces.c.tries,
    card_faces.c.card_id,
    card_faces.c.face,
    where="error IS NOT NULL",
)

index_snapshots = Table(
    "index_snapshots",
    metadata,
    Column("name", Word, primary_key=True),
    Column("version", Word, primary_key=True),
    Column("state", String(20), nullable=False),
    Column("items", BigInteger, nullable=False),
    Column("vectors", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("last_change", BigInteger, nullable=False, server_default="0"),
    Column("created_at", BigInteger, nullable=False),
    Column("published_at", BigInteger),
    Column("report", Text, nullable=False),
)

indexes = Table(  # one row for each index that has something published: what replicas poll
    "indexes",
    metadata,
    Column("name", Word, primary_key=True),
    Column("version", Word, nullable=False),
    Column("sequence", BigInteger, nullable=False),
)

index_servings = Table(
    "index_servings",
    metadata,
    Column("name", Word, primary_key=True),
    Column("replica", Word, primary_key=True),
    Column("version", Word, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
)

corrections = Table(
    "corrections",
    metadata,
    Column("correction_id", Id, primary_key=True),
    Column("card_id", Word),  # null: no card of the index
    Column("face", Integer),
    Column("claimed_card_id", Word),
    Column("claimed_face", Integer),
    Column("image", Word, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("created_at", BigInteger, nullable=False, index=True),
)

card_sessions = Table(  # a phone takes the picture, a computer reads the result
    "card_sessions",
    metadata,
    Column("session_id", Id, primary_key=True),
    Column("created_by", String(200), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("result", Text),  # null while it waits
)
