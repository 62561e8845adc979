"""Many values as one parameter: the same statement serves one job and a thousand."""

from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy import JSON, Executable, FromClause, Row, Select, bindparam, column, func, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

GIVEN = "given"  # the parameter's name: a sequence of rows, or of texts


def given_rows(*, is_sqlite: bool, **columns: TypeEngine[Any]) -> FromClause:
    """The rows that the parameter `GIVEN` holds, as a table in their order."""
    rows = bindparam(GIVEN, type_=JSON)
    if not is_sqlite:
        typed = [column(name, kind) for name, kind in columns.items()]
        table = func.json_to_recordset(rows).table_valued(*typed)
        return table.render_derived(name="given", with_types=True)
    each = func.json_each(rows).table_valued("value", name="each")
    fields = [
        func.json_extract(each.c.value, f"$.{name}", type_=kind).label(name)
        for name, kind in columns.items()
    ]
    return select(*fields).subquery("given")


def given_texts(*, is_sqlite: bool) -> Select[tuple[str]]:
    """The texts that the parameter `GIVEN` holds: for ``IN``."""
    texts = bindparam(GIVEN, type_=JSON)
    if is_sqlite:
        return select(func.json_each(texts).table_valued("value", name="each").c.value)
    return select(func.json_array_elements_text(texts).column_valued("each"))


class Statement(Protocol):
    """Builds a statement over `GIVEN` for one of the two databases, and remembers it."""

    def __call__(self, *, is_sqlite: bool) -> Executable: ...


async def run_for(
    connection: AsyncConnection, statement: Statement, given: Sequence[Any], **more: object
) -> Sequence[Row[Any]]:
    """Run it for all of ``given`` at once, or not at all for none; the rows it returns."""
    if not given:
        return []
    built = statement(is_sqlite=connection.dialect.name == "sqlite")
    found = await connection.execute(built, {GIVEN: given, **more})
    return found.all() if found.returns_rows else []
