"""Messages that others signed: the samples of RFC 6376 and RFC 8463, and those of dkimpy's tests.

`dkimpy/` has files of dkimpy 1.1.8's `dkim/tests/data` as its authors published them, with their
licence.
"""

from __future__ import annotations

from pathlib import Path

from harness.key_records import KeyRecords

FOLDER = Path(__file__).parent
DKIMPY = FOLDER / "dkimpy"

ED25519_KEY = b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
SAMPLE_KEYS = {
    # RFC 6376, appendix C
    "brisbane._domainkey.example.com": (
        b"v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/"
        b"zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVj"
        b"H4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB"
    ),
    # RFC 8463, appendix A
    "brisbane._domainkey.football.example.com": ED25519_KEY,
    "test._domainkey.football.example.com": (
        b"v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5"
        b"qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG"
        b"4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
    ),
}
# what dkimpy's tests answer for DNS
GMAIL_KEY = (
    b"k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA1Kd87/UeJjenpabgbFwh+eBCsSTrqmwIYYvywlb"
    b"hbqoo2DymndFkbjOVIPIldNs/m40KF+yzMn1skyoxcTUGCQs8g3FgD2Ap3ZB5DekAo5wMmk4wimDO+U8QzI3SD07y2+"
    b"07wlNWwIt8svnxgdxGkVbbhzY8i+RQ9DpSVpPbF7ykQxtKXkv/ahW3KjViiAH+ghvvIhkx4xYSIc9oSwVmAl5OctMEe"
    b"WUwg8Istjqz8BZeTWbf41fbNhte7Y+YqZOwq1Sd0DbvYAD9NOZK9vlfuac0598HY+vtSBczUiKERHv1yRbcaQtZFh5w"
    b"tiRrN04BLUTD21MycBX5jYchHjPY/wIDAQAB"
)


def message(path: Path) -> bytes:
    """A message with the line ends that it has on the wire."""
    return path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def dkimpy_message(name: str) -> bytes:
    return message(DKIMPY / name)


def dkimpy_record(name: str) -> bytes:
    return (DKIMPY / name).read_bytes().strip()


def all_keys() -> KeyRecords:
    """Every key that a message here is signed with."""
    return KeyRecords(
        {
            **SAMPLE_KEYS,
            "test._domainkey.example.com": dkimpy_record("test.txt"),
            "sed._domainkey.test.ex": dkimpy_record("eximtest.dns"),
            "20120113._domainkey.gmail.com": GMAIL_KEY,
        }
    )
