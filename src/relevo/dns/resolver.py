"""A stub resolver: asks recursive name servers, keeps answers, asks once for many.

Order of a look-up: the cache; a look-up of the same question that is under way; the servers in
turn, beginning with the one that answered last. A server that refuses or cannot be reached is left
out for the rest of the look-up; one that is silent is asked again, after the others, until the
deadline of the whole look-up. An answer that UDP cannot carry is fetched over TCP.

Failures are kept for a moment too (RFC 9520): a domain whose servers are dead must not cost each
of its messages the whole deadline. With trust anchors, an answer that DNSSEC contradicts is a
failure, as with a resolver that validates.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from dns.message import Message
from dns.name import Name
from dns.rdatatype import RdataType

from relevo.dns.answers import Answer, DnsFailed, MailExchange, Outcome, TlsaRecord
from relevo.dns.cache import Cache, answer_size
from relevo.dns.chain import ChainOfTrust
from relevo.dns.names import BadName, ask_name, reverse_name
from relevo.dns.servers import NameServer
from relevo.dns.signatures import Bogus
from relevo.dns.transport import ServerUnreachable, ask_over_tcp, ask_over_udp
from relevo.dns.trust_anchor import TrustAnchors
from relevo.dns.validation import Status, judge
from relevo.dns.wire import (
    Question,
    RecordType,
    Reply,
    ReplyKind,
    make_query,
    name_text,
    read_reply,
    wire_name,
)

MAX_TTL_S = 86_400
MAX_ABSENT_TTL_S = 3_600  # RFC 2308 §5 names one to three hours
FAILED_TTL_S = 5  # RFC 9520 §3.2: at least 1 s, at most 5 min
MAX_AT_ONCE = 256  # each has a socket
LONGEST_TRY_S = 2.0

_NOT_A_NAME: Answer[Any] = Answer(Outcome.NO_SUCH_NAME, (), 0, is_authenticated=False)


@dataclass(frozen=True, slots=True)
class _Failure:
    """A look-up that nobody could answer, as the cache keeps it."""

    detail: str


class Resolver:
    """Look-ups over the network for one event loop (see DnsLookups)."""

    def __init__(
        self,
        servers: Sequence[NameServer],
        *,
        timeout_s: float = 5.0,
        cache_size: int = 4 * 1024 * 1024,
        signed_name: str = "",
        anchors: TrustAnchors | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`timeout_s` bounds a whole look-up; `cache_size` is in octets.

        `signed_name` is a zone known to be signed, for `is_dnssec_seen`; "": the root. With
        `anchors` each answer is validated by DNSSEC, and no server's word is taken for it.
        """
        if not servers:
            raise ValueError("a resolver needs a name server")
        self._servers = tuple(servers)
        self._signed_name = ask_name(signed_name) if signed_name.strip(".") else ""
        self._timeout_s = timeout_s
        self._try_s = min(LONGEST_TRY_S, timeout_s / 4)
        self._cache: Cache[Question, Answer[Any] | _Failure] = Cache(
            max_size=cache_size, clock=clock
        )
        self._under_way: dict[Question, asyncio.Task[Answer[Any] | _Failure]] = {}
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)
        self._first = 0  # index of the server that answered last
        self._chain = None if anchors is None else ChainOfTrust(anchors, self._fetch, clock=clock)

    async def txt(self, name: str) -> Answer[bytes]:
        return await self._look_up(name, RecordType.TXT)

    async def a(self, name: str) -> Answer[IPv4Address]:
        return await self._look_up(name, RecordType.A)

    async def aaaa(self, name: str) -> Answer[IPv6Address]:
        return await self._look_up(name, RecordType.AAAA)

    async def mx(self, name: str) -> Answer[MailExchange]:
        return await self._look_up(name, RecordType.MX)

    async def ptr(self, address: IPv4Address | IPv6Address) -> Answer[str]:
        return await self._look_up(reverse_name(address), RecordType.PTR)

    async def tlsa(self, name: str) -> Answer[TlsaRecord]:
        return await self._look_up(name, RecordType.TLSA)

    async def is_alias_secure(self, name: str) -> bool:
        answer = await self._look_up(name, RecordType.CNAME)
        return answer.outcome is Outcome.FOUND and answer.is_authenticated

    async def is_dnssec_seen(self) -> bool:
        answer = await self._known(Question(self._signed_name, RecordType.SOA))
        return answer.outcome is Outcome.FOUND and answer.is_authenticated

    async def aclose(self) -> None:
        """End what is under way; those who wait for it get DnsFailed."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._chain is not None:
            await self._chain.aclose()

    async def _look_up(self, name: str, record_type: RecordType) -> Answer[Any]:
        try:
            question = Question(ask_name(name), record_type)
        except BadName:
            return _NOT_A_NAME
        return await self._known(question)

    async def _known(self, question: Question) -> Answer[Any]:
        known = self._cache.get(question)
        if known is None:
            known = await self._join(question)
        if isinstance(known, _Failure):
            raise DnsFailed(str(question), known.detail)
        return known

    async def _join(self, question: Question) -> Answer[Any] | _Failure:
        """The result of the one look-up of this question that is under way, begun if need be."""
        task = self._under_way.get(question)
        if task is None:
            task = asyncio.create_task(self._ask(question), name=f"dns {question}")
            self._under_way[question] = task
            task.add_done_callback(lambda _: self._under_way.pop(question, None))
        # who waits may be cancelled; the look-up goes on for the others and for the cache
        await asyncio.wait((task,))
        return _Failure("the resolver was closed") if task.cancelled() else task.result()

    async def _ask(self, question: Question) -> Answer[Any] | _Failure:
        problems: dict[str, str] = {}
        answer = None
        try:
            async with asyncio.timeout(self._timeout_s), self._slots:
                reply = await self._ask_in_turn(question, problems)
                if reply is not None:
                    answer = await self._judged(question, reply, problems)
        except TimeoutError:
            problems.setdefault("all servers", f"no answer within {self._timeout_s:g} s")
        if answer is None:
            told = _told(problems)
            failure = _Failure(told)
            self._cache.put(
                question,
                failure,
                lifetime_s=FAILED_TTL_S,
                size=answer_size(question.name, (told,)),
            )
            return failure
        most = MAX_TTL_S if answer.records else MAX_ABSENT_TTL_S
        self._cache.put(
            question,
            answer,
            lifetime_s=min(answer.ttl_s, most),
            size=answer_size(question.name, answer.records),
        )
        return answer

    async def _judged(
        self, question: Question, reply: Reply, problems: dict[str, str]
    ) -> Answer[Any] | None:
        """The answer with what DNSSEC says of it; None when it is not to be believed."""
        answer, message = reply.answer, reply.message
        if self._chain is None or answer is None or message is None:
            return answer
        name, rdtype = wire_name(question.name), RdataType(question.type.value)
        try:
            verdict = await judge(self._chain, name, rdtype, message)
        except DnsFailed as error:
            problems["DNSSEC"] = f"cannot be validated: {error}"
            return None
        if verdict.status is Status.BOGUS:
            problems["DNSSEC"] = f"bogus: {verdict.problem}"
            return None
        ttl_s = min(answer.ttl_s, verdict.ttl_s)
        is_secure = verdict.status is Status.SECURE
        return replace(answer, ttl_s=ttl_s, is_authenticated=is_secure)

    async def _fetch(self, name: Name, rdtype: RdataType) -> Message:
        """A part of a chain of trust. Raises DnsFailed, Bogus."""
        text = name_text(name)
        if text is None:
            raise Bogus("a name that cannot be asked for")
        question = Question(text, RecordType(rdtype))
        problems: dict[str, str] = {}
        reply = None
        try:
            async with asyncio.timeout(self._timeout_s):
                reply = await self._ask_in_turn(question, problems)
        except TimeoutError:
            problems.setdefault("all servers", f"no answer within {self._timeout_s:g} s")
        if reply is None or reply.message is None:
            raise DnsFailed(str(question), _told(problems))
        return reply.message

    async def _ask_in_turn(self, question: Question, problems: dict[str, str]) -> Reply | None:
        """The first answer; None when every server refused. `problems` tells why, by server."""
        first = self._first
        waiting = deque((*range(first, len(self._servers)), *range(first)))
        while waiting:
            index = waiting.popleft()
            server = self._servers[index]
            try:
                async with asyncio.timeout(self._try_s):
                    reply = await self._ask_server(server, question)
            except TimeoutError:
                problems[str(server)] = "no answer"
                waiting.append(index)
                continue
            except ServerUnreachable as error:
                problems[str(server)] = str(error)
                continue
            if reply.answer is not None:
                self._first = index
                return reply
            problems[str(server)] = reply.problem
        return None

    async def _ask_server(self, server: NameServer, question: Question) -> Reply:
        """One server's ANSWER or REFUSED, after TCP and without EDNS where that is needed."""
        has_edns = True
        over = ask_over_udp
        while True:
            number, validates = secrets.randbelow(65536), self._chain is not None
            query = make_query(question, number, has_edns=has_edns, validates=validates)
            read = partial(read_reply, query, question, is_trusted=server.is_trusted)
            reply = await over(server, query.wire, read)
            match reply.kind:
                case ReplyKind.TRUNCATED if over is ask_over_udp:
                    over = ask_over_tcp
                case ReplyKind.NO_EDNS:  # said only of a question that had it
                    has_edns = False
                case ReplyKind.TRUNCATED:
                    return Reply(ReplyKind.REFUSED, problem="truncated over TCP")
                case ReplyKind.ANSWER | ReplyKind.REFUSED:
                    return reply


def _told(problems: dict[str, str]) -> str:
    return "; ".join(f"{server}: {problem}" for server, problem in problems.items())
