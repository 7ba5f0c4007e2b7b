"""Take the screenshots of docs/images from a running workspace, such as the demo's.

`python docs/screenshots.py WORKSPACE`: needs Chromium and the services of `ssl-loop up`.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from flows import services
from flows.credentials import credentials
from flows.loop import open_loop
from pipeline import layout

IMAGES = Path(__file__).parent / "images"
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
         "--disable-component-update", "--no-first-run")  # fmt: skip
SETTLE_MS = 4000  # pages of both tools draw after they have loaded


def main() -> None:
    """docs/images/{report,label-studio-task,prefect-run}.png."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    root = parser.parse_args().workspace.resolve()
    daemons, secret = services.read_daemons(root), credentials(root)
    with open_loop(root) as loop:
        project = loop.project(loop.require_position().domain)
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        page.set_default_timeout(90_000)
        page.goto((root / layout.REPORT).as_uri())
        page.screenshot(path=IMAGES / "report.png")
        prefect_run(page, daemons[services.PREFECT].url)
        studio = daemons[services.LABEL_STUDIO].url
        page.goto(f"{studio}/user/login/")
        page.fill("#email", secret.label_studio_email)
        page.fill("#password", secret.label_studio_password)
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "/login" not in url)
        page.goto(project.url)
        page.wait_for_timeout(SETTLE_MS)
        page.get_by_role("button", name="Label All Tasks").first.click()
        page.wait_for_timeout(SETTLE_MS)
        page.keyboard.press("Escape")
        page.wait_for_timeout(SETTLE_MS)
        page.screenshot(path=IMAGES / "label-studio-task.png")
        browser.close()


def prefect_run(page: Any, url: str) -> None:
    """The page of the longest run: a whole round with its tasks and artifacts."""
    body = {"sort": "END_TIME_DESC", "limit": 50}
    runs = page.request.post(f"{url}/api/flow_runs/filter", data=body).json()
    longest = max(runs, key=lambda run: run["total_run_time"])
    page.goto(f"{url}/runs/flow-run/{longest['id']}")
    page.wait_for_timeout(2 * SETTLE_MS)
    page.screenshot(path=IMAGES / "prefect-run.png")


if __name__ == "__main__":
    main()
