from __future__ import annotations

import pytest

from relevo.config.listen_address import BadListenAddress, ListenAddress, parse_listen_address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":25", ListenAddress("", 25)),
        ("127.0.0.1:0", ListenAddress("127.0.0.1", 0)),
        ("mx.example.org:587", ListenAddress("mx.example.org", 587)),
        ("[::1]:2525", ListenAddress("::1", 2525)),
        ("localhost:smtp", ListenAddress("localhost", 25)),
        ("systemd", None),
    ],
)
def test_addresses_are_read(text: str, expected: ListenAddress | None) -> None:
    assert parse_listen_address(text) == expected


@pytest.mark.parametrize("text", [":25", "127.0.0.1:0", "[::1]:2525"])
def test_addresses_are_written_as_they_are_read(text: str) -> None:
    assert str(parse_listen_address(text)) == text


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "empty listening address"),
        ("25", "no port"),
        ("localhost", "no port"),
        ("localhost:", "no port"),
        (":65536", "no port"),
        (":-1", "no port"),
        (":no-such-service", "no service"),
        ("::1:25", "without brackets"),
        ("[::1]", "without brackets"),
        ("[x]:25", "no IPv6 address"),
        ("a b:25", "neither an address nor a host name"),
        ("*:25", "neither an address nor a host name"),
    ],
)
def test_other_texts_are_refused(text: str, part: str) -> None:
    with pytest.raises(BadListenAddress, match=part):
        parse_listen_address(text)
