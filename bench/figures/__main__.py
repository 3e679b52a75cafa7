"""Measure relevo against its own aims; each figure is one command.

usage: make figures ARGS="WHAT [OPTION ...]"

  idle     memory of connections that did EHLO and nothing more, without and with TLS
  large    memory of one message of 49 MB, and of 20 of 20 MB at once, over that of an idle server
  soak     memory, descriptors and disk over many messages (--messages 1000000)
  backlog  a queue of a million messages: restart, accepting, memory, commands
  scaling  two workers against one, and who uses the processors meanwhile

Memory is the proportional set size over all processes of the server: shared pages count once.
Without WHAT, idle and large run, which need no quiet machine. Exit status 1: an aim was missed.
"""

import argparse
import os
import sys
import tempfile

from figures import backlog, idle, large, scaling, soak

FIGURES = {"idle": idle, "large": large, "soak": soak, "backlog": backlog, "scaling": scaling}
ALWAYS = ("idle", "large")


def main():
    parser = argparse.ArgumentParser(
        prog="figures", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", default="", help="where servers keep their files")
    which = parser.add_subparsers(dest="what", metavar="WHAT")
    for name, figure in FIGURES.items():
        figure.add_options(which.add_parser(name, help=figure.__doc__.partition("\n")[0]))
    args = parser.parse_args()
    if args.what:
        is_met = run(args.what, args)
    else:
        results = [run(name, parser.parse_args([name])) for name in ALWAYS]
        is_met = all(results)
    sys.exit(not is_met)


def run(name, args):
    with tempfile.TemporaryDirectory(prefix="figures-", dir=args.folder or None) as folder:
        os.chmod(folder, 0o755)  # Postfix gives up its rights
        return FIGURES[name].run(folder, args)


if __name__ == "__main__":
    main()
