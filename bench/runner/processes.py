"""Start and stop servers, and read what they cost."""

import contextlib
import os
import socket
import subprocess
import time

TICK = os.sysconf("SC_CLK_TCK")


def wait_port(port, seconds=15, host="127.0.0.1"):
    """Return once an SMTP greeting comes from the port."""
    end = time.time() + seconds
    while time.time() < end:
        try:
            with socket.create_connection((host, port), 1) as connection:
                if connection.recv(4).startswith(b"220"):
                    connection.sendall(b"QUIT\r\n")
                    connection.recv(100)
                    return
        except OSError:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"nothing answers on port {port}")


def free_port():
    """A port that nothing listens on now, so that another run on the machine is not met."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tree(pid):
    """The process and all its descendants."""
    children = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{entry}/stat") as file:
            parent = int(file.read().rsplit(")", 1)[1].split()[1])
            children.setdefault(parent, []).append(int(entry))
    found = [pid]
    for process in found:
        found += children.get(process, [])
    return found


def cpu_seconds(pid):
    """User and system time of the tree, reaped children included."""
    total = 0
    for process in tree(pid):
        with contextlib.suppress(OSError), open(f"/proc/{process}/stat") as file:
            total += sum(map(int, file.read().rsplit(")", 1)[1].split()[11:15]))
    return total / TICK


def own_ticks(pid):
    """(user, system) of a process itself, in ticks."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as file:
        user, system = file.read().rsplit(")", 1)[1].split()[11:13]
        return int(user), int(system)
    return 0, 0


def memory_kib(pid):
    """(RSS, PSS) in KiB over the tree."""
    rss = pss = 0
    for process in tree(pid):
        with contextlib.suppress(OSError), open(f"/proc/{process}/smaps_rollup") as file:
            for line in file:
                if line.startswith("Rss:"):
                    rss += int(line.split()[1])
                elif line.startswith("Pss:"):
                    pss += int(line.split()[1])
    return rss, pss


def descriptors(pid):
    """Open descriptors over the tree."""
    total = 0
    for process in tree(pid):
        with contextlib.suppress(OSError):
            total += len(os.listdir(f"/proc/{process}/fd"))
    return total


def settle(pid, seconds=60):
    """Wait until the server uses no CPU: its queue is empty."""
    end, last = time.time() + seconds, cpu_seconds(pid)
    while time.time() < end:
        time.sleep(0.3)
        now = cpu_seconds(pid)
        if now - last <= 0.02:
            return
        last = now


def spawn(args, log, **options):
    with open(log, "ab") as out:
        return subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=out, stderr=out, **options)


def end(process):
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
