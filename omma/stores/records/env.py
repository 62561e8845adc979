"""What Alembic runs for each of its commands: it works on the connection that it was handed."""

from alembic import context

from omma.stores.records.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by making it anew
)
with context.begin_transaction():
    context.run_migrations()
