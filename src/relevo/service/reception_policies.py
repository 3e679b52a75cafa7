"""What of the configuration decides about senders and recipients, put into a worker's services."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.authn import server_secret
from relevo.delivery import route_table
from relevo.delivery.forwarding import Forwarding, Rewriting
from relevo.outbound import call_forward_of
from relevo.reception.relay_domains import RelayDomains
from relevo.reception.sending_rates import SendingRates
from relevo.reception.submission_policy import SubmissionPolicy

if TYPE_CHECKING:
    from relevo.config import Config
    from relevo.outbound import RemoteSurroundings
    from relevo.reception import Services
    from relevo.service.shared_tables import SharedTables

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
    services.relay_domains = RelayDomains(config, call_forward_of(config, remote).ask)
