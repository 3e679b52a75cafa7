"""The ready-made hooks: what each is for, and what `relevo hook add` writes for it."""

from __future__ import annotations

from dataclasses import dataclass

from relevo.hooks.contract.stages import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyHook:
    """One of them. `settings`: lines of TOML, with `{data_dir}` for the server's data directory;
    what is commented out is a default or an example.
    """

    name: str
    summary: str
    stages: tuple[Stage, ...]  # the first is the usual one
    settings: str
    on_error: str
    timeout: str
    away: str  # what happens while its server is not there, by this `on_error`
    next_steps: tuple[str, ...]
    asks_server: bool = True  # so that a sandbox without network is none for it

    @property
    def module(self) -> str:
        """The target of its declaration."""
        return f"relevo.hook.ready.{self.name.replace('-', '_')}"

    def declaration(self, stage: Stage, data_dir: str) -> str:
        """The tables for relevo.toml."""
        quoted = data_dir.replace("\\", "\\\\").replace('"', '\\"')
        sandbox = 'sandbox = "false"                     # it needs the network'
        if not self.asks_server:
            sandbox = f'# writable = ["{quoted}"]    # where hooks are in a sandbox'
        return (
            f"# {self.summary}\n# {self.away}\n"
            f'[[hook]]\nname = "{self.name}"\nstage = "{stage.value}"\nform = "python"\n'
            f'target = "{self.module}"\ntimeout = "{self.timeout}"\non_error = "{self.on_error}"\n'
            f"{sandbox}\n"
            f"\n[hook.settings]\n{self.settings.strip().replace('{data_dir}', quoted)}\n"
        )


_LATER = "While it does not answer, senders are told to come again later."
_WITHOUT = "While it does not answer, mail is accepted without its judgement."

