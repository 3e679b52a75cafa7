"""Hooks that come with relevo; `relevo hook add NAME` declares one.

Each is a module with its settings and a function a stage, written with `relevo.hook` alone as any
hook in Python is: they are meant to be read, copied and changed. What goes wrong is an exception,
and `on_error` of the declaration says what that means for the mail.
"""
