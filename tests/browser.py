"""A real JupyterLab in a headless Chromium, for tests of what a reader sees and clicks.

The fixtures `lab` and `chromium` are in conftest.py:

    def test_something(chromium, lab):
        with lab.open(chromium, path) as notebook:  # a copy: the file stays as it is
            notebook.run()
            notebook.page.get_by_role("button", name="Start").click()  # Playwright's page
            notebook.settle()  # until the kernel has answered and the page shows the answer
            assert notebook.complaints == []

Where there is no Chromium these tests are skipped; with VAE_EDU_BROWSER=required they fail.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
START, RUN, ANSWER = 120, 300, 60  # seconds that only what is broken takes

# No question about news on top of the page, and no request for them over the network.
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}
}

READY = """async () => {
  const panel = window.jupyterapp.shell.currentWidget;
  await panel.context.ready;
  await panel.revealed;
  await panel.sessionContext.ready;
  await panel.sessionContext.session.kernel.info;
  window.unanswered = new Set();
  const {kernel} = panel.sessionContext.session;
  kernel.anyMessage.connect((_, {direction, msg: {header, parent_header, content}}) => {
    if (direction === 'send' && header.msg_type.startsWith('comm')) unanswered.add(header.msg_id);
    if (content.execution_state === 'idle') unanswered.delete(parent_header.msg_id);
  });
  // What a moved slider makes the kernel say belongs to no cell, and JupyterLab shows it nowhere.
  window.kernelComplaints = [];
  panel.sessionContext.iopubMessage.connect((_, {header, parent_header, content}) => {
    if (parent_header.msg_type === 'execute_request') return;
    // JupyterLab asks each new kernel for its widgets, before ipywidgets is there to answer.
    if (content.text?.startsWith('No such comm')) return;
    const {msg_type} = header, {name, text, traceback} = content;
    if (msg_type === 'error') kernelComplaints.push(traceback.join('\\n'));
    if (msg_type === 'stream' && name === 'stderr') kernelComplaints.push(text);
  });
}"""
RUN_ALL = "() => window.jupyterapp.commands.execute('notebook:run-all-cells')"
# Widgets speak with another thread of the kernel than cells do (a subshell), so the end of a cell
# says nothing of theirs: `unanswered` does. What the page receives it handles in order; so after
# the empty cell ipywidgets has sent what it kept back while the kernel was at work, if anything.
ANSWERED = """async () => {
  const {kernel} = window.jupyterapp.shell.currentWidget.sessionContext.session;
  const painted = () => new Promise(done => requestAnimationFrame(done));
  do {
    while (unanswered.size) await painted();
    await kernel.requestExecute({code: '', silent: true}).done;
  } while (unanswered.size);
  await painted();
  await painted();
}"""
CELLS = """() => {
  const cells = window.jupyterapp.shell.currentWidget.content.model.cells;
  return Array.from(cells, cell => cell.toJSON());
}"""
CLOSE = """async () => {
  const panel = window.jupyterapp.shell.currentWidget;
  await panel.context.save();  // or the browser asks whether to leave
  await panel.sessionContext.shutdown();
}"""


class Notebook:
    """A notebook that is open in JupyterLab."""

    def __init__(self, page: Page):
        self.page, self._said = page, []
        page.on("pageerror", lambda error: self._said.append(str(error)))
        page.on("console", self._listen)

    def _listen(self, message: Any) -> None:
        if message.type == "error":
            self._said.append(f"{message.text} ({message.location.get('url')})")

    @property
    def complaints(self) -> list[str]:
        """Errors in the browser's console, and what the kernel wrote when a widget called it."""
        return self._said + self.page.evaluate("window.kernelComplaints")

    @property
    def cells(self) -> list[dict]:
        """The cells as a file would have them, with the outputs of now."""
        return self.page.evaluate(CELLS)

    def run(self) -> None:
        """Run all cells, to the end or the first error."""
        self._wait(RUN_ALL, RUN)
        self.settle()

    def settle(self) -> None:
        """Wait until the kernel has answered all that was clicked, and the page has shown it."""
        self._wait(ANSWERED, ANSWER)

    def show(self, cell: int) -> Any:
        """The output area of a cell, scrolled into view (JupyterLab draws no other)."""
        area = self.page.locator(f'.jp-Notebook [data-windowed-list-index="{cell}"]')
        area.scroll_into_view_if_needed()
        return area.locator(".jp-Cell-outputArea")

    def _wait(self, promise: str, seconds: float) -> None:
        # Playwright would wait for a promise for ever.
        no = f"() => reject(Error('no answer in {seconds} s'))"
        late = f"new Promise((_, reject) => setTimeout({no}, {1000 * seconds}))"
        self.page.evaluate(f"() => Promise.race([({promise})(), {late}])")


