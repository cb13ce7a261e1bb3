"""The renderer's process: reads batches of jobs from standard input, and writes results to what was standard output.

Its argument is the processor time that a job may use, in seconds.

It can open no file, no connection and no process, even if an attacker takes it over: all it needs is imported before.
"""

import contextlib
import faulthandler
import importlib
import math
import os
import signal
import sys
from io import BytesIO
from typing import Final

from PIL import Image, MpoImagePlugin, TiffImagePlugin  # noqa: F401 # imported by Pillow for some JPEG files

from publisher.domain.errors import Problem
from publisher.rendering.jobs import (
    CleanPicture,
    CompilePage,
    RenderPage,
    TemplateFiles,
    decode_batch,
    encode_result,
    read_frame,
    write_frame,
)
from publisher.rendering.worker import RenderWorker

MAX_MEMORY_BYTES: Final = 1024**3
"""Address space; the biggest picture takes a third of it."""
_PRELOADED_CODECS: Final = (
    "ascii", "cp437", "idna", "latin_1", "punycode", "raw_unicode_escape", "unicode_escape", "utf_16", "utf_16_be",
    "utf_16_le", "utf_32", "utf_8_sig",
)  # fmt: skip
"""Python imports a codec when it is first used; links with Chinese hosts need some of these."""
MAX_STACK_BYTES: Final = 8 * 1024**2
MAX_BATCH_BYTES: Final = 2**30
MAX_STDERR_BYTES: Final = 64 * 1024
"""Limit of standard error, the only file it has."""


def main(seconds: int) -> None:
    """Run jobs until standard input ends."""
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to all processes of a service; the parent ends this one
        signal.signal(number, signal.SIG_IGN)
    _preload_lazy_imports()
    results = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    faulthandler.enable()
    limit_resources()
    missed: list[str] = []
    sys.addaudithook(lambda event, facts: missed.append(str(facts[0])) if event == "import" else None)
    worker = RenderWorker()
    write_frame(results, b"")  # signals that it is ready
    while True:
        try:
            files, jobs = decode_batch(read_frame(sys.stdin.buffer, MAX_BATCH_BYTES))
        except EOFError:
            return
        if files is not None:
            worker.load(files)
        for job in jobs:
            _limit_cpu_time(seconds)
            result = worker.run_job(job)
            if missed:  # a library that fails to import its own part may go on without it, with another result
                result = Problem(code="rendering_failed", facts={"reason": f"not imported: {missed[0]}"})
                missed.clear()
            write_frame(results, encode_result(result))
        if worker.ran_out_of_memory:  # what fills it would fail later posts
            return


def _preload_lazy_imports() -> None:
    """Run a job of each kind, some with errors, as libraries import some of their parts only on first use."""
    texts = {
        "warm/up.html": "{{ '\\n'|upper }}{{ body_html }}",
        "warm/fails.txt": "{{ none }}",
        "warm/broken.txt": "{{",
    }
    for codec in _PRELOADED_CODECS:
        importlib.import_module(f"encodings.{codec}")
    worker = RenderWorker()
    worker.load(TemplateFiles(texts=texts, paths=texts))
    worker.run([CompilePage(page=page) for page in texts])
    worker.run([RenderPage(page=page, variables={}, body="**a**", is_article=True) for page in texts])
    for kind in ("PNG", "JPEG", "GIF"):
        buffer, exif = BytesIO(), Image.Exif()
        exif[0x0112] = 6  # lies on its side
        Image.new("RGB", (8, 8)).save(buffer, kind, exif=exif)
        worker.run([CleanPicture(data=buffer.getvalue())])


def limit_resources() -> None:
    """Limit the resources of this process; on systems without such limits only the parent's timeout remains."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 # there is none on Windows

    faulthandler.register(signal.SIGXCPU, chain=True)
    for what, max_value in (
        ("RLIMIT_AS", MAX_MEMORY_BYTES),
        ("RLIMIT_STACK", MAX_STACK_BYTES),
        ("RLIMIT_FSIZE", MAX_STDERR_BYTES),
        ("RLIMIT_NPROC", 0),
        ("RLIMIT_NOFILE", 0),
        ("RLIMIT_CORE", 0),
    ):
        number = getattr(resource, what, None)
        if number is not None:
            hard = resource.getrlimit(number)[1]
            limit = max_value if hard == resource.RLIM_INFINITY else min(max_value, hard)
            with contextlib.suppress(ValueError, OSError):  # macOS has some of them by name only
                resource.setrlimit(number, (limit, limit))


def _limit_cpu_time(seconds: int) -> None:
    """Limit the processor time of the next job; beyond it the system ends this process."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 # there is none on Windows

    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used.ru_utime + used.ru_stime) + seconds, hard))


if __name__ == "__main__":
    main(int(sys.argv[1]))
