"""Contract v2 as JSON: strict where a hook answers, complete where it is told."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.hooks.contract import (
    Accept,
    AliasContext,
    Changes,
    Client,
    InvalidVerdict,
    PostDataContext,
    Refuse,
)
from relevo.hooks.contract.json_form import (
    alias_exists_verdict,
    alias_resolve_verdict,
    encode_context,
    post_data_verdict,
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
                    "X: ü\r\n".encode(), ("Y",), (("Z", b"Z: 1\r\n"),), ("a@b",), ("c@d",), "",
                    ("t 1",),
                )
            ),
            id="changes",
        ),
    ],
)  # fmt: skip
def test_post_data_verdict(answer: dict[str, object], verdict: object) -> None:
    assert post_data_verdict(json.dumps(answer).encode()) == verdict


@pytest.mark.parametrize("data", [b"", b" \n"])
def test_no_answer_is_accept_and_no_alias(data: bytes) -> None:
    assert post_data_verdict(data) == Accept()
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
        post_data_verdict(answer)


@given(st.binary(max_size=100))
def test_any_octets_are_a_verdict_or_refused(data: bytes) -> None:
    for read in (post_data_verdict, alias_resolve_verdict, alias_exists_verdict):
        try:
            read(data)
        except InvalidVerdict:
            continue


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


def test_schemas_name_every_type() -> None:
    assert {
        "PostDataContext", "PostDataVerdict", "AliasContext", "AliasResolveVerdict",
        "AliasExistsVerdict", "HeaderField", "Client", "Tls", "Recipient",
    } == set(schemas())  # fmt: skip
