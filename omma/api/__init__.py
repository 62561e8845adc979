"""The HTTP surface: routers, limits, problem details."""
