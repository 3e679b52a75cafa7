"""Processes: the supervisor, its workers, listeners, certificates, reload and stop."""
