"""What is remembered of hosts' TLS, and for how long."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.authority import Authority
from relevo.outbound import tls_contexts
from relevo.outbound.tls_contexts import BROKEN_S, UNVERIFIABLE_S, Check, Problem, TlsContexts
from relevo.tls_layer import TlsFailed

PROBLEM = Problem("x", "validation-failure")


def test_memory_ends() -> None:
    now = [0.0]
    contexts = TlsContexts(clock=lambda: now[0])
    contexts.broken.put("a", PROBLEM)
    contexts.unverifiable.put("a", PROBLEM)
    now[0] = BROKEN_S - 1
    assert contexts.broken.get("a") is PROBLEM
    now[0] = BROKEN_S
    assert contexts.broken.get("a") is None
    assert contexts.unverifiable.get("a") is PROBLEM
    now[0] = UNVERIFIABLE_S
    assert contexts.unverifiable.get("a") is None


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_contexts, "MAX_HOSTS", 2)
    contexts = TlsContexts()
    for name in ("a", "b", "c"):
        contexts.broken.put(name, PROBLEM)
    assert [contexts.broken.get(name) for name in ("a", "b", "c")] == [None, PROBLEM, PROBLEM]


def test_other_authorities_forget_what_the_old_ones_proved(
    authority: Authority, ca_file: str, tmp_path: Path
) -> None:
    contexts = TlsContexts(ca_file)
    before = contexts.verifying
    contexts.unverifiable.put("a", PROBLEM)
    shaking = contexts.layer(Check.WEBPKI, "mx.test")
    other = Authority("Other")
    other.write(tmp_path / "other.pem")
    contexts.use(str(tmp_path / "other.pem"))
    assert contexts.unverifiable.get("a") is None
    (trusted,) = contexts.verifying.get_ca_certs(binary_form=True)
    assert (trusted, authority.as_certificate.der) == (
        other.as_certificate.der,
        before.get_ca_certs(binary_form=True)[0],
    )
    contexts.keep_session(Check.WEBPKI, "mx.test", shaking)
    assert contexts.layer(Check.WEBPKI, "mx.test"), "a session of the old ones is no hindrance"


def test_authorities_that_have_gone(tmp_path: Path) -> None:
    contexts = TlsContexts(str(tmp_path / "gone.pem"))
    with pytest.raises(TlsFailed):
        contexts.layer(Check.WEBPKI, "mx.test")
    assert contexts.layer(Check.NOTHING, "mx.test")
    with pytest.raises(TlsFailed):
        contexts.layer(Check.NOTHING, "x" * 64 + "..test")
