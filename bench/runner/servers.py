"""The servers under test: throwaway instances on loopback ports below one folder.

Every server accepts mail for user@bench.test and either discards it after its normal way through
the queue, delivers it to a Maildir on the same file system, or (`relay`) sends it on to smtp-sink
(`sink`, which runs beside all of them and is the mail exchanger of another domain). `config` is
what is printed beside the results; `syncs` says whether a 250 is on stable storage.
"""

import os
import shutil
import subprocess
import sys
import time

from runner import network, processes, services, verification

VENV_BIN = os.path.dirname(sys.executable)
HOOKS = {"hook-sh": "#!/bin/sh\nexit 0\n", "hook-c": "int main(void) { return 0; }\n"}
MAILDIR_SCRIPT = """#!/bin/sh
f=$(date +%s%N).$$
cat > "$1/tmp/$f" && mv "$1/tmp/$f" "$1/new/$f"
"""


class Server:
    """A running server."""

    def __init__(self, name, pid, port, *, stop, delivered, maildir, config, syncs):
        self.name, self.pid, self.port = name, pid, port
        self.stop = stop
        self.delivered = delivered  # () -> messages delivered since the start
        self.maildir = maildir
        self.config = config
        self.syncs = syncs
        self.beside = ()  # processes of its own that are not its children

    def cpu_seconds(self):
        """Of all that belongs to it."""
        pids = (self.pid, *(process.pid for process in self.beside))
        return sum(processes.cpu_seconds(pid) for pid in pids)


def make_certificate(folder):
    os.makedirs(folder, exist_ok=True)
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/CN=mx.bench.test",
            "-addext",
            "subjectAltName=DNS:mx.bench.test",
            "-keyout",
            f"{folder}/privkey.pem",
            "-out",
            f"{folder}/fullchain.pem",
        ],
        check=True,
        stderr=subprocess.DEVNULL,
    )


def fresh(folder, *subfolders):
    shutil.rmtree(folder, ignore_errors=True)
    for sub in ("", *subfolders):
        os.makedirs(f"{folder}/{sub}", exist_ok=True)


def count_lines(path, mark):
    """Lines of a log that hold the mark; counts on from where it was."""
    state = {"offset": 0, "found": 0}

    def count():
        with open(path, "rb") as log:
            log.seek(state["offset"])
            data = log.read()
        data = data[: data.rfind(b"\n") + 1]
        state["offset"] += len(data)
        state["found"] += data.count(mark)
        return state["found"]

    return count


CANNOT = {
    "hook-sh": {"postfix"},
    "hook-c": {"postfix"},
    "hook-worker": {"postfix", "chasquid"},
    "hook-python": {"postfix", "chasquid"},
    "hook-http": {"postfix", "chasquid"},
    "hook-milter": {"chasquid"},
}
"""Which servers have no part in a case."""


def sink(base):
    """Postfix's smtp-sink, for everybody's relayed mail; what ends it."""
    process = processes.spawn(
        ["smtp-sink", "-u", "nobody", f"{network.SINK}:25", "1000"], f"{base}/sink.out"
    )
    processes.wait_port(25, host=network.SINK)
    return lambda: processes.end(process)


def install_hook(what, conf):
    """hooks/post-data that accepts: a shell script, or a program in C."""
    if what not in HOOKS:
        return
    path = f"{conf}/hooks/post-data"
    os.makedirs(f"{conf}/hooks", exist_ok=True)
    if what == "hook-c":
        subprocess.run(
            ["cc", "-O2", "-static", "-x", "c", "-o", path, "-"],
            input=HOOKS[what],
            text=True,
            check=True,
        )
    else:
        with open(path, "w") as file:
            file.write(HOOKS[what])
    os.chmod(path, 0o755)


def forward_elsewhere(what, folder):
    """The user's mail is relayed: an alias, as relevo and chasquid read it."""
    if what == "relay":
        with open(f"{folder}/conf/domains/bench.test/aliases", "w") as file:
            file.write(f"user: user@{network.DOMAIN}\n")


