"""Run testssl.sh against every listener of a server just started here, and judge what it finds.

    make tls ARGS="[--testssl PROGRAM] [--json FOLDER]"

Exit status 1 when a finding is above LOW. The certificate is signed by an authority made for the
run, which testssl.sh is told to trust; that nobody else does, and that it has no way to be revoked,
are the two findings about the run and not about the server, so they are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from harness.authority import Authority  # noqa: E402 - found after the line above
from harness.config_dir import HOSTNAME, relevo_config  # noqa: E402
from harness.processes import Reaper  # noqa: E402
from harness.server import RelevoServer  # noqa: E402

LISTENERS = {"smtp": "smtp", "submission": "smtp", "submission_tls": ""}  # its STARTTLS, if any
HARMLESS = {"OK", "INFO", "LOW", "WARN", "DEBUG"}  # the last two: a check could not be made
OF_THE_RUN = {"cert_crlDistributionPoints", "cert_ocspURL", "cert_revocation"}
TIMEOUT_S = 900


def start(folder: Path, reaper: Reaper) -> tuple[RelevoServer, Path]:
    """A server with its defaults, and the authority that signed its certificate."""
    config = relevo_config(folder / "relevo", settings={"log.level": "warning"})
    authority = Authority()
    authority.issue(HOSTNAME, days=90).write(config.chain.parent)
    trusted = authority.as_certificate.write(folder / "authority")
    return RelevoServer(reaper, config).start(), trusted


def findings_at(
    program: str, address: tuple[str, int], starttls: str, trusted: Path, report: Path
) -> list[dict[str, str]]:
    """What testssl.sh says of one listener."""
    host, port = address
    command = [program, "--warnings", "off", "--color", "0", "--quiet", "--nodns", "none"]
    command += ["--add-ca", str(trusted), "--ip", host, "--jsonfile", str(report)]
    command += ["--starttls", starttls] if starttls else []
    environment = os.environ | {"TERM": "dumb"}
    subprocess.run(
        [*command, f"{HOSTNAME}:{port}"],
        check=False,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        timeout=TIMEOUT_S,
    )
    found: list[dict[str, str]] = json.loads(report.read_text())
    return found


def judge(name: str, found: list[dict[str, str]]) -> bool:
    """Print the summary of a listener; False: something is above LOW."""
    counts = Counter(finding["severity"] for finding in found)
    summary = ", ".join(f"{count} {severity}" for severity, count in counts.items())
    print(f"{name}: {summary}")
    is_well = len(found) > 50  # else testssl.sh has not come to its end
    for finding in found:
        severity, what = finding["severity"], finding["id"]
        if severity in {"OK", "INFO"}:
            continue
        is_excused = severity in HARMLESS or what in OF_THE_RUN
        is_well &= is_excused
        print(f"  {severity:8} {what}: {finding['finding']}")
    return is_well


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--testssl", default="testssl", help="the program (Debian: testssl.sh)")
    parser.add_argument("--json", type=Path, help="keep its reports in this folder")
    options = parser.parse_args()
    version = subprocess.run(
        [options.testssl, "--version"], check=False, capture_output=True, text=True
    ).stdout
    print(next((line.strip() for line in version.splitlines() if "testssl" in line), "testssl"))
    is_well = True
    with tempfile.TemporaryDirectory() as folder, Reaper() as reaper:
        server, trusted = start(Path(folder), reaper)
        reports = options.json or Path(folder)
        for name, starttls in LISTENERS.items():
            report = reports / f"{name}.json"
            report.unlink(missing_ok=True)
            address = getattr(server, name)
            is_well &= judge(name, findings_at(options.testssl, address, starttls, trusted, report))
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
