"""What a client has learned in one transaction: which reply decided on which recipient.

The first reply that settles a recipient counts: a refused MAIL settles all, a refused RCPT its
own, a refused DATA or chunk all that are left, the reply to the end of the message the rest; with
LMTP one such reply for each accepted RCPT, in their order (RFC 2033 §4.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.smtp.client_events import Outgoing, RecipientResult, ServerReply, Step

if TYPE_CHECKING:
    from collections.abc import Sequence


class Transaction:
    """Book-keeping of one `Outgoing`."""

    __slots__ = ("_accepted", "_ends", "_rcpt_replies", "is_open", "outgoing", "results")

    def __init__(self, outgoing: Outgoing) -> None:
        self.outgoing = outgoing
        self.results: list[RecipientResult | None] = [None] * len(outgoing.recipients)
        self.is_open = False  # the server holds a reverse-path that only RSET or an end clears
        self._accepted: list[int] = []
        self._rcpt_replies = 0
        self._ends = 0

    @property
    def accepted(self) -> int:
        """Recipients that wait for the end of the message."""
        return len(self._accepted)

    @property
    def has_all_rcpt_replies(self) -> bool:
        return self._rcpt_replies == len(self.results)

    def take_mail(self, reply: ServerReply) -> None:
        if reply.is_positive:
            self.is_open = True
        else:
            self.settle_rest(Step.MAIL, reply)

    def take_rcpt(self, reply: ServerReply) -> None:
        index = self._rcpt_replies
        self._rcpt_replies += 1
        if self.results[index] is not None:
            return  # MAIL was refused; what is said to a pipelined RCPT means nothing
        if reply.is_positive:
            self._accepted.append(index)
        else:
            self.results[index] = RecipientResult(Step.RCPT, reply)

    def take_end(self, reply: ServerReply, *, is_lmtp: bool) -> None:
        """The reply to the end of the message, which clears the server's transaction."""
        self.is_open = False
        if not is_lmtp:
            self.settle_rest(Step.END, reply)
        elif self._ends < len(self._accepted):
            self.results[self._accepted[self._ends]] = RecipientResult(Step.END, reply)
            self._ends += 1

    def settle_rest(self, step: Step, reply: ServerReply) -> None:
        """`reply` decides on every recipient not decided yet."""
        for index, result in enumerate(self.results):
            if result is None:
                self.results[index] = RecipientResult(step, reply)
        self._accepted = []

    def final_results(self) -> Sequence[RecipientResult]:
        """All of them; to be asked when nothing more can come."""
        results = [result for result in self.results if result is not None]
        assert len(results) == len(self.results), "a recipient without a result"
        return results
