"""What of the configuration decides about senders and recipients, put into a worker's services."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from relevo.authn import server_secret
from relevo.delivery import route_table
from relevo.delivery.forwarding import Forwarding, Rewriting
from relevo.mailauth.dmarc.public_suffixes import BadSuffixList, PublicSuffixes, suffixes_of
from relevo.outbound import call_forward_of
from relevo.reception.relay_domains import RelayDomains
from relevo.reception.sending_rates import SendingRates
from relevo.reception.submission_policy import SubmissionPolicy

if TYPE_CHECKING:
    from relevo.config import Config
    from relevo.outbound import RemoteSurroundings
    from relevo.reception import Services
    from relevo.service.shared_tables import SharedTables

logger = logging.getLogger("relevo.worker")
SECRET_NAME = "forwarding-secret"  # noqa: S105 - the name of its file


def use_policies(
    services: Services, config: Config, tables: SharedTables, row: int, remote: RemoteSurroundings
) -> None:
    """At start and at each reload."""
    directory = services.directory
    rates = SendingRates(tables.sending, row)
    services.routes = route_table(config)
    services.submission = SubmissionPolicy.of(config.submission, rates, directory)
    services.forwarding = Forwarding(
        Rewriting(config.forwarding.rewrite),
        server_secret(config.data_dir, SECRET_NAME),
        lambda domain: directory().is_local(domain),
    )
    services.mail_checks.suffixes = _suffixes(config)
    services.relay_domains = RelayDomains(config, call_forward_of(config, remote).ask)


def _suffixes(config: Config) -> PublicSuffixes | None:
    """The list of public suffixes, when DMARC goes by one; without it by DNS."""
    try:
        return suffixes_of(config.dmarc)
    except (OSError, BadSuffixList) as error:
        path = config.dmarc.public_suffix_list
        logger.warning("%s cannot be used (%s): DMARC asks DNS for owners", path, error)
        return None
