"""Records in SQL: SQLite on one node, PostgreSQL on any number."""