def add_user(conf):
    """user@bench.test, as relevo's own command adds one."""
    subprocess.run(
        [
            f"{VENV_BIN}/relevo",
            "user",
            "add",
            "--config-dir",
            str(conf),
            "--password-stdin",
            "user@bench.test",
        ],
        input=b"secret\n",
        check=True,
        stdout=subprocess.DEVNULL,
    )


def relevo(base, what, port=9425, *, settings="", prepare=None):
    """relevo with its defaults: history, mail log, trace fields and checks on.

    `settings`: more of relevo.toml, whole tables of it. `prepare`: called with the data directory
    before the server starts.
    """
    maildir = what == "maildir"
    folder = f"{base}/relevo"
    fresh(folder, "conf/domains/bench.test", "data", "mail")
    make_certificate(f"{folder}/conf/certs/mx.bench.test")
    local = f"maildir:{folder}/mail/{{domain}}/{{user}}" if maildir else "discard"
    with open(f"{folder}/conf/relevo.toml", "w") as file:
        file.write(
            f'hostname = "mx.bench.test"\ndata_dir = "{folder}/data"\n'
            f'[listen]\nsmtp = ["127.0.0.1:{port}"]\nsubmission = []\nsubmission_tls = []\n'
            f'[delivery]\nlocal = "{local}"\n[mail_log]\npath = "{folder}/mail.log"\n'
            f'[log]\nfile = "{folder}/log"\n{settings}'
        )
        if what == "relay":
            file.write(
                '[dns]\nservers = ["127.0.0.1:53"]\n[outbound]\nallow_addresses = ["127.0.0.0/8"]\n'
            )
        if what == verification.CASE:
            file.write(verification.SETTINGS)
    forward_elsewhere(what, folder)
    install_hook(what, f"{folder}/conf")
    with open(f"{folder}/conf/relevo.toml", "a") as file:
        file.write(services.declare(what, f"{folder}/conf"))
    add_user(f"{folder}/conf")
    if prepare is not None:
        prepare(f"{folder}/data")
    described = "alias, MX" if what == "relay" else f"delivery {local.partition(':')[0]}"
    return start_relevo(folder, port, f"defaults, {os.cpu_count()} workers, {described}")


def start_relevo(folder, port, config):
    """What was made in the folder, until it greets."""
    began = time.time()
    process = processes.spawn(
        [f"{VENV_BIN}/relevo", "serve", "--config-dir", f"{folder}/conf"], f"{folder}/out"
    )
    processes.wait_port(port)
    server = Server(
        "relevo",
        process.pid,
        port,
        stop=lambda: processes.end(process),
        delivered=count_lines(f"{folder}/mail.log", b" sent\n"),
        maildir=f"{folder}/mail/bench.test/user",
        syncs="yes",
        config=config,
    )
    server.started = began
    server.again = lambda: start_relevo(folder, port, config)
    return server


