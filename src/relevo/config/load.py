"""From a config directory to one `Config`, or to everything that is wrong with it.

Sources, later over earlier: defaults of the profile, `chasquid.conf`, `relevo.toml`, `--set`
options. The profile is "chasquid" where a `chasquid.conf` exists, unless set. Only these files
are judged here; certificates, keys and domains are the business of `check_local`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from relevo.config.chasquid_conf import RELEVO_NAMES, read_chasquid_conf
from relevo.config.convert import BadValue
from relevo.config.layout import CHASQUID_CONF, RELEVO_TOML
from relevo.config.model import Config
from relevo.config.problems import ConfigErrors, Problem, Severity
from relevo.config.profiles import Profile, profile_defaults, system_hostname
from relevo.config.relevo_toml import read_overrides, read_relevo_toml
from relevo.config.rules import Places, cross_check, refine
from relevo.config.schema import KEYS, build
from relevo.config.settings import OVERRIDES, Reading, Setting

MAX_FILE_SIZE = 1024 * 1024
"""Largest configuration file read, octets."""


def load(
    config_dir: Path,
    overrides: Sequence[str] = (),
    *,
    hostname: Callable[[Profile], str] = system_hostname,
) -> Config:
    """The configuration of `config_dir`, with `KEY=VALUE` texts on top.

    `hostname` is asked when no source names one. Raises ConfigErrors with every problem found.
    """
    config_dir = config_dir.absolute()
    readings = _read_files(config_dir)
    files = tuple(reading.file for reading in readings)
    readings.append(read_overrides(overrides))
    problems = [problem for reading in readings for problem in reading.problems]
    broken = {RELEVO_NAMES.get(problem.key, problem.key) for problem in problems}
    merged = {setting.key.name: setting for reading in readings for setting in reading.settings}

    profile = _profile(merged, is_chasquid=str(config_dir / CHASQUID_CONF) in files)
    values = profile_defaults(profile)
    origins = _default_origins(values)
    for name, setting in merged.items():
        try:
            values[name] = refine(name, setting.value, config_dir)
            origins[name] = setting.origin
        except BadValue as error:
            problems.append(setting.problem(error.text, error.hint))
            broken.add(name)
    if not values["hostname"]:
        values["hostname"] = hostname(profile)
        origins["hostname"] = "system"

    hooks = tuple(hook.placed(config_dir) for reading in readings for hook in reading.hooks)
    routes = tuple(
        replace(route, credentials=str(config_dir / route.credentials))
        if route.credentials
        else route
        for reading in readings
        for route in reading.routes
    )
    relay = tuple(
        replace(domain, recipients=str(config_dir / domain.recipients))
        if domain.recipients
        else domain
        for reading in readings
        for domain in reading.relay_domains
    )
    about = {"config_dir": config_dir, "source": files, "origins": MappingProxyType(origins)}
    config = build(values, hook=hooks, route=routes, relay_domain=relay, **about)
    problems += cross_check(config, Places(merged, files[0]), frozenset(broken))
    problems.sort(key=lambda problem: ((*files, OVERRIDES).index(problem.file), problem.line))
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    if errors:
        raise ConfigErrors(errors)
    return replace(config, warnings=tuple(problems))


def _read_files(config_dir: Path) -> list[Reading]:
    """What the files say, at least one; raises ConfigErrors when there is nothing to read."""
    if not config_dir.is_dir():
        text = "there is no such config directory"
        hint = "-C, or RELEVO_CONFIG_DIR, names another"
        raise ConfigErrors([Problem(str(config_dir), 0, "", text, hint)])
    chasquid, relevo = config_dir / CHASQUID_CONF, config_dir / RELEVO_TOML
    readings = [
        _read_file(chasquid, lambda data: read_chasquid_conf(data, str(chasquid), config_dir)),
        _read_file(relevo, lambda data: read_relevo_toml(data, str(relevo))),
    ]
    found = [reading for reading in readings if reading is not None]
    if not found:
        text = f"the config directory has neither {RELEVO_TOML} nor {CHASQUID_CONF}"
        hint = f"create {relevo}; it may be empty, every key has a default"
        raise ConfigErrors([Problem(str(config_dir), 0, "", text, hint)])
    return found


def _read_file(path: Path, read: Callable[[bytes], Reading]) -> Reading | None:
    """What the file says; None: there is none."""
    failed = Reading(str(path))
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_SIZE + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        failed.problem(0, "", f"the file cannot be read: {error.strerror}")
        return failed
    if len(data) > MAX_FILE_SIZE:
        failed.problem(0, "", f"the file is larger than {MAX_FILE_SIZE} octets")
        return failed
    return read(data)


def _profile(merged: Mapping[str, Setting], *, is_chasquid: bool) -> Profile:
    if "profile" in merged:
        return Profile(merged["profile"].value)
    return Profile.CHASQUID if is_chasquid else Profile.RELEVO


def _default_origins(values: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: "default" if value == KEYS[name].default else f"profile {values['profile']}"
        for name, value in values.items()
    }
