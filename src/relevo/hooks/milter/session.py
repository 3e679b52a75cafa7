"""What a filter is told of the session: commands with their data, and macros before them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from relevo.hooks.milter.agreement import Agreement, Place
from relevo.hooks.milter.packets import LETTERS, Command, packet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relevo.hooks.contract import PostDataContext

_USUAL: Final = {
    Place.CONNECT: ("j", "daemon_name", "v", "_", "client_addr", "client_port", "client_name"),
    Place.HELO: ("tls_version", "cipher"),
    Place.MAIL: ("i", "auth_type", "auth_authen", "mail_addr"),
    Place.RCPT: ("i", "rcpt_addr"),
    Place.DATA: ("i",),
    Place.END_OF_HEADER: ("i",),
    Place.END_OF_MESSAGE: ("i",),
}
"""What is told where the filter has not said what it wants."""

PLACES: Final = {
    Command.CONNECT: Place.CONNECT,
    Command.HELO: Place.HELO,
    Command.MAIL: Place.MAIL,
    Command.RCPT: Place.RCPT,
    Command.DATA: Place.DATA,
    Command.END_OF_HEADER: Place.END_OF_HEADER,
    Command.END_OF_MESSAGE: Place.END_OF_MESSAGE,
}


class SessionTold:
    """One message's session, as packets."""

    def __init__(self, context: PostDataContext, hostname: str, agreement: Agreement) -> None:
        self._context = context
        self._agreement = agreement
        client, tls = context.client, context.tls
        self._values = {
            "j": hostname,
            "daemon_name": "relevo",
            "v": "relevo",
            "_": f"[{client.ip}]",
            "client_addr": client.ip,
            "client_port": str(client.port),
            "client_name": f"[{client.ip}]",
            "client_connections": "1",
            "tls_version": tls.version if tls else "",
            "cipher": tls.cipher if tls else "",
            "i": context.message_id,
            "auth_type": "PLAIN" if context.auth else "",
            "auth_authen": context.auth,
            "mail_addr": context.reverse_path.removeprefix("<>"),
            "mail_mailer": "esmtp",
            "rcpt_mailer": "local",
        }

    def until_data(self, *, is_first: bool) -> Iterator[tuple[Command, bytes]]:
        """All before the message, with their macros; of the client only with its first one."""
        context = self._context
        if is_first:
            yield Command.CONNECT, self._with_macros(Command.CONNECT, self._connect())
            hello = _string(context.client.hello_name)
            yield Command.HELO, self._with_macros(Command.HELO, hello)
        sender = [f"<{context.reverse_path.removeprefix('<>')}>", f"SIZE={context.size}"]
        if context.is_smtputf8:
            sender.append("SMTPUTF8")
        yield Command.MAIL, self._with_macros(Command.MAIL, b"".join(map(_string, sender)))
        for path in context.forward_paths:
            self._values["rcpt_addr"] = path
            yield Command.RCPT, self._with_macros(Command.RCPT, _string(f"<{path}>"))
        yield Command.DATA, self._with_macros(Command.DATA, b"")

    def command(self, command: Command) -> bytes:
        """One without data, with its macros."""
        return self._with_macros(command, b"")

    def _connect(self) -> bytes:
        client = self._context.client
        family = b"6" if ":" in client.ip else b"4"
        port = client.port.to_bytes(2, "big")
        return _string(f"[{client.ip}]") + family + port + _string(client.ip)

    def _with_macros(self, command: Command, data: bytes) -> bytes:
        place = PLACES[command]
        wanted = self._agreement.macros.get(place, _USUAL[place])
        values = self._values
        told = [_label(name) + _string(values[name]) for name in wanted if values.get(name)]
        if not told:
            return packet(command, data)
        return packet(Command.MACROS, LETTERS[command] + b"".join(told)) + packet(command, data)


@lru_cache(maxsize=256)
def _label(name: str) -> bytes:
    """How a macro is written; the names are those of `SessionTold`."""
    return _string(name if len(name) == 1 else f"{{{name}}}")


def _string(text: str) -> bytes:
    return text.encode("utf-8", "replace").replace(b"\0", b"") + b"\0"
