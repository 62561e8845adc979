"""Tokens that were signed elsewhere: the keys that verify them, and the list of the revoked."""
