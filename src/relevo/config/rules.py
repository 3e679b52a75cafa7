"""What a value must be beyond its type: rules for single keys, then rules over several."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from relevo.config import outbound_rules, submission_rules
from relevo.config.convert import BadValue, nearest
from relevo.config.layout import find_domains
from relevo.config.listen_address import BadListenAddress, ListenAddress, parse_listen_address
from relevo.config.model import Config
from relevo.config.problems import Problem, Severity
from relevo.config.settings import Setting
from relevo.mail import InvalidAddress, normalize_domain, parse_address

MECHANISMS = ("PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS")

_DNS_PORT = 53
_MAILDIR = "maildir:"
_LMTP = "lmtp:"
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_LISTS = ("listen.smtp", "listen.submission", "listen.submission_tls")


def refine(name: str, value: Any, config_dir: Path) -> Any:
    """The value of key `name` in its final form (absolute paths, …); raises BadValue."""
    rule = _RULES.get(name)
    return rule(value, config_dir) if rule else value


def _hostname(value: str, _config_dir: Path) -> str:
    if value.startswith("["):
        raise BadValue(f"{value!r} is not a host name", "the name that other servers know")
    if value:
        try:
            normalize_domain(value)
        except InvalidAddress as error:
            raise BadValue(f"{value!r} is not a host name", "for example mx.example.org") from error
    return value


def _listen(values: tuple[str, ...], _config_dir: Path) -> tuple[str, ...]:
    return tuple(_one_address(value) for value in values)


def _monitoring(value: str, _config_dir: Path) -> str:
    return _one_address(value) if value else value


def _one_address(value: str) -> str:
    try:
        address = parse_listen_address(value)
    except BadListenAddress as error:
        raise BadValue(error.text, error.hint) from error
    return str(address) if address else value


def _mechanisms(values: tuple[str, ...], _config_dir: Path) -> tuple[str, ...]:
    upper = tuple(value.upper() for value in values)
    for value in upper:
        if value not in MECHANISMS:
            near = nearest(value, MECHANISMS)
            hint = f"did you mean {near}?" if near else f"known are {', '.join(MECHANISMS)}"
            raise BadValue(f"{value!r} is no mechanism of this server", hint)
    return tuple(dict.fromkeys(upper))


def _name_servers(values: tuple[str, ...], _config_dir: Path) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_name_server(value) for value in values))


def _name_server(value: str) -> str:
    """`address:port`. A host name would need DNS to find DNS."""
    hint = "for example 127.0.0.1, 192.0.2.53:5353 or [2001:db8::53]:53"
    try:
        return str(ListenAddress(str(ip_address(value)), _DNS_PORT))
    except ValueError:
        pass  # then with a port
    try:
        address = parse_listen_address(value)
        if address is None or not address.port:
            raise BadValue(f"{value!r} is not the address of a name server", hint)
        return str(ListenAddress(str(ip_address(address.host)), address.port))
    except ValueError as error:
        raise BadValue(f"{value!r} is not the address of a name server", hint) from error


def _networks(values: tuple[str, ...], _config_dir: Path) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_network(value) for value in values))


def _network(value: str) -> str:
    """`address/length`; an address alone is a network of one."""
    try:
        return str(ip_network(value))
    except ValueError as error:
        hint = "for example 192.0.2.7, 192.0.2.0/24 (zeros behind the length) or 2001:db8::/32"
        raise BadValue(f"{value!r} is no network", hint) from error


def _xclient_networks(values: tuple[str, ...], config_dir: Path) -> tuple[str, ...]:
    networks = _networks(values, config_dir)
    for network in networks:
        if network.endswith("/0"):
            raise BadValue(f"{network} would let anybody claim any address", "name the proxies")
    return networks


def _relay_networks(values: tuple[str, ...], config_dir: Path) -> tuple[str, ...]:
    networks = _networks(values, config_dir)
    for network in networks:
        if network.endswith("/0"):
            raise BadValue(f"{network} would make this an open relay", "name your own networks")
    return networks


def _local(value: str, config_dir: Path) -> str:
    if value in {"mda", "discard"}:
        return value
    if value.startswith(_LMTP):
        return f"{_LMTP}{_lmtp_server(value.removeprefix(_LMTP), config_dir)}"
    pattern = value.removeprefix(_MAILDIR)
    if pattern == value:
        raise BadValue(
            f"{value!r} is no way to deliver",
            '"maildir:/var/mail/{domain}/{user}", "lmtp:/run/dovecot/lmtp", "lmtp:host:port", '
            '"mda" or "discard"',
        )
    names = _PLACEHOLDER.findall(pattern)
    for name in names:
        if name not in {"domain", "user"}:
            raise BadValue(f"{{{name}}} has no meaning in a maildir pattern", "{domain} and {user}")
    if set("{}") & set(_PLACEHOLDER.sub("", pattern)):
        raise BadValue("the maildir pattern has a brace without its partner")
    if ".." in pattern.split("/"):
        raise BadValue("the maildir pattern has .. in it", "write the path itself")
    if "user" not in names:
        raise BadValue("the maildir pattern lacks {user}", "else all users share one mailbox")
    return f"{_MAILDIR}{config_dir / pattern}"


def _lmtp_server(text: str, config_dir: Path) -> str:
    """A socket's path, or `host:port`."""
    if "/" in text:
        return str(config_dir / text)
    hint = '"lmtp:/run/dovecot/lmtp", "lmtp:127.0.0.1:24" or "lmtp:[::1]:24"'
    try:
        address = parse_listen_address(text)
    except BadListenAddress as error:
        raise BadValue(f"{text!r} is not where an LMTP server can be", hint) from error
    if address is None or not address.host or not address.port:
        raise BadValue(f"{text!r} is not where an LMTP server can be", hint)
    return str(address)


