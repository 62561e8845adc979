"""The steps of the schema, in the order of their numbers; `omma db revision` writes the next."""
