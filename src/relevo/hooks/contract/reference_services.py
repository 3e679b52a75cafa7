"""Text of the hook reference about hooks that are services: http, milter, policy."""

SERVICES = """\
### The form `http`

With `form = "http"` the target is a URL, `http://HOST:PORT/PATH` or `https://…` (whose certificate
must be valid, by the system's authorities or those of `ca_file`). Each call is a POST at any stage:

- Up to 256 KiB of message: `Content-Type: application/json`, the body
  `{"context": {…}, "message_b64": "…"}`. `message_b64` is there at post-data only: the message with
  LF line ends.
- A larger message: `multipart/form-data` with the parts `context` (`application/json`) and
  `message` (`message/rfc822`).
- `Relevo-Timestamp`: seconds since 1970. With `secret_file`, `Relevo-Signature: sha256=HEX`: the
  HMAC-SHA256 with the secret over the timestamp, a full stop and the body. Whoever checks it should
  refuse a timestamp that is older than some minutes.

The answer is `200` with the verdict as JSON, or with nothing (accept), or `204`. Any other status
is a failure. Redirects are not followed. Connections are kept. A call is made again, within its
timeout, only while nothing of an answer has come: on a kept connection that was closed meanwhile,
and where connecting fails.

### The form `milter`

With `form = "milter"` the target is a mail filter of sendmail's protocol (version 2 to 6), at
`unix:/PATH` or `HOST:PORT`; the stage is post-data. When the message is complete the filter is told
the whole session: client, HELO, sender, recipients as accepted, header with our trace fields on
top, body. Steps that it does not want are left out; macros are those that it names (`j`, `v`,
`i` (the message's id), `{daemon_name}`, `{client_addr}`, `{client_port}`, `{client_name}` (the
address in brackets), `{tls_version}`, `{cipher}`, `{auth_type}`, `{auth_authen}`, `{mail_addr}`,
`{rcpt_addr}`). Messages of one client that follow each other share a connection.

| the filter | what happens |
|---|---|
| continue, accept | accepted, with its changes |
| reject, tempfail, a reply code, shutdown | `554`, `451`, that code, `421` |
| discard | accepted, and dropped |
| add, insert, change header | done in the order asked; what is no header field is a failure |
| add, delete recipient; change sender; replace body | done; ESMTP parameters are left out |
| quarantine | the message is set aside ([quarantine](../how-to/quarantine.md)) |

As recipients were accepted when the filter hears of them, its refusal of one recipient refuses the
message. Unknown commands and refused recipients are not told.

### The form `policy`

With `form = "policy"` the target is a server of Postfix's policy delegation, at `unix:/PATH` or
`HOST:PORT`; the stages are mail and rcpt. It is told the attributes of `smtpd_access_policy` that
relevo knows; `instance` is the same for all requests of a transaction, `client_name` and
`reverse_client_name` are `unknown`.

| action | what happens |
|---|---|
| `dunno`, `ok`, `permit`, `defer_if_reject` | accept |
| `warn`, `info` | accept; the text is shown in `relevo trace` |
| `reject`, `defer`, `defer_if_permit`, `4xx`, `5xx` | refused, with the text and its code |
| `prepend NAME: VALUE` | a header field on top of the message |
| `redirect ADDRESS` | at rcpt: for this recipient |
| `discard` | the whole message is accepted and dropped |
| `hold` | the message is set aside, before post-data ([quarantine](../how-to/quarantine.md)) |
| anything else | a failure |

### What holds for all three

`timeout` is for a whole call with connecting; the answer is bounded by `hooks.output_limit`, a
policy answer by 8 KiB, packets of a milter by 128 KiB and a body that it gives by
`smtp.max_message_size`. Each worker of the server has its share of `max_concurrent`; calls beyond
wait for `hooks.slot_timeout`. What cannot be read, comes late or not at all is a failure:
`on_error`, and the pause after many of them in a row, as for programs. `arguments`, `processes`,
`run_as` and the limits of processes do not apply.
"""
