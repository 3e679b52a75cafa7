"""What was found out about who wrote and sent a message, as one value of its transaction."""

from __future__ import annotations

from relevo.mailauth.arc import NO_CHAIN, ArcResult
from relevo.mailauth.arc.sets import ArcSet
from relevo.mailauth.dkim import DkimResult
from relevo.mailauth.dmarc import DmarcResult, Policy
from relevo.value import dataclass


@dataclass(frozen=True, slots=True)
class Findings:
    """What a message's signatures are worth; `dkim` is None where they are not verified.

    `sets` are those of the chain, for sealing. `dmarc` is None where the author is not judged;
    `handling` is what follows from it here, `forwarder` the trusted server because of which
    nothing does.
    """

    dkim: tuple[DkimResult, ...] | None = ()
    arc: ArcResult = NO_CHAIN
    sets: tuple[ArcSet, ...] = ()
    dmarc: DmarcResult | None = None
    forwarder: str = ""
    handling: Policy = Policy.NONE

    def with_author(
        self, dmarc: DmarcResult, forwarder: str = "", handling: Policy = Policy.NONE
    ) -> Findings:
        """The same with what DMARC found."""
        return Findings(self.dkim, self.arc, self.sets, dmarc, forwarder, handling)


NOTHING_FOUND = Findings()
NOT_VERIFIED = Findings(dkim=None)
