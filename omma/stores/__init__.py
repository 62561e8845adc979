"""Where data lives: files, URLs, databases, caches."""