def chasquid(base, what, port=9125):
    maildir = what == "maildir"
    folder = f"{base}/chasquid"
    fresh(folder, "conf/domains/bench.test", "conf/hooks", "data", "md/new", "md/tmp", "md/cur")
    make_certificate(f"{folder}/conf/certs/mx.bench.test")
    command = "/bin/true"
    if maildir:
        command = f"{folder}/mda"
        with open(command, "w") as file:
            file.write(MAILDIR_SCRIPT)
        os.chmod(command, 0o755)
    with open(f"{folder}/conf/chasquid.conf", "w") as file:
        file.write(
            f'hostname: "mx.bench.test"\nsmtp_address: "127.0.0.1:{port}"\n'
            f'submission_address: "127.0.0.1:{port + 1}"\n'
            f'data_dir: "{folder}/data"\nmail_log_path: "{folder}/mail.log"\n'
            f'mail_delivery_agent_bin: "{command}"\n'
            f'mail_delivery_agent_args: "{folder}/md"\n'
        )
    forward_elsewhere(what, folder)
    install_hook(what, f"{folder}/conf")
    subprocess.run(
        ["chasquid-util", f"-C={folder}/conf", "user-add", "user@bench.test", "--password=secret"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    process = processes.spawn(
        ["chasquid", f"-config_dir={folder}/conf", f"-logfile={folder}/log"], f"{folder}/out"
    )
    processes.wait_port(port)
    version = subprocess.run(
        ["chasquid", "-version"], capture_output=True, text=True
    ).stdout.split()
    return Server(
        "chasquid",
        process.pid,
        port,
        stop=lambda: processes.end(process),
        delivered=count_lines(f"{folder}/mail.log", b" sent\n"),
        maildir=f"{folder}/md",
        syncs="no (1.11 writes without fsync)",
        config=f"{' '.join(version[:2])}, "
        + {"maildir": "MDA sh script to Maildir, no sync", "relay": "alias, MX"}.get(
            what, "MDA /bin/true"
        ),
    )


def postfix(base, what, port=9225):
    maildir = what == "maildir"
    folder = f"{base}/postfix"
    fresh(folder, "etc", "spool", "data", "mail")
    os.chmod(base, 0o755)
    shutil.chown(f"{folder}/data", "postfix")
    shutil.chown(f"{folder}/mail", "nobody")
    os.chmod(f"{folder}/mail", 0o700)
    make_certificate(f"{folder}/etc/cert")
    beside, milters = verification.milters(base) if what == verification.CASE else ((), "")
    with open(f"{folder}/etc/main.cf", "w") as file:
        file.write(f"""compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
myhostname = mx.bench.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
{"relay_domains" if what == "relay" else "virtual_mailbox_domains"} = bench.test
relay_transport = smtp:{network.DOMAIN}
relay_recipient_maps =
virtual_mailbox_maps = inline:{{{{user@bench.test=bench.test/user/}}}}
virtual_mailbox_base = {folder}/mail
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_transport = {"virtual" if maildir else "discard:"}
alias_maps =
maillog_file = {folder}/mail.log
maillog_file_prefixes = {base}
default_process_limit = 210
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
message_size_limit = 104857600
mailbox_size_limit = 0
virtual_mailbox_limit = 0
smtpd_tls_chain_files = {folder}/etc/cert/privkey.pem, {folder}/etc/cert/fullchain.pem
smtpd_tls_security_level = may
in_flow_delay = 0
{f"smtpd_milters = inet:127.0.0.1:{services.PORTS[what]}" if what == "hook-milter" else ""}
{milters}""")
    with open("/etc/postfix/master.cf") as file:
        lines = [line for line in file if line.split()[:2] != ["smtp", "inet"]]
    with open(f"{folder}/etc/master.cf", "w") as file:
        file.write(f"127.0.0.1:{port} inet n - n - - smtpd\n")
        for line in lines:
            words = line.split()
            if not line.startswith((" ", "#")) and len(words) >= 8:
                words[4] = "n"  # no chroot
                line = " ".join(words) + "\n"
            file.write(line)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(["postfix", "-c", f"{folder}/etc", "start"], check=True, **quiet)
    processes.wait_port(port)
    with open(f"{folder}/spool/pid/master.pid") as file:
        pid = int(file.read())
    version = subprocess.run(["postconf", "-h", "mail_version"], capture_output=True, text=True)

    def stop():
        subprocess.run(["postfix", "-c", f"{folder}/etc", "stop"], **quiet)
        for process in beside:
            processes.end(process)

    server = Server(
        "postfix",
        pid,
        port,
        stop=stop,
        delivered=count_lines(f"{folder}/mail.log", b"status=sent"),
        maildir=f"{folder}/mail/bench.test/user",
        syncs="yes",
        config=f"Postfix {version.stdout.strip()}, process limit 210, "
        + {
            "maildir": "virtual(8) to Maildir",
            "relay": "smtp(8), MX",
            verification.CASE: "discard(8), OpenDKIM, OpenDMARC",
        }.get(what, "discard(8)"),
    )
    server.beside = beside
    return server


ALL = {"relevo": relevo, "chasquid": chasquid, "postfix": postfix}
PROGRAMS = {"relevo": f"{VENV_BIN}/relevo", "chasquid": "chasquid", "postfix": "postfix"}
