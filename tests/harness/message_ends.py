"""What some server has taken for the end of a message, and is none: only CRLF . CRLF is."""

from __future__ import annotations

# they hold a bare CR or LF: refused
FALSE_ENDS = (
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\r.\n",
    b"\n.\r",
    b"\n\n.\n\n",
    b"\r\r\n.\r\r\n",
    b"\r\n.\r\r\n",
    b"\r\n\n.\r\n",
    b"\n\r.\n\r",
)
# these hold none: they are content
CONTENT_NOT_ENDS = (
    b"\r\n\x00.\r\n",
    b"\r\n.\x00\r\n",
    b"\r\n. \r\n",
    b"\r\n..\r\n",
    b"\r\n\x0b.\r\n",
    b"\xe2\x80\xa8.\xe2\x80\xa8",
    b"\xc2\x85.\xc2\x85",
)
