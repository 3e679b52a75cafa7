"""Hooks: programs of the operator that decide about mail, run so that they harm nobody else.

`contract` holds stages, contexts and verdicts as values and is the lowest part of the room.
`host`, `launcher` and `calls` run programs; `files` finds them; `post_data` and `alias_hooks` ask
them at the stages that this release runs. Nothing is imported here, so that the rooms below the
runners can import the contract alone.
"""
