"""Parts of config directories."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from unit.config.pki import pem


@pytest.fixture
def domain(tmp_path: Path) -> Path:
    """The folder of the local domain d1.test, with a good signing key."""
    folder = tmp_path / "domains" / "d1.test"
    folder.mkdir(parents=True)
    key = folder / "dkim:one.pem"
    key.write_bytes(pem(Ed25519PrivateKey.generate()))
    key.chmod(0o600)
    return folder
