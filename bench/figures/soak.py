"""To come."""


def add_options(parser):
    pass
