"""Configuration: one immutable `Config`, two loaders, problems with file, line and key.

`load` reads `relevo.toml` and `chasquid.conf`; `find_certificates` and `find_domains` tell what
else stands in a config directory. The parser of the text format is `relevo.config.textproto`.
"""

from relevo.config.layout import (
    CertificateFolder,
    DkimKeyFile,
    DomainFolder,
    find_certificates,
    find_domains,
    hooks_dir,
)
from relevo.config.listen_address import ListenAddress, parse_listen_address
from relevo.config.load import load
from relevo.config.local_check import check_local
from relevo.config.model import Config
from relevo.config.problems import ConfigErrors, Problem, Severity
from relevo.config.render import render_json, render_toml

__all__ = [
    "CertificateFolder",
    "Config",
    "ConfigErrors",
    "DkimKeyFile",
    "DomainFolder",
    "ListenAddress",
    "Problem",
    "Severity",
    "check_local",
    "find_certificates",
    "find_domains",
    "hooks_dir",
    "load",
    "parse_listen_address",
    "render_json",
    "render_toml",
]
