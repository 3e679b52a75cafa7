"""relevo: a mail server that is programmed at every stage."""

__version__ = "0.1.0"
