"""``python -m pipeline.embedded``: the broker, the model server and the generator on their own, until a signal.

Exit status: 0 stopped, 1 a failure, 2 a wrong flag, or a package that is not installed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the rest is imported where it is used, so that a wrong flag is reported at once
    from pipeline.embedded.options import EmbeddedConfig

EXIT_DONE, EXIT_FAILED, EXIT_WRONG = 0, 1, 2
_PARENT_CHECK_S = 1.0


def _silence_tensorflow() -> None:
    """Keeps TensorFlow's C++ log (file descriptor 2) off the terminal. Python's stderr still goes there.

    ``TF_CPP_MIN_LOG_LEVEL`` has no effect on the lines written before TensorFlow's log is set up.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as null:  # noqa: PTH123  a device, for its descriptor
        os.dup2(null.fileno(), 2)
    sys.stderr = os.fdopen(kept, "w", buffering=1)


def _watch_parent(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Sets ``stop`` when the parent is gone: standard input ends, or another process has adopted this one."""

    def stdin_ended() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        loop.call_soon_threadsafe(stop.set)

    def adopted() -> None:
        if os.getppid() != parent:
            stop.set()
        else:
            loop.call_later(_PARENT_CHECK_S, adopted)

    parent = os.getppid()
    threading.Thread(target=stdin_ended, name="parent", daemon=True).start()
    loop.call_later(_PARENT_CHECK_S, adopted)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command with the given flags; returns the exit status."""
    from pipeline.cli.entry import flags_or_told
    from pipeline.embedded.options import parse
    from pipeline.terminal import tell_error
    from transforms.errors import ConfigError, ContractError

    config = flags_or_told(parse, arguments, "embedded")
    if config is None:
        return EXIT_WRONG
    try:
        return _serve(config)
    except (ConfigError, ContractError, ImportError) as error:  # an ImportError: a package of the extra is not installed
        tell_error(error)
        return EXIT_WRONG


def _serve(config: EmbeddedConfig) -> int:
    if config.server is not None and not config.verbose:
        _silence_tensorflow()
    from transforms.clients.tf_runtime.serving_error import ServingError
    from transforms.errors import ConfigError, ContractError, ScoringError

    try:
        asyncio.run(_run(config))
    except (ConfigError, ContractError):
        raise
    except (OSError, ValueError, ServingError, ScoringError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAILED
    return EXIT_DONE


async def _run(config: EmbeddedConfig) -> None:
    from pipeline.embedded.broker import EmbeddedBroker, with_dead_letter_topics
    from pipeline.embedded.generator import publish_digits
    from transforms.clients.tf_runtime.library import library

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if config.exit_with_parent:
        _watch_parent(loop, stop)

    async with contextlib.AsyncExitStack() as stack:
        ready: dict[str, object] = {"pid": os.getpid()}
        if config.kafka_port is not None:
            broker = EmbeddedBroker(with_dead_letter_topics(config.topics), config.kafka_port)
            ready["kafka"] = stack.enter_context(broker).address
        if config.server is not None:
            library()  # before the server's modules, which import what comes with TensorFlow: it says what to install
            from pipeline.embedded.server import Server

            server = await stack.enter_async_context(Server(config.server))
            ready |= {"grpc_port": server.grpc_port, "rest_port": server.rest_port, "models": server.models.names}
        _announce(config, ready)
        if config.generate:
            halt = threading.Event()
            stack.callback(halt.set)
            bootstrap = config.bootstrap_servers or str(ready["kafka"])
            publishing = asyncio.create_task(
                asyncio.to_thread(publish_digits, bootstrap, config.generate, config.rate, stop=halt)
            )
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({publishing, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            halt.set()
            done = await publishing
            print(f"published {done.good} images and {done.broken} broken records to {config.generate}", flush=True)
            if config.kafka_port is None and config.server is None:
                return
        await stop.wait()


def _announce(config: EmbeddedConfig, ready: dict[str, object]) -> None:
    text = json.dumps(ready)
    if config.ready_file is not None:
        part = config.ready_file.with_name(config.ready_file.name + ".part")
        part.write_text(text + "\n")
        part.replace(config.ready_file)  # atomic: a reader never sees half a file
    if config.json_ready:
        print(text, flush=True)
        return
    from transforms.printable import counted

    if "kafka" in ready:
        topics = ", ".join(f"{name} ({counted(count, 'partition')})" for name, count in config.topics.items())
        print(f"kafka  {ready['kafka']}" + (f"  topics: {topics}" if topics else ""), flush=True)
    models = ready.get("models")
    for name, versions in models.items() if isinstance(models, dict) else ():
        served = f"versions: {', '.join(map(str, versions))}"
        if ready["grpc_port"]:
            print(f"grpc   grpc://127.0.0.1:{ready['grpc_port']}/{name}  {served}", flush=True)
        if ready["rest_port"]:
            print(f"rest   http://127.0.0.1:{ready['rest_port']}/v1/models/{name}  {served}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
