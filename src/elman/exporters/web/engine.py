"""Runs of the page's JavaScript: by Node.js, or by a browser without a window, whichever is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from elman.errors import ExportError

BROWSERS = (
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge", "msedge",
    "brave-browser", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)  # fmt: skip
"""Programs that run a page without a window by `--headless`."""

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip

SECONDS = 120.0
"""The longest that an engine may take."""

NODE = """\
import { readFileSync, writeFileSync } from "node:fs";
const [folder, requests, answers] = process.argv.slice(2);
const { buildModel } = await import(folder + "/js/model/load.js");
const { check } = await import(folder + "/js/model/checks.js");
const read = (name) => readFileSync(new URL(folder + "/" + name));
const manifest = JSON.parse(read("manifest.json"));
const weights = read(manifest.weights.file);
const buffer = weights.buffer.slice(weights.byteOffset, weights.byteOffset + weights.byteLength);
const model = buildModel(manifest, buffer);
writeFileSync(answers, JSON.stringify(check(model, manifest, JSON.parse(readFileSync(requests)))));
"""

PAGE = """\
<!doctype html><meta charset="utf-8"><script type="module">
try {
  const { loadModel } = await import("/js/model/load.js");
  const { check } = await import("/js/model/checks.js");
  const { manifest, model } = await loadModel(location.origin + "/");
  const requests = await (await fetch("/requests")).json();
  await fetch("/answers", { method: "POST", body: JSON.stringify(check(model, manifest, requests)) });
} catch (error) {
  await fetch("/answers", { method: "POST", body: JSON.stringify({ error: String(error) }) });
}
</script>
"""


class JavaScript(NamedTuple):
    """A program that runs JavaScript.

    Attributes:
        kind: "node" or "browser".
        program: its path.
    """

    kind: str
    program: str

    @property
    def name(self) -> str:
        """What reports call it."""
        return "Node.js" if self.kind == "node" else Path(self.program).name


def find_engine(kind: str = "auto") -> JavaScript | None:
    """Return Node.js or a browser on the PATH, in this order; None for "none", or where "auto" finds neither.

    Args:
        kind: "node", "browser", "auto" for either of them, or "none".

    Raises:
        ExportError: the program that is asked for by name is not on the PATH.
    """
    programs = [("node", name) for name in ("node", "nodejs")] + [("browser", name) for name in BROWSERS]
    for each, name in programs:
        if kind in ("auto", each) and (program := shutil.which(name)):
            return JavaScript(each, program)
    if kind in ("node", "browser"):
        raise ExportError(
            f"there is no {'Node.js' if kind == 'node' else 'browser'} to run the page",
            should=" or ".join(name for each, name in programs if each == kind and "/" not in name) + " on the PATH",
            found="none of them",
            hint="--set javascript=auto, which takes what is there",
        )
    return None


def run_checks(engine: JavaScript, folder: Path, requests: Sequence[Any]) -> dict[str, Any]:
    """Return the answers of an exported folder to requests, and the microseconds of a step.

    Raises:
        ExportError: the program cannot run it.
    """
    run = {"node": _run_node, "browser": _run_browser}[engine.kind]
    with TemporaryDirectory(prefix="elman-web-") as scratch:
        answers = run(engine.program, folder, json.dumps(list(requests)), Path(scratch))
    if "error" in answers:
        raise _failure(engine.program, str(answers["error"]))
    return answers


def _failure(program: str, found: str) -> ExportError:
    return ExportError(
        f"{program} cannot run the exported page",
        should="Node.js 18 or newer, or a browser of the last two years",
        found=found.strip()[-300:] or "no answer",
        hint="--set javascript=none, which compares the weights without it",
    )


def _run_node(program: str, folder: Path, requests: str, scratch: Path) -> dict[str, Any]:
    (scratch / "requests.json").write_text(requests, encoding="utf-8")
    (scratch / "check.mjs").write_text(NODE, encoding="utf-8")
    # Node.js takes files of a folder for modules by the package.json above them.
    shutil.copytree(folder / "js", scratch / "site" / "js")
    for name in ("manifest.json", "weights.bin"):
        shutil.copy(folder / name, scratch / "site" / name)
    (scratch / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    arguments = [(scratch / "site").as_uri(), str(scratch / "requests.json"), str(scratch / "answers.json")]
    try:
        done = subprocess.run(
            [program, str(scratch / "check.mjs"), *arguments],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _failure(program, str(error)) from error
    if done.returncode:
        raise _failure(program, done.stderr)
    answers: dict[str, Any] = json.loads((scratch / "answers.json").read_text(encoding="utf-8"))
    return answers


def _run_browser(program: str, folder: Path, requests: str, scratch: Path) -> dict[str, Any]:
    answered = threading.Event()
    answers: dict[str, Any] = {}

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            pages = {"/check": ("text/html", PAGE), "/requests": ("application/json", requests)}
            if self.path not in pages:
                super().do_GET()
                return
            kind, text = pages[self.path]
            self._send(kind, text.encode())

        def do_POST(self) -> None:
            answers.update(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._send("text/plain", b"")
            answered.set()

        def _send(self, kind: str, content: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    with _served(partial(Handler, directory=str(folder))) as address:
        profile = f"--user-data-dir={scratch / 'profile'}"
        command = [program, *FLAGS, profile, f"{address}/check"]
        quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        try:
            process = subprocess.Popen(command, start_new_session=os.name == "posix", **quiet)
        except OSError as error:
            raise _failure(program, str(error)) from error
        try:
            if not answered.wait(SECONDS):
                raise _failure(program, f"no answer in {SECONDS:.0f} seconds")
        finally:
            _end(process)
    return answers


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a browser, so that it has no more files open when its profile is removed."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def _served(handler: Any) -> Iterator[str]:
    """Give the address of a server on this machine alone."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
