"""New versions of hooks, tried on real mail: shadows, canaries, and mail kept for a replay.

`seen` says what hooks were asked about and what they answered; `effects` what an answer comes to,
and where two differ. `shadow`, `canary` and `kept` are the three uses of that in a worker, which
`trials` joins; `replay` and `report` are for the command line. Whatever happens here, no message
is delayed or changed by it, but for a canary's verdict, which counts like any other.
"""
