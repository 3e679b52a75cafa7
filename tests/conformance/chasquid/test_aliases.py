"""The aliases file, what it resolves to and how edits arrive (rows A30–A56).

Each alias file stands in a domain of its own, so that one server can show them all.
"""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

import pytest

from conformance.chasquid.configdir import USERS, ConfigDir, Domain
from conformance.chasquid.servers import (
    FAST_RELOAD,
    Column,
    Server,
    StartRefused,
    running,
)
from harness.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.chasquid.conftest import StartServer

SECOND_LINE = r"aliases(:2:|.* line 2)"  # file and line of what is wrong
CHAIN_OF_TEN = "".join(f"l{n}: l{n + 1}\n" for n in range(1, 9)) + "l9: user\n"
ALIASES: dict[str, str | bytes] = {
    "suffix.test": "juana.perez: juan\njuana.perez+tag: rx\n",
    "cleaned.test": "juana.perez: juan\n",
    "twice.test": "a: user\na: juan\n",
    "upper.test": "A.B: user\n",
    "chain.test": "l0: l1\n" + CHAIN_OF_TEN,
    "loop.test": "a: a\n",
    "catch.test": "*: juan\n",
    "rewrite.test": "*: *@r.test\n",
    "via.test": "*: * via m1\n",
    "star.test": "hh: *\n",
    "empty.test": "a: b, ,juan,\n",
    "comma.test": "a: ,\n",
    "pipe.test": "a: x,|cmd\n",
    "comments.test": b"   # a comment with leading blanks\r\n\r\nal: user\r\n",
    "multi.test": "multi: user, al\nal: user\n",
}
NO_DOTS = {**USERS, "juan.perez": ""}