class Lab:
    """A running JupyterLab server; `open` copies a notebook into its folder."""

    def __init__(self, url: str, token: str, folder: Path):
        self.url, self.token, self.folder = url, token, folder

    @contextmanager
    def open(self, browser: Browser, path: Path) -> Iterator[Notebook]:
        shutil.copy(path, self.folder)
        with browser.new_page(viewport={"width": 1280, "height": 900}) as page:
            page.set_default_timeout(1000 * ANSWER)
            notebook = Notebook(page)
            page.goto(f"{self.url}lab/tree/{path.name}?token={self.token}&reset")
            page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=1000 * START)
            notebook._wait(READY, START)
            try:
                yield notebook
            finally:
                notebook._wait(CLOSE, ANSWER)


@contextmanager
def jupyterlab(folder: Path) -> Iterator[Lab]:
    """A server of its own: nothing of the reader's settings comes in or is changed."""
    notebooks, config = folder / "notebooks", folder / "config"
    (config / "labconfig").mkdir(parents=True)
    (config / "labconfig" / "default_setting_overrides.json").write_text(json.dumps(SETTINGS))
    notebooks.mkdir()
    own = {
        "JUPYTER_CONFIG_DIR": config,
        "JUPYTER_DATA_DIR": folder / "data",
        "JUPYTER_RUNTIME_DIR": folder / "runtime",
        "JUPYTERLAB_SETTINGS_DIR": folder / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": folder / "workspaces",
        "IPYTHONDIR": folder / "ipython",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ServerApp.port=0"]
    command += [f"--ServerApp.root_dir={notebooks}", "--LabApp.expose_app_in_browser=True"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    with open(folder / "log.txt", "w") as log:
        environment = os.environ | {name: str(value) for name, value in own.items()}
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        # The server writes this file, with the port that it found and its token, once it listens.
        card = folder / "runtime" / f"jpserver-{server.pid}.json"
        until = time.monotonic() + START
        while not (card.exists() and card.read_text().endswith("}")):
            if server.poll() is not None or time.monotonic() > until:
                pytest.fail("JupyterLab does not start:\n" + (folder / "log.txt").read_text())
            time.sleep(0.05)
        about = json.loads(card.read_text())
        yield Lab(about["url"], about["token"], notebooks)
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium or Chrome: Playwright's own would be a download more."""
    names = ("chromium", "google-chrome", "chromium-browser")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        missing = (
            f"none of {', '.join(names)} is on PATH: install Chromium to run the browser tests"
        )
        required = os.environ.get("VAE_EDU_BROWSER") == "required"
        (pytest.fail if required else pytest.skip)(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--disable-gpu"])
        yield browser
        browser.close()


class Reader:
    """A page that is read with the network off; `said` is what went wrong."""

    def __init__(self, page: Page):
        self.page, self.said = page, []
        page.context.set_offline(True)
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("console", lambda m: m.type in ("error", "warning") and self.said.append(m.text))
        page.on("request", self._listen)

    def _listen(self, request):
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.said.append(f"asks the network for {request.url}")

    def open(self, path: Path) -> Page:
        self.page.goto(path.as_uri())
        return self.page


def run_tool(name: str, *arguments) -> None:
    """tools/`name`.py, which must succeed."""
    command = [sys.executable, ROOT / "tools" / f"{name}.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
