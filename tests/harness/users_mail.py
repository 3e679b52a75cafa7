"""What a user of a test server sends, and what the mail log says of it."""

from __future__ import annotations

from harness.dialog import Dialog
from harness.server import RelevoServer
from harness.waiting import wait_for


def submit(
    server: RelevoServer, *recipients: str, parameters: str = "", field: bytes = b""
) -> None:
    """Send to each as a user; `field`: more of the header, whole lines."""
    with Dialog(server.submission) as client:
        client.expect(250, "EHLO client.test")
        client.start_tls()
        client.expect(250, "EHLO client.test")
        assert client.log_in("user@d1.test", "secret").code == 235
        for recipient in recipients:
            client.expect(250, f"MAIL FROM:<user@d1.test>{parameters}")
            client.expect(250, f"RCPT TO:<{recipient}>")
            assert client.message(b"From: user@d1.test\r\n%b\r\nhello\r\n" % field).code == 250


def wait_for_line(server: RelevoServer, *texts: str) -> None:
    """Until the mail log has a line with all of these texts."""
    wait_for(
        lambda: any(all(text in line for text in texts) for line in server.mail_log().splitlines()),
        timeout_s=60,
        what=f"{texts} in the mail log",
    )
