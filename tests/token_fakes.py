"""Keys, tokens and revocations for suites that are let in, or not."""

import time

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from omma.domain.tokens import SUPPORT

SECRET = "a secret of thirty-two bytes or more"  # noqa: S105  opens nothing
PRIVATE = ec.generate_private_key(ec.SECP256R1())


def public_pem(key=PRIVATE):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def claims(**changes):
    """What a good token for the jobs service says; a change to None leaves a claim out."""
    good = {
        "sub": "ada",
        "permissions": [SUPPORT],
        "is_admin": False,
        "exp": int(time.time()) + 600,
        **changes,
    }
    return {name: value for name, value in good.items() if value is not None}


def user_claims(**changes):
    """The same for the classification service."""
    good = {
        "user": {"user_uid": "ada"},
        "exp": int(time.time()) + 600,
        "jti": "token-1",
        "refresh": False,
        **changes,
    }
    return {name: value for name, value in good.items() if value is not None}


def es256(payload=None, key=PRIVATE, **headers):
    return jwt.encode(payload or claims(), key, "ES256", headers=headers or None)


def hs256(payload=None, secret=SECRET):
    return jwt.encode(payload or user_claims(), secret, "HS256")


class MemoryBlocklist:
    """Revocations in a set; ``fault`` is raised instead of an answer."""

    def __init__(self):
        self.revoked = set()
        self.asked = []
        self.fault = None

    async def revoke(self, token_id, expires_at):
        del expires_at
        self.revoked.add(token_id)

    async def is_revoked(self, token_id):
        self.asked.append(token_id)
        if self.fault:
            raise self.fault
        return token_id in self.revoked
