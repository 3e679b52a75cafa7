"""Contract v2 as JSON: strict where a hook answers, complete where it is told."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.hooks.contract import (
    Accept,
    AliasContext,
    Changes,
    Client,
    Discard,
    InvalidVerdict,
    PostDataContext,
    Refuse,
    Stage,
)
from relevo.hooks.contract.answers import MAX_TAGS
from relevo.hooks.contract.json_form import (
    TYPES,
    alias_exists_verdict,
    alias_resolve_verdict,
    encode_context,
    read_verdict,
    schemas,
)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        pytest.param({}, Accept(), id="empty-object"),
        pytest.param({"verdict": "accept"}, Accept(), id="accept"),
        pytest.param(
            {"verdict": "reject"}, Refuse(554, "5.7.1", "Message rejected by policy"), id="reject"
        ),
        pytest.param(
            {"verdict": "tempfail", "text": "wait"}, Refuse(451, "4.7.1", "wait"), id="tempfail"
        ),
        pytest.param(
            {"verdict": "reject", "code": 550, "enhanced": "5.7.0", "text": "a\nb"},
            Refuse(550, "5.7.0", "a b"),
            id="own-code",
        ),
        pytest.param(
            {
                "add_headers": [{"name": "X", "value": "ü"}],
                "remove_headers": ["Y"],
                "replace_headers": [{"name": "Z", "value": "1"}],
                "add_recipients": ["a@b"],
                "remove_recipients": ["c@d"],
                "sender": "",
                "tags": ["t\n1"],
            },
            Accept(
                Changes(
                    "X: ü\r\n".encode(), ("Y",), (("Z", b"Z: 1\r\n"),), ("a@b",), ("c@d",),
                    reverse_path="", tags=("t 1",),
                )
            ),
            id="changes",
        ),
        pytest.param(
            {"verdict": "discard", "text": "spam"}, Discard("spam"), id="discard"
        ),
        pytest.param(
            {"redirect": ["a@b"], "body": "one\ntwo"},
            Accept(Changes(redirect=("a@b",), body=b"one\r\ntwo\r\n")),
            id="redirect-and-body",
        ),
        pytest.param({"body": ""}, Accept(Changes(body=b"")), id="empty-body"),
        pytest.param(
            {"body_b64": base64.b64encode(b"\xff\r\n\r").decode()},
            Accept(Changes(body=b"\xff\r\n\r\n")),
            id="body-as-octets",
        ),
    ],
)  # fmt: skip
def test_post_data_verdict(answer: dict[str, object], verdict: object) -> None:
    assert read_verdict(Stage.POST_DATA, json.dumps(answer).encode()) == verdict


@pytest.mark.parametrize("data", [b"", b" \n"])
def test_no_answer_is_accept_and_no_alias(data: bytes) -> None:
    assert read_verdict(Stage.POST_DATA, data) == Accept()
    assert alias_resolve_verdict(data) == ()
    assert alias_exists_verdict(data) is False


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"no json", id="no-json"),
        pytest.param(b"[]", id="array"),
        pytest.param(b'{"verdict": "maybe"}', id="unknown-verdict"),
        pytest.param(b'{"verdikt": "reject"}', id="misspelt-name"),
        pytest.param(b'{"verdict": "reject", "code": 451}', id="code-of-other-class"),
        pytest.param(b'{"verdict": "reject", "enhanced": "4.1.1"}', id="enhanced-of-other-class"),
        pytest.param(b'{"add_headers": [{"name": "a b", "value": "c"}]}', id="bad-field-name"),
        pytest.param(b'{"add_headers": [{"name": "", "value": "c"}]}', id="no-field-name"),
        pytest.param(b'{"add_headers": [{"name": "a", "value": "c\\nd: e"}]}', id="line-end"),
        pytest.param(b'{"add_headers": ["a: b"]}', id="field-as-text"),
        pytest.param(b'{"add_recipients": ["a\\u0000@b"]}', id="control-in-address"),
        pytest.param(b'{} {"verdict": "reject"}', id="two-objects"),
        pytest.param(b'{"text": "\xff"}', id="not-utf-8"),
    ],
)
def test_answer_that_the_contract_does_not_allow(answer: bytes) -> None:
    with pytest.raises(InvalidVerdict):
        read_verdict(Stage.POST_DATA, answer)


@given(st.binary(max_size=100))
def test_any_octets_are_a_verdict_or_refused(data: bytes) -> None:
    stages = set(Stage) - {Stage.ALIAS_EXISTS, Stage.ALIAS_RESOLVE}
    readers: list[Callable[[bytes], object]] = [partial(read_verdict, stage) for stage in stages]
    for read in (*readers, alias_resolve_verdict, alias_exists_verdict):
        try:
            read(data)
        except InvalidVerdict:
            continue


@pytest.mark.parametrize(
    ("stage", "answer", "verdict"),
    [
        (Stage.CONNECT, {"verdict": "tempfail"}, (421, "4.7.1")),
        (Stage.CONNECT, {"verdict": "reject"}, (554, "5.7.1")),
        (Stage.EHLO, {"verdict": "reject"}, (550, "5.7.1")),
        (Stage.AUTH, {"verdict": "reject"}, (535, "5.7.1")),
        (Stage.AUTH, {"verdict": "tempfail"}, (454, "4.7.1")),
        (Stage.MAIL, {"verdict": "reject", "code": 553}, (553, "5.7.1")),
        (Stage.RCPT, {"verdict": "tempfail", "enhanced": "4.2.0"}, (451, "4.2.0")),
        (Stage.BEFORE_ATTEMPT, {"verdict": "tempfail"}, (451, "4.7.1")),
        (Stage.ROUTE, {"verdict": "reject", "enhanced": "5.4.4"}, (554, "5.4.4")),
    ],
)  # fmt: skip
def test_codes_of_a_refusal(
    stage: Stage, answer: dict[str, object], verdict: tuple[int, str]
) -> None:
    refusal = read_verdict(stage, json.dumps(answer).encode())
    assert isinstance(refusal, Refuse)
    assert (refusal.code, refusal.enhanced) == verdict


@pytest.mark.parametrize(
    ("stage", "answer", "changes"),
    [
        (Stage.CONNECT, {"tags": ["a", "", "a"]}, Changes(tags=("a",))),
        (Stage.MAIL, {"sender": "a@b"}, Changes(reverse_path="a@b")),
        (Stage.RCPT, {"redirect": ["a@b", "c@d"]}, Changes(redirect=("a@b", "c@d"))),
        (Stage.ROUTE, {"route": "via:h.test"}, Changes(route="via:h.test")),
        (Stage.DELIVERED, {"tags": ["t"]}, Changes(tags=("t",))),
    ],
)  # fmt: skip
def test_what_a_stage_may_change(stage: Stage, answer: dict[str, object], changes: Changes) -> None:
    assert read_verdict(stage, json.dumps(answer).encode()) == Accept(changes)


@pytest.mark.parametrize(
    ("stage", "answer"),
    [
        (Stage.CONNECT, {"sender": "a@b"}),
        (Stage.MAIL, {"redirect": ["a@b"]}),
        (Stage.EHLO, {"verdict": "discard"}),
        (Stage.RCPT, {"redirect": ["a\n@b"]}),
        (Stage.RCPT, {"tags": ["t"] * (MAX_TAGS + 1)}),
        (Stage.POST_DATA, {"body": "a", "body_b64": "YQ=="}),
        (Stage.POST_DATA, {"body_b64": "?"}),
        (Stage.ROUTE, {"route": "pipe"}),
        (Stage.ROUTE, {"route": "mx:"}),
        (Stage.BEFORE_ATTEMPT, {"route": "mx:a.test"}),
        (Stage.FAILED, {"verdict": "reject"}),
        (Stage.DSN, {"verdict": "reject"}),
    ],
)
def test_what_a_stage_may_not_say(stage: Stage, answer: dict[str, object]) -> None:
    with pytest.raises(InvalidVerdict):
        read_verdict(stage, json.dumps(answer).encode())


def test_a_notification_may_be_dropped() -> None:
    assert read_verdict(Stage.DSN, b'{"verdict": "drop", "text": "known"}') == Discard("known")


def test_alias_verdicts() -> None:
    assert alias_resolve_verdict(b'{"targets": ["a@b", "c"]}') == ("a@b", "c")
    assert alias_exists_verdict(b'{"exists": true}') is True
    with pytest.raises(InvalidVerdict):
        alias_resolve_verdict(b'{"targets": "a@b"}')
    with pytest.raises(InvalidVerdict):
        alias_exists_verdict(b'{"exists": 1}')


def test_context_is_one_json_object_with_everything() -> None:
    context = PostDataContext(
        message_id="id",
        client=Client("192.0.2.7", 25, "h"),
        reverse_path="<>",
        forward_paths=("a@b", "c@d"),
    )
    told = json.loads(encode_context(context))
    assert told["stage"] == "post-data"
    assert told["forward_paths"] == ["a@b", "c@d"]
    assert told["client"] == {
        "ip": "192.0.2.7", "port": 25, "hello_name": "h", "hello_name_b64": ""
    }  # fmt: skip
    assert told["tls"] is None
    assert set(told) == set(schemas()["PostDataContext"]["properties"])
    alias = json.loads(encode_context(AliasContext(stage="alias-exists", address="a@b")))
    assert alias == {"stage": "alias-exists", "address": "a@b"}


def test_hello_name_that_is_not_utf_8_stands_beside_in_base64() -> None:
    client = Client.of("[2001:db8::1]:99", b"h\xffo".decode("utf-8", "surrogateescape"))
    assert client == Client("2001:db8::1", 99, "h\ufffdo", base64.b64encode(b"h\xffo").decode())
    assert json.loads(encode_context(client))["hello_name"] == "h\ufffdo"


def test_schemas_name_the_types_of_every_stage() -> None:
    assert set(TYPES) == set(Stage)
    named = {each.__name__ for pair in TYPES.values() for each in pair}
    assert named | {"HeaderField", "Client", "Tls", "Recipient", "TriedRecipient"} <= set(schemas())