READY_HOOKS = (
    ReadyHook(
        name="rspamd",
        summary="rspamd judges each message, over HTTP",
        stages=(Stage.POST_DATA,),
        settings="""
url = "http://127.0.0.1:11333"
# password_file = "rspamd.password"   # where its worker asks for one
# reject = "quarantine"               # hold what it rejects; "tag": only mark it
# subject = "[spam] %s"
# users = false                       # leave mail of users who have logged in alone
# timeout = 10.0
""",
        on_error="accept",
        timeout="15s",
        away=_WITHOUT,
        next_steps=("let rspamd's normal worker listen at `url`",),
    ),
    ReadyHook(
        name="spamassassin",
        summary="SpamAssassin's spamd judges each message",
        stages=(Stage.POST_DATA,),
        settings="""
target = "127.0.0.1:783"              # or "unix:/run/spamd.sock"
reject_above = 10.0                   # points; 0.0: never
# quarantine_above = 7.0
# max_size = 524288                   # octets; larger messages are not shown
# user = "spamd"                      # whose preferences count
# users = true                        # also mail of users who have logged in
# timeout = 25.0
""",
        on_error="accept",
        timeout="30s",
        away=_WITHOUT,
        next_steps=("start spamd, and let it listen at `target`",),
    ),
    ReadyHook(
        name="clamav",
        summary="ClamAV's clamd looks for viruses in each message",
        stages=(Stage.POST_DATA,),
        settings="""
target = "unix:/run/clamav/clamd.ctl" # or "127.0.0.1:3310"
# found = "quarantine"                # hold it, instead of refusing it
# max_size = 26214400                 # octets; no more than StreamMaxLength of clamd.conf
# timeout = 25.0
""",
        on_error="tempfail",
        timeout="30s",
        away=_LATER,
        next_steps=(
            "start clamd, with signatures (freshclam)",
            "the server's user must reach its socket: add it to the group clamav",
        ),
    ),
    ReadyHook(
        name="greylist",
        summary="Who writes for the first time is asked to come again in a few minutes",
        stages=(Stage.RCPT,),
        settings="""
store = "{data_dir}/greylist.db"
delay = 300.0                         # seconds
# retry_within = 172800.0
# keep = 3024000.0                    # 35 days; who does not write in that time is new again
# known_after = 5                     # a network that came back so often is not asked again
# pass_networks = ["192.0.2.0/24"]
# pass_spf = true                     # let in at once who SPF says pass for
# ipv4_prefix = 24
# ipv6_prefix = 64
# max_entries = 500000
# text = "Greylisted, please come again in a few minutes"
""",
        on_error="accept",
        timeout="5s",
        away="While its store cannot be used, mail is accepted at once.",
        next_steps=("`run_as`, if you set it, must be able to write to the folder of `store`",),
        asks_server=False,
    ),
    ReadyHook(
        name="sql-aliases",
        summary="Aliases in an SQLite or PostgreSQL database",
        stages=(Stage.ALIAS_RESOLVE, Stage.ALIAS_EXISTS),
        settings="""
database = "sqlite:aliases.db"        # or "postgresql://relevo@127.0.0.1/mail"
query = "SELECT target FROM aliases WHERE address = :address"
# password_file = "database.password" # for PostgreSQL
# connections = 4
# timeout = 4.0
""",
        on_error="tempfail",
        timeout="5s",
        away="While the database does not answer, 451 is: no address is ever called unknown.",
        next_steps=(
            "the query may use :address, :user and :domain; its first column is a target",
            "for PostgreSQL: pip install 'relevo[postgres]'",
            "relevo alias resolve ADDRESS shows what comes of it",
        ),
    ),
    ReadyHook(
        name="ldap-aliases",
        summary="Aliases in a directory that speaks LDAP",
        stages=(Stage.ALIAS_RESOLVE, Stage.ALIAS_EXISTS),
        settings="""
server = "ldap://127.0.0.1:389"       # or "ldaps://…", "unix:/run/slapd/ldapi"
base = "dc=example,dc=org"
filter = "(mail={address})"           # {address}, {user} and {domain} are escaped
attribute = "mailForwardingAddress"   # each value is a target
# scope = "sub"                       # or "one", "base"
# name = "cn=relevo,dc=example,dc=org"
# password_file = "ldap.password"
# ca_file = "ldap-ca.pem"
# timeout = 4.0
""",
        on_error="tempfail",
        timeout="5s",
        away="While the directory does not answer, 451 is: no address is ever called unknown.",
        next_steps=(
            "set `base`, `filter` and `attribute` to those of your directory",
            "relevo alias resolve ADDRESS shows what comes of it",
        ),
    ),
    ReadyHook(
        name="webhook",
        summary="Posts each message, taken apart, as JSON to a URL",
        stages=(Stage.POST_DATA,),
        settings="""
url = "http://127.0.0.1:8080/mail"
# secret_file = "webhook.secret"      # signs the requests
# recipients = ["orders@example.org"] # only mail for these
# contents = false                    # attachments are named, not sent
# max_size = 10485760
# timeout = 10.0
""",
        on_error="tempfail",
        timeout="15s",
        away="While it does not answer with 2xx, senders are told to come again later.",
        next_steps=("set `url`; what is sent is shown in docs/how-to/ready-hooks.md",),
    ),
    ReadyHook(
        name="dns-lists",
        summary="Block and allow lists of DNS",
        stages=(Stage.RCPT, Stage.CONNECT, Stage.MAIL),
        settings="""
# servers = ["127.0.0.1"]             # of DNS; lists do not answer to large public ones
# timeout = 5.0

[[hook.settings.zones]]
zone = "bl.example.org"
# kind = "allow"                      # who is on it is let in whatever the others say
# of = "sender"                       # ask about the sender's domain; "hello": the EHLO name
# answers = ["127.0.0.2", "127.0.0.4/30"]   # that count; usually all of 127.0.0.0/8
# text = "You are on a list, see https://example.org/why"
""",
        on_error="accept",
        timeout="8s",
        away="While a list does not answer, it counts as one that knows nobody.",
        next_steps=(
            "set `zone` to a list that you may use; [[hook.settings.zones]] once for each",
        ),
    ),
)


def ready_hook(name: str) -> ReadyHook | None:
    """By its name."""
    return next((each for each in READY_HOOKS if each.name == name), None)
