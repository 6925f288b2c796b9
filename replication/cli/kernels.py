"""The kernels that run notebooks: this interpreter, with sockets of its own.

On Linux a kernel is a fork of a server that has imported what the notebooks import, because kernels that start from
nothing spend a third of their time on imports.  The server does no more than that: it starts neither threads nor CUDA.
"""

import ast
import contextlib
import gc
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from functools import cache
from multiprocessing import forkserver
from pathlib import Path
from typing import Any
from unittest import mock

import zmq
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner
from traitlets.config import Config

LONGEST_SOCKET_FOLDER = 80  # characters; a socket's path may have about 100
NO_BARS = {"TQDM_DISABLE": "1"}  # no progress bars in the executed copies
FORKS = sys.platform == "linux"
CONTEXT = multiprocessing.get_context("forkserver" if FORKS else None)
Process: Any = CONTEXT.Process


@contextlib.contextmanager
def own_kernel(notebooks: Path) -> Iterator[dict]:
    """Yield arguments that make nbclient's kernel the running interpreter, its sockets in a private, temporary folder.

    The sockets use TCP if there are no Unix sockets, or if the temporary folder's path is too long for one.

    notebooks: the folder whose notebooks' imports the server has; the first call starts it.
    """
    if FORKS:
        CONTEXT.set_forkserver_preload([__name__, "ipykernel.ipkernel", *imports(notebooks)])
        with mock.patch.dict(os.environ, NO_BARS):  # tqdm reads it when it is imported
            forkserver.ensure_running()
    with tempfile.TemporaryDirectory(prefix="kernel") as private:
        places = dict(connection_file=os.path.join(private, "c.json"))
        if zmq.has("ipc") and len(private) < LONGEST_SOCKET_FOLDER:
            places |= dict(transport="ipc", ip=os.path.join(private, "s"))  # the kernel warns of open TCP ports
        yield dict(kernel_manager_class=_OwnInterpreter, config=Config(KernelManager=places))


@cache
def imports(folder: Path) -> list[str]:
    """Return the names of all modules that the notebooks of a folder import, and of what they import from them."""
    books = (json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("[0-9]*.ipynb"))
    names: set[str] = set()
    for cell in (cell for book in books for cell in book["cells"] if cell["cell_type"] == "code"):
        with contextlib.suppress(SyntaxError):  # its kernel will report it
            for node in ast.walk(ast.parse("".join(cell["source"]))):
                if isinstance(node, ast.Import):
                    names |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return sorted(names)


class _OwnInterpreter(AsyncKernelManager):
    def __init__(self, **keywords):  # no folders: another kernel that is called python3 is not found
        super().__init__(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]), **keywords)

    async def start_kernel(self, **keywords):
        if FORKS:
            self.provisioner = _Forked(kernel_id="", kernel_spec=self.kernel_spec, parent=self)
        await super().start_kernel(**keywords, env=os.environ | NO_BARS)


class _Forked(LocalProvisioner):
    """Starts a `_Kernel` in place of a command."""

    async def launch_kernel(self, cmd, *, env, **_):
        self.process = _Kernel(self.parent.connection_file, os.getcwd(), env)
        self.process.start()
        self.pid = self.pgid = self.process.pid
        return self.connection_info


def _end_with_the_parent() -> None:
    """End this process when the one that asked for it dies; the server lives as long as any of its forks."""
    parent: Any = multiprocessing.parent_process()
    parent.join()
    os._exit(1)


class _Kernel(Process):
    """The process of a kernel, with the attributes of subprocess.Popen that jupyter_client uses."""

    stdin = stdout = stderr = None

    def __init__(self, connection_file: str, folder: str, environment: dict[str, str]):
        super().__init__()
        self.arguments = ["-f", connection_file, f"--IPKernelApp.parent_handle={os.getpid()}"]
        self.folder, self.environment = folder, environment

    def run(self) -> None:
        from ipykernel.kernelapp import launch_new_instance

        os.setsid()  # Ctrl-C is for the parent, which ends the kernel and what it has started
        threading.Thread(target=_end_with_the_parent, daemon=True).start()
        gc.freeze()  # the garbage collector need not look at what the server imported
        multiprocessing.set_start_method("fork", force=True)  # else semaphores would outlive a kernel that is killed
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(self.folder)
        os.environ.update(self.environment)
        launch_new_instance(argv=[*self.arguments, "--HistoryManager.hist_file=:memory:"])

    def poll(self) -> int | None:
        return self.exitcode

    def wait(self) -> int | None:
        self.join()
        return self.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)
