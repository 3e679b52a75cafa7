"""Run the same load over every server, interleaved, and print a table of ratios.

usage: make bench ARGS="[--reps 5] [--servers relevo,chasquid,postfix] [--folder DIR] [CASE ...]"

CASE is WHAT:SIZE:SESSIONS:PER_CONNECTION:MESSAGES with WHAT `accept` (discarded after the queue),
`maildir` (until the last message is in the Maildir), `relay` (until smtp-sink has answered the
last message; in a network of the run's own, see `network`), `verify` (as accept, in such a network,
with mail whose SPF, DKIM and DMARC pass, see `verification`), `hook-sh` or `hook-c` (as accept, with a
post-data hook that only exits 0; not on Postfix), `hook-worker`, `hook-python` or `hook-http` (one
that accepts; on relevo), `hook-milter` (a milter that accepts, on relevo and Postfix), for example accept:1024:50:100:10000.
Without cases the standard set runs. A run counts only when accepted = delivered (and for Maildir:
every message has at least its octets); else it is shown as void.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from runner import network, processes, servers, services, verification

STANDARD = (
    "accept:1024:50:100:10000",
    "accept:1024:50:1:5000",
    "accept:10240:50:100:6000",
    "accept:102400:50:100:2000",
    "maildir:1024:20:50:5000",
    "relay:1024:20:50:5000",
    "relay:10240:20:50:3000",
    "relay:102400:20:50:1000",
)
WARM_UP = 500  # messages
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def build(folder):
    load = f"{folder}/smtpload"
    subprocess.run(["cc", "-O2", "-o", load, f"{HERE}/smtpload.c"], check=True)
    return load


def maildir_octets(maildir):
    """(files, octets, smallest) in the Maildir's new."""
    sizes = (
        [entry.stat().st_size for entry in os.scandir(f"{maildir}/new")]
        if os.path.isdir(f"{maildir}/new")
        else []
    )
    return len(sizes), sum(sizes), min(sizes, default=0)


def empty(maildir):
    for sub in ("new", "tmp"):
        path = f"{maildir}/{sub}"
        if os.path.isdir(path):
            for entry in os.scandir(path):
                os.unlink(entry.path)


def measure(load, server, case):
    """One run of one case on one server."""
    what, size, sessions, per, messages = case.split(":")
    processes.settle(server.pid)
    is_maildir = what == "maildir"
    if is_maildir:
        empty(server.maildir)
    words = [load, "-p", str(server.port), "-s", size, "-c", sessions, "-k", per, "-n", messages]
    if what == verification.CASE:
        file = verification.message(os.path.dirname(load), int(size))
        words += ["-f", verification.SENDER, "-m", file]
    before, cpu = server.delivered(), server.cpu_seconds()
    start = time.time()
    generator = subprocess.run(
        words,
        capture_output=True,
        text=True,
    )
    result = json.loads(generator.stdout)
    last, seen = time.time(), -1
    while time.time() - last < 20:
        count = server.delivered() - before
        if count != seen:
            seen, last = count, time.time()
        if seen >= result["ok"]:
            break
        time.sleep(0.005)
    wall = last - start
    processes.settle(server.pid)
    result["cpu_ms"] = round((server.cpu_seconds() - cpu) / max(1, result["ok"]) * 1e3, 3)
    result["delivered"] = seen
    result["void"] = seen != result["ok"] or result["failed"] > 0
    if is_maildir:
        files, _, smallest = maildir_octets(server.maildir)
        result["void"] |= files != result["ok"] or smallest < int(size)
    if what in {"maildir", "relay"}:
        result["accept_rate"], result["rate"] = result["rate"], round(seen / wall, 1)
    return result


def table(cases, results, names):
    """Markdown: one row a case, medians, ratios of relevo to each peer."""
    peers = [name for name in names if name != "relevo"]
    print(
        "| case | "
        + " | ".join(f"{name}: msg/s, p50/p99 ms, CPU ms" for name in names)
        + " | "
        + " | ".join(f"relevo ÷ {peer}" for peer in peers)
        + " |"
    )
    print("|---" * (1 + len(names) + len(peers)) + "|")
    for case in cases:
        cells, rates = [], {}
        for name in names:
            if (case, name) not in results:
                cells.append("–")
                continue
            good = [r for r in results[case, name] if not r["void"]]
            if not good:
                cells.append("void")
                continue
            median = {
                key: statistics.median(r[key] for r in good)
                for key in ("rate", "p50_ms", "p99_ms", "cpu_ms")
            }
            rates[name] = median["rate"]
            voids = len(results[case, name]) - len(good)
            cells.append(
                f"{median['rate']:.0f}, {median['p50_ms']:.1f}/{median['p99_ms']:.1f}, "
                f"{median['cpu_ms']:.2f}" + (f" ({voids} void)" if voids else "")
            )
        ratios = [
            f"{rates['relevo'] / rates[peer]:.1f}×" if {"relevo", peer} <= rates.keys() else "–"
            for peer in peers
        ]
        print(f"| {case} | " + " | ".join(cells + ratios) + " |")


def main():
    parser = argparse.ArgumentParser(
        prog="bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--servers", default="relevo,chasquid,postfix")
    parser.add_argument(
        "--folder", default="", help="where servers keep their files (default: a temporary folder)"
    )
    parser.add_argument("--out", default="", help="append every run as a JSON line to this file")
    parser.add_argument("cases", nargs="*", default=list(STANDARD), metavar="CASE")
    args = parser.parse_args()
    if (
        any(case.startswith(("relay:", "verify:")) for case in args.cases)
        and not network.is_inside()
    ):
        sys.exit(network.run_inside())
    names = []
    for name in args.servers.split(","):
        if shutil.which(servers.PROGRAMS[name]):
            names.append(name)
        else:
            print(f"{name} is not installed: left out", file=sys.stderr)
    if os.geteuid() != 0 and "postfix" in names:
        names.remove("postfix")
        print("postfix needs root: left out", file=sys.stderr)
    folder = args.folder or tempfile.mkdtemp(prefix="bench-")
    os.chmod(folder, 0o755)
    load = build(folder)
    results, described = {}, {}
    for what in dict.fromkeys(case.split(":")[0] for case in args.cases):
        running = []
        end_sink = servers.sink(folder) if what == "relay" else services.start(what, folder)
        try:
            for name in names:
                if name in servers.CANNOT.get(what, ()):
                    continue
                running.append(servers.ALL[name](folder, what))
                if what in services.CASES:  # its processes are started by the first messages
                    measure(load, running[-1], f"{what}:1024:50:100:{WARM_UP}")
            for case in [case for case in args.cases if case.startswith(what + ":")]:
                for repetition in range(args.reps):
                    for server in running:
                        result = measure(load, server, case)
                        results.setdefault((case, server.name), []).append(result)
                        line = json.dumps(
                            {"case": case, "server": server.name, "rep": repetition, **result}
                        )
                        print(line, file=sys.stderr, flush=True)
                        if args.out:
                            with open(args.out, "a") as out:
                                out.write(line + "\n")
            described |= {(server.name, what): (server.config, server.syncs) for server in running}
        finally:
            for server in running:
                server.stop()
            end_sink()
    table(args.cases, results, names)
    print("\n| server | case | configuration | 250 after sync |\n|---|---|---|---|")
    for (name, what), (config, syncs) in described.items():
        print(f"| {name} | {what} | {config} | {syncs} |")
    if not args.folder:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
