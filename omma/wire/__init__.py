"""What crosses the wire: pydantic models shared by the API and its client."""