def _command(value: str, config_dir: Path) -> str:
    if not value.strip():
        raise BadValue("the command is empty")
    return str(config_dir / value) if "/" in value else value


def _postmaster(value: str, _config_dir: Path) -> str:
    if not value:
        return value
    try:
        address = parse_address(value)
    except InvalidAddress as error:
        raise BadValue(f"{value!r} is not an address: {error}") from error
    if not address.local or not address.domain:
        raise BadValue(f"{value!r} is not an address", "for example admin@example.org")
    return value


def _characters(value: str, _config_dir: Path) -> str:
    if "@" in value:
        raise BadValue("@ cannot be one of the characters", "a local part has none")
    return value


def _directory(value: Path, config_dir: Path) -> Path:
    return config_dir / value


def _file_or_word(*words: str) -> Callable[[str, Path], str]:
    def rule(value: str, config_dir: Path) -> str:
        if not value:
            raise BadValue("the file name is empty", f"a path, or one of {', '.join(words)}")
        return value if value in words else str(config_dir / value)

    return rule


def _optional_file(value: str, config_dir: Path) -> str:
    return str(config_dir / value) if value else value


_RULES: Mapping[str, Callable[[Any, Path], Any]] = {
    "hostname": _hostname,
    "data_dir": _directory,
    "postmaster": _postmaster,
    **dict.fromkeys(_LISTS, _listen),
    "listen.monitoring": _monitoring,
    "addresses.suffix_separators": _characters,
    "addresses.drop_characters": _characters,
    "auth.mechanisms": _mechanisms,
    "auth.dovecot_userdb_path": _optional_file,
    "auth.dovecot_client_path": _optional_file,
    "relay.networks": _relay_networks,
    "submission.allow_senders": submission_rules.allowed_senders,
    "dns.servers": _name_servers,
    "dns.trust_anchor": _optional_file,
    "proxy.trusted": _networks,
    "xclient.trusted": _xclient_networks,
    "spf.skip_networks": _networks,
    "arc.trusted": outbound_rules.domain_names,
    "dmarc.public_suffix_list": _optional_file,
    "dmarc.report_contact": _postmaster,
    "penalties.exempt": _networks,
    "outbound.allow_addresses": _networks,
    "outbound.helo_name": _hostname,
    "outbound.smarthost": outbound_rules.servers,
    "outbound.smarthost_credentials": _optional_file,
    "outbound.source_addresses": outbound_rules.source_addresses,
    "outbound_tls.verify": outbound_rules.domain_names,
    "outbound_tls.relax": outbound_rules.domain_names,
    "outbound_tls.ca_file": _optional_file,
    "outbound_tls.report_contact": _postmaster,
    "queue.retry": outbound_rules.retry_steps,
    "delivery.local": _local,
    "delivery.mda_command": _command,
    "monitoring.token_file": _optional_file,
    "log.file": _file_or_word("stderr"),
    "mail_log.path": _file_or_word("syslog", "stdout", "stderr", "off"),
}


@dataclass(frozen=True, slots=True)
class Places:
    """Where the settings of a configuration stand, for problems of several keys together."""

    settings: Mapping[str, Setting]
    fallback: str

    def problem(
        self, name: str, text: str, hint: str = "", severity: Severity = Severity.ERROR
    ) -> Problem:
        """A problem of key `name`, named where it is set, or at `fallback` if it is a default."""
        if setting := self.settings.get(name):
            return setting.problem(text, hint, severity)
        return Problem(self.fallback, 0, name, text, hint, severity)


def cross_check(config: Config, places: Places, broken: frozenset[str]) -> list[Problem]:
    """Problems and warnings of the whole; keys in `broken` have been complained about already."""
    return [
        problem
        for names, rule in _CROSS_RULES
        if broken.isdisjoint(names)
        for problem in rule(config, places)
    ]


