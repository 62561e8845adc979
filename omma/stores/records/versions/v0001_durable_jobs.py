"""Durable jobs: every table of the first schema."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Integer, String, Text

revision = "0001"
down_revision = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
ID = String(36)
NEWEST_LAST = (
    "revoked_tokens", "leases", "sweeps", "callbacks", "media_store_sync_status", "cursors",
    "event_counter", "events", "attempts", "queue", "jobs", "batches",
)  # fmt: skip


def upgrade() -> None:
    """Make them all, with the event counter's one row."""
    _batches()
    _jobs()
    _queue()
    _attempts()
    _events()
    _deliveries("media_store_sync_status")
    _deliveries("callbacks")
    _housekeeping()


def downgrade() -> None:
    """Remove them all, with everything in them."""
    for name in NEWEST_LAST:
        op.drop_table(name)


def _batches() -> None:
    op.create_table(
        "batches",
        Column("batch_id", ID, primary_key=True),
        Column("created_by", String(200), nullable=False),
        Column("task_type", String(100), nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("closed_at", BigInteger),
    )


def _jobs() -> None:
    op.create_table(
        "jobs",
        Column("id", SERIAL, primary_key=True),
        Column("job_id", ID, nullable=False, unique=True),
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
        Column("error_code", String(100)),
        Column("priority", Integer, nullable=False),
        Column("attempt", Integer, nullable=False, server_default="0"),
        Column("images", Text, nullable=False),
        Column("params", Text, nullable=False, server_default="{}"),
        Column("entity", Text, nullable=False, server_default="{}"),
        Column("metrics", Text),
        Column("progress", Text),
        Column("idempotency_key", String(200)),
        Column("not_before", BigInteger),
        Column("callback_url", Text, nullable=False, server_default=""),
        Column("batch_id", ID, sa.ForeignKey("batches.batch_id", ondelete="CASCADE")),
        Column("position", Integer, nullable=False, server_default="0"),
        Column("has_files", Boolean, nullable=False, server_default=sa.text("false")),
        Column("files_moved", Boolean, nullable=False, server_default=sa.text("false")),
        sa.UniqueConstraint("created_by", "idempotency_key"),
    )
    op.create_index("ix_jobs_created_by_id", "jobs", ["created_by", "id"])
    op.create_index("ix_jobs_status_id", "jobs", ["status", "id"])
    op.create_index("ix_jobs_batch_id_status", "jobs", ["batch_id", "status"])
    active = "media_store_id <> '' AND status IN ('pending', 'processing')"
    _partial("uq_jobs_media_store_id_active", "jobs", ["media_store_id", "task_type"], active)
    _partial("ix_jobs_unmoved", "jobs", ["id"], "has_files AND NOT files_moved")


def _queue() -> None:
    op.create_table(
        "queue",
        Column("id", SERIAL, primary_key=True),
        _job_id(unique=True),
        Column("priority", Integer, nullable=False),
        Column("enqueued_at", BigInteger, nullable=False),
        Column("dequeued_at", BigInteger),
        Column("worker_id", String(100)),
        Column("task_type", String(100), nullable=False),
        Column("created_by", String(200), nullable=False),
        Column("position", BigInteger, nullable=False),
        Column("available_at", BigInteger),
        Column("attempt", Integer, nullable=False, server_default="0"),
        Column("lease_until", BigInteger),
    )
    op.create_index("ix_queue_created_by", "queue", ["created_by"])
    waiting = "dequeued_at IS NULL AND available_at IS NOT NULL"
    _partial("ix_queue_waiting", "queue", [sa.text("priority DESC"), "position"], waiting)
    _partial("ix_queue_leased", "queue", ["lease_until"], "dequeued_at IS NOT NULL")


def _attempts() -> None:
    op.create_table(
        "attempts",
        Column("id", SERIAL, primary_key=True),
        _job_id(),
        Column("attempt", Integer, nullable=False),
        Column("runner", String(100), nullable=False),
        Column("started_at", BigInteger, nullable=False),
        Column("ended_at", BigInteger),
        Column("outcome", String(20)),
        Column("error_code", String(100)),
        Column("error_message", Text),
        sa.UniqueConstraint("job_id", "attempt"),
    )


def _events() -> None:
    op.create_table(
        "events",
        Column("seq", SERIAL, primary_key=True, autoincrement=False),
        Column("kind", String(40), nullable=False),
        Column("job_id", ID, nullable=False),
        Column("created_by", String(200), nullable=False),
        Column("at", BigInteger, nullable=False),
        Column("data", Text, nullable=False),
    )
    op.create_index("ix_events_job_id_seq", "events", ["job_id", "seq"])
    op.create_index("ix_events_at", "events", ["at"])
    counter = op.create_table(
        "event_counter",
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("seq", BigInteger, nullable=False),
    )
    op.bulk_insert(counter, [{"id": 1, "seq": 0}])
    op.create_table(
        "cursors",
        Column("name", String(100), primary_key=True),
        Column("seq", BigInteger, nullable=False),
    )


def _deliveries(name: str) -> None:
    op.create_table(
        name,
        Column("id", SERIAL, primary_key=True),
        _job_id(unique=True),
        Column("sync_attempted_at", BigInteger),
        Column("sync_completed_at", BigInteger),
        Column("sync_status", String(20), nullable=False),
        Column("sync_error", Text),
        Column("retry_count", Integer, nullable=False, server_default="0"),
        Column("next_retry_at", BigInteger),
        sqlite_autoincrement=True,
    )
    op.create_index(f"ix_{name}_next_retry_at", name, ["next_retry_at"])


def _housekeeping() -> None:
    op.create_table(
        "sweeps",
        Column("folder", String(200), primary_key=True),
        Column("due_at", BigInteger, nullable=False),
        Column("passes", Integer, nullable=False, server_default="0"),
    )
    op.create_index("ix_sweeps_due_at", "sweeps", ["due_at"])
    op.create_table(
        "leases",
        Column("name", String(100), primary_key=True),
        Column("holder", String(100), nullable=False),
        Column("until", BigInteger, nullable=False),
    )
    op.create_table(
        "revoked_tokens",
        Column("token_id", String(200), primary_key=True),
        Column("expires_at", BigInteger, nullable=False),
    )
    op.create_index("ix_revoked_tokens_expires_at", "revoked_tokens", ["expires_at"])


def _job_id(*, unique: bool = False) -> Column[str]:
    key = sa.ForeignKey("jobs.job_id", ondelete="CASCADE")
    return Column("job_id", ID, key, nullable=False, unique=unique)


def _partial(name: str, table: str, columns: list[str | sa.TextClause], where: str) -> None:
    condition = sa.text(where)
    op.create_index(
        name,
        table,
        columns,
        unique=name.startswith("uq_"),
        sqlite_where=condition,
        postgresql_where=condition,
    )
