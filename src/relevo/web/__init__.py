"""Monitoring over HTTP: a status page, metrics under relevo's and chasquid's names, probes.

The room renders and serves what a `Source` tells it as `Figures`; it asks no worker and reads no
file itself. It runs in a process of its own, so that a slow page costs no mail.
"""

from relevo.web.figures import Figures, WorkerFigures
from relevo.web.server import HttpServer, serve_until
from relevo.web.site import Site

__all__ = ["Figures", "HttpServer", "Site", "WorkerFigures", "serve_until"]
