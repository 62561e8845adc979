"""Cards: their records, the features made of their pictures, snapshots, corrections, sessions."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Integer, String, Text

revision = "0002"
down_revision = "0001"

ID = String(36)
WORD = Text().with_variant(Text(collation="C"), "postgresql")
NEWEST_LAST = (
    "card_sessions", "corrections", "index_servings", "indexes", "index_snapshots", "card_faces",
    "cards",
)  # fmt: skip


def upgrade() -> None:
    """Make them all; nothing that was there changes."""
    _cards()
    _card_faces()
    _snapshots()
    _corrections()
    _sessions()


def downgrade() -> None:
    """Remove them all, with everything in them; snapshots' files stay in the blob store."""
    for name in NEWEST_LAST:
        op.drop_table(name)


def _cards() -> None:
    op.create_table(
        "cards",
        Column("card_id", WORD, primary_key=True),
        Column("name_key", WORD, nullable=False),
        Column("data", Text, nullable=False),
        Column("digest", String(64), nullable=False),
        Column("seen_in", WORD, nullable=False),
        Column("updated_at", BigInteger, nullable=False),
        Column("removed_at", BigInteger),
    )
    _partial("ix_cards_name_key", "cards", ["name_key", "card_id"], "removed_at IS NULL")


def _card_faces() -> None:
    card = sa.ForeignKey("cards.card_id", ondelete="CASCADE")
    op.create_table(
        "card_faces",
        Column("card_id", WORD, card, primary_key=True),
        Column("face", Integer, primary_key=True, autoincrement=False),
        Column("image_key", WORD, nullable=False),
        Column("data", Text, nullable=False),
        Column("features_key", WORD, nullable=False, server_default=""),
        Column("shard", WORD),
        Column("keypoints", Integer),
        Column("tries", Integer, nullable=False, server_default="0"),
        Column("is_final", Boolean, nullable=False, server_default=sa.text("false")),
        Column("error", Text),
    )
    made = ["features_key", "card_id", "face"]
    op.create_index("ix_card_faces_features_key", "card_faces", made)
    failed = ["features_key", "tries", "card_id", "face"]
    _partial("ix_card_faces_failed", "card_faces", failed, "error IS NOT NULL")


def _snapshots() -> None:
    op.create_table(
        "index_snapshots",
        Column("name", WORD, primary_key=True),
        Column("version", WORD, primary_key=True),
        Column("state", String(20), nullable=False),
        Column("items", BigInteger, nullable=False),
        Column("vectors", BigInteger, nullable=False),
        Column("size_bytes", BigInteger, nullable=False),
        Column("last_change", BigInteger, nullable=False, server_default="0"),
        Column("created_at", BigInteger, nullable=False),
        Column("published_at", BigInteger),
        Column("report", Text, nullable=False),
    )
    op.create_table(
        "indexes",
        Column("name", WORD, primary_key=True),
        Column("version", WORD, nullable=False),
        Column("sequence", BigInteger, nullable=False),
    )
    op.create_table(
        "index_servings",
        Column("name", WORD, primary_key=True),
        Column("replica", WORD, primary_key=True),
        Column("version", WORD, nullable=False),
        Column("seen_at", BigInteger, nullable=False),
        Column("until", BigInteger, nullable=False),
    )


def _corrections() -> None:
    op.create_table(
        "corrections",
        Column("correction_id", ID, primary_key=True),
        Column("card_id", WORD),
        Column("face", Integer),
        Column("claimed_card_id", WORD),
        Column("claimed_face", Integer),
        Column("image", WORD, nullable=False),
        Column("created_by", String(200), nullable=False),
        Column("created_at", BigInteger, nullable=False),
    )
    op.create_index("ix_corrections_created_at", "corrections", ["created_at"])


def _sessions() -> None:
    op.create_table(
        "card_sessions",
        Column("session_id", ID, primary_key=True),
        Column("created_by", String(200), nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("expires_at", BigInteger, nullable=False),
        Column("result", Text),
    )
    op.create_index("ix_card_sessions_expires_at", "card_sessions", ["expires_at"])


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)