@pytest.fixture(scope="module")
def aliases(column: Column, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    domains = {"d1.test": Domain()}
    domains |= {name: Domain(text) for name, text in ALIASES.items()}
    domains["dotted.test"] = Domain(users=NO_DOTS)
    config = ConfigDir(tmp_path_factory.mktemp(f"aliases-{column.value}"), domains=domains)
    with running(Server(column, config, FAST_RELOAD)) as started:
        yield started


def targets(server: Server, recipient: str, count: int = 1) -> list[str]:
    return server.final_targets(recipient, uuid.uuid4().hex, count)


@pytest.mark.parametrize(
    ("recipient", "expected"),
    [
        pytest.param(
            "ju.ana.perez+x@cleaned.test",
            "juan@cleaned.test",
            id="drop-characters-and-suffix",
            marks=pytest.mark.case("A30"),
        ),
        pytest.param(
            "juanaperez+tag@suffix.test",
            "rx@suffix.test",
            id="alias-with-suffix",
            marks=pytest.mark.case("A31"),
        ),
        pytest.param(
            "juana.perez+ta.g@suffix.test",
            "juan@suffix.test",
            id="nothing-dropped-in-a-suffix",
            marks=pytest.mark.case("A32"),
        ),
        pytest.param(
            "a@twice.test", "juan@twice.test", id="last-line-wins", marks=pytest.mark.case("A33")
        ),
        pytest.param(
            "ab@upper.test", "user@upper.test", id="cleaned-key", marks=pytest.mark.case("A34")
        ),
        pytest.param(
            "l1@chain.test", "user@chain.test", id="ten-levels", marks=pytest.mark.case("A35")
        ),
        pytest.param(
            "nobody@catch.test", "juan@catch.test", id="catch-all", marks=pytest.mark.case("A38")
        ),
        pytest.param(
            "user@catch.test",
            "user@catch.test",
            id="user-beats-catch-all",
            marks=pytest.mark.case("A39"),
        ),
        pytest.param(
            "us.er+x@catch.test",
            "user@catch.test",
            id="cleaned-user-beats-catch-all",
            marks=pytest.mark.case("A40"),
        ),
        pytest.param(
            "Li.lly+X@rewrite.test",
            "li.lly+x@r.test",
            id="star-target-keeps-the-user",
            marks=pytest.mark.case("A41"),
        ),
        pytest.param(
            "lilly@via.test", "lilly@via.test", id="star-via", marks=pytest.mark.case("A42")
        ),
    ],
)
def test_one_target(aliases: Server, recipient: str, expected: str) -> None:
    assert targets(aliases, recipient) == [expected]


@pytest.mark.case("A42")
def test_star_via_goes_to_the_server_and_not_to_the_mda(aliases: Server) -> None:
    """Without DNS the server m1 is not found, which is a temporary failure of remote delivery."""
    marker = uuid.uuid4().hex
    aliases.final_targets("lilly@via.test", marker)
    aliases.config.wait_for_log(marker, "to=lilly@via.test failed (temporary)")


@pytest.mark.parametrize(
    "recipient",
    [
        pytest.param("l0@chain.test", id="eleven-levels", marks=pytest.mark.case("A36")),
        pytest.param("a@loop.test", id="itself", marks=pytest.mark.case("A37")),
        pytest.param("hh@star.test", id="star", marks=pytest.mark.case("A43")),
    ],
)
def test_loops_are_found_at_data(aliases: Server, recipient: str) -> None:
    with aliases.session() as client:
        client.envelope([recipient])
        reply = client.data()
        assert reply.code == 451, reply


@pytest.mark.case("A44")
def test_empty_items_are_ignored(aliases: Server) -> None:
    assert targets(aliases, "a@empty.test", 2) == ["b@empty.test", "juan@empty.test"]


@pytest.mark.case("A45")
def test_alias_of_nothing_is_no_alias(aliases: Server) -> None:
    with aliases.session() as client:
        client.expect("MAIL FROM:<a@pass.test>", "250")
        client.expect("RCPT TO:<a@comma.test>", "550 5.1.1")


@pytest.mark.case("A46")
def test_pipe_character_in_a_later_item_is_an_address(aliases: Server) -> None:
    assert targets(aliases, "a@pipe.test", 2) == ["x@pipe.test", "|cmd@pipe.test"]


@pytest.mark.case("A47")
@pytest.mark.parametrize(
    "line",
    ["nocolon", "a:", ": b", "a@x: b", "a: |", "a: b c", "a: b via x//y", "a: b # c"],
)
def test_malformed_line_refuses_the_start(start: StartServer, line: str) -> None:
    with pytest.raises(StartRefused) as refused:
        start(domains={"d1.test": Domain(aliases=f"fine: user\n{line}\n")})
    assert re.search(SECOND_LINE, refused.value.output), refused.value.output


@pytest.mark.case("A48")
def test_malformed_line_at_a_reload_keeps_the_old_aliases(start: StartServer) -> None:
    server = start(domains={"d1.test": Domain(aliases="al: user\n")}, settings=FAST_RELOAD)
    server.config.write_aliases("al: juan\nnocolon\n")
    server.wait_for_output(SECOND_LINE, timeout=5)
    assert server.is_running()
    assert targets(server, "al@d1.test") == ["user@d1.test"]


@pytest.mark.case("A49")
def test_comments_and_crlf_lines(aliases: Server) -> None:
    assert targets(aliases, "al@comments.test") == ["user@comments.test"]


@pytest.mark.case("A50")
def test_nothing_but_a_suffix(aliases: Server) -> None:
    with aliases.session() as client:
        client.expect("MAIL FROM:<a@pass.test>", "250")
        client.expect("RCPT TO:<+foo@d1.test>", "550 5.1.1")


@pytest.mark.case("A51")
def test_same_user_by_two_ways_gets_one_copy(aliases: Server) -> None:
    sender = f"{uuid.uuid4().hex}@pass.test"
    with aliases.session() as client:
        client.deliver(["multi@multi.test"], sender=sender)
    aliases.config.wait_for_log(f"from={sender}", "all done")
    assert len(aliases.config.log_lines(f"from={sender} to=user@multi.test sent")) == 1


@pytest.mark.case("A52")
def test_user_created_with_a_drop_character_gets_mail(aliases: Server) -> None:
    with aliases.session() as client:
        client.expect("MAIL FROM:<a@pass.test>", "250")
        client.expect("RCPT TO:<juan.perez@dotted.test>", "250")
        client.expect("RCPT TO:<juanperez@dotted.test>", "250")


@pytest.mark.case("A53")
def test_star_is_no_user(aliases: Server) -> None:
    with aliases.session() as client:
        client.expect("MAIL FROM:<a@pass.test>", "250")
        reply = client.command("RCPT TO:<*@catch.test>")
        assert reply.code in {501, 550}, reply


@pytest.mark.case("A54")
def test_two_suffix_separators(start: StartServer) -> None:
    server = start(
        domains={"d1.test": Domain(aliases="x-y: user\n")}, keys={"suffix_separators": '"+-"'}
    )
    assert targets(server, "x-y@d1.test") == ["user@d1.test"]
    assert targets(server, "u.ser-a@d1.test") == ["user@d1.test"]


@pytest.mark.case("A55")
def test_no_drop_characters(start: StartServer) -> None:
    server = start(keys={"drop_characters": '""'})
    with server.session() as client:
        client.expect("MAIL FROM:<a@pass.test>", "250")
        client.expect("RCPT TO:<us.er@d1.test>", "550 5.1.1")


@pytest.mark.case("A56")
def test_edited_aliases_are_used_without_a_restart(start: StartServer) -> None:
    server = start(domains={"d1.test": Domain(aliases="al: user\n")}, settings=FAST_RELOAD)
    assert targets(server, "al@d1.test") == ["user@d1.test"]
    server.config.write_aliases("al: juan\n")
    wait_for(lambda: targets(server, "al@d1.test") == ["juan@d1.test"], what="the new target")
