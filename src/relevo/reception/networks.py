"""Whether an address is within networks of the configuration."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network


@lru_cache(maxsize=4096)
def is_within(ip: str, networks: tuple[str, ...]) -> bool:
    """An IPv4 address mapped into IPv6 counts as the IPv4 address; what is no address is in none.

    `networks` are checked texts of a configuration, such as `192.0.2.0/24`.
    """
    if not networks:
        return False
    try:
        address = ip_address(ip.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in _parsed(networks))


@lru_cache(maxsize=16)
def _parsed(networks: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(network) for network in networks)
