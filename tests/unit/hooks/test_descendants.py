"""Counting what the system counts against a limit of processes."""

from __future__ import annotations

import os
import subprocess
import threading

from relevo.hooks.descendants import count_descendants, count_threads_of


def test_threads_and_processes_of_a_user_count() -> None:
    user = os.getuid()
    end = threading.Event()
    threads = [threading.Thread(target=end.wait) for _ in range(50)]
    before = count_threads_of(user)
    for thread in threads:
        thread.start()
    try:
        # other processes of this user come and go meanwhile, but not so many
        assert count_threads_of(user) >= before + 25
    finally:
        end.set()
        for thread in threads:
            thread.join()


def test_a_user_without_processes_has_none() -> None:
    assert count_threads_of(4_000_000_000) == 0


def test_more_than_the_limit_is_just_more() -> None:
    command = ["/bin/sh", "-c", "sleep 60 & sleep 60 & sleep 60 & echo up; wait"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, process_group=0) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        assert count_descendants(process.pid, 10) == 3
        assert count_descendants(process.pid, 2) > 2
        os.killpg(process.pid, 9)