def _addresses_differ(config: Config, places: Places) -> Iterator[Problem]:
    taken: dict[int, list[tuple[str, ListenAddress]]] = {}
    lists = {name: getattr(config.listen, name.partition(".")[2]) for name in _LISTS}
    if config.listen.monitoring:
        lists["listen.monitoring"] = (config.listen.monitoring,)
    for name, texts in lists.items():
        if texts.count("systemd") > 1:
            yield places.problem(name, "systemd stands more than once", "once takes all sockets")
        for address in filter(None, map(parse_listen_address, texts)):
            others = taken.setdefault(address.port, []) if address.port else []
            for other_name, other in others:
                if address.host == other.host:
                    yield places.problem(name, f"{address} is already taken by {other_name}")
                elif not address.host or not other.host:
                    text = f"{address} and {other} of {other_name} exclude each other"
                    yield places.problem(name, text, "an address without host takes every one")
            others.append((name, address))


def _something_listens(config: Config, places: Places) -> Iterator[Problem]:
    if not (config.listen.smtp or config.listen.submission or config.listen.submission_tls):
        yield places.problem("listen.smtp", "there is no address to listen on", "give one")


def _proxies_are_named(config: Config, places: Places) -> Iterator[Problem]:
    if not config.listen.haproxy:
        return
    if not config.proxy.trusted:
        yield places.problem(
            "listen.haproxy",
            "no proxy is trusted, so every connection would be closed",
            'name the proxies, for example proxy.trusted = ["127.0.0.1"]',
        )
    elif any(network.endswith("/0") for network in config.proxy.trusted):
        yield places.problem(
            "proxy.trusted" if "proxy.trusted" in places.settings else "listen.haproxy",
            "a PROXY header is taken from anybody, so anybody can claim any address",
            'name the proxies, for example proxy.trusted = ["127.0.0.1"] in relevo.toml',
            Severity.WARNING,
        )


def _scram_knows_no_dovecot(config: Config, places: Places) -> Iterator[Problem]:
    scram = [name for name in config.auth.mechanisms if name.startswith("SCRAM-")]
    if config.auth.dovecot and scram:
        yield places.problem(
            "auth.mechanisms",
            f"{scram[0]} works for users of the users files only, and clients prefer it",
            "with auth.dovecot, offer PLAIN and LOGIN alone",
            Severity.WARNING,
        )


def _monitoring_is_guarded(config: Config, places: Places) -> Iterator[Problem]:
    address = parse_listen_address(config.listen.monitoring) if config.listen.monitoring else None
    if address and not _is_loopback(address.host) and not config.monitoring.token_file:
        yield places.problem(
            "listen.monitoring",
            f"{address} can be reached from other machines, and there is no token",
            f"write 127.0.0.1:{address.port}, or set monitoring.token_file in relevo.toml",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _maildirs_differ(config: Config, places: Places) -> Iterator[Problem]:
    if not config.delivery.local.startswith(_MAILDIR) or "{domain}" in config.delivery.local:
        return
    domains, _ = find_domains(config.config_dir)
    if len(domains) > 1:
        yield places.problem(
            "delivery.local",
            f"the maildir pattern lacks {{domain}}, and there are {len(domains)} domains",
            "else users of the same name in different domains share one mailbox",
        )


def _name_is_full(config: Config, places: Places) -> Iterator[Problem]:
    if "." not in config.hostname:
        yield places.problem(
            "hostname",
            f"{config.hostname!r} is not fully qualified; other servers may refuse our mail",
            'set for example hostname = "mx.example.org"',
            Severity.WARNING,
        )


def _suffix_list_is_there(config: Config, places: Places) -> Iterator[Problem]:
    if config.dmarc.organizational_domain != "public_suffix":
        return
    path = Path(config.dmarc.public_suffix_list)
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        yield places.problem(
            "dmarc.public_suffix_list",
            f"{path} cannot be read ({error.strerror}), and dmarc.organizational_domain needs it",
            'install the package publicsuffix, or set organizational_domain = "tree_walk"',
        )


_CROSS_RULES: tuple[
    tuple[frozenset[str], Callable[[Config, Places], Iterator[Problem]]],
    ...,
] = (
    (frozenset((*_LISTS, "listen.monitoring")), _addresses_differ),
    (frozenset(_LISTS), _something_listens),
    (frozenset({"listen.haproxy", "proxy.trusted"}), _proxies_are_named),
    (frozenset({"auth.dovecot", "auth.mechanisms"}), _scram_knows_no_dovecot),
    (frozenset({"listen.monitoring", "monitoring.token_file"}), _monitoring_is_guarded),
    (frozenset({"delivery.local"}), _maildirs_differ),
    (frozenset({"hostname"}), _name_is_full),
    (frozenset({"dmarc.public_suffix_list"}), _suffix_list_is_there),
)
