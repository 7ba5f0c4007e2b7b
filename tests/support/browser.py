"""A person in Chromium: logs in, opens the next task, paints on its canvas, submits."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

PATIENCE_MS = 90_000
# Label Studio's editor as its page knows it: the annotation that is open, and the strokes in it.
EDITED = "window.Htx.annotationStore.selected"
STROKES = f"{EDITED}.regionStore.regions.reduce((sum, r) => sum + (r.touches || []).length, 0)"
CHROMIUM = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@contextmanager
def chromium_page(*arguments: str) -> Iterator[Any]:
    """An empty page of a browser without history; skips without Chromium, but not in CI."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        if os.environ.get("CI"):
            raise RuntimeError("no chromium; apt-get install --no-install-recommends chromium")
        pytest.skip("no chromium; apt-get install --no-install-recommends chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        args = [*CHROMIUM, *arguments]
        browser = playwright.chromium.launch(executable_path=chromium, args=args)
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(PATIENCE_MS)
        yield page
        browser.close()


@contextmanager
def logged_in(url: str, email: str, password: str) -> Iterator[Any]:
    """A page of Label Studio."""
    with chromium_page() as page:
        page.goto(f"{url}/user/login/")
        page.fill("#email", email)
        page.fill("#password", password)
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "/login" not in url)
        yield page


def log_into_prefect(page: Any, url: str, auth: str) -> None:
    """Open Prefect's pages and fill in the only field of its login: USER:PASSWORD."""
    page.goto(url)
    page.locator("input[type=password]").fill(auth)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda now: "/login" not in now)


@dataclass(frozen=True)
class Canvas:
    """The image as it is shown; places are rows and columns of the image itself."""

    page: Any
    size: tuple[int, int]  # height, width
    box: dict[str, float]

    def stroke(self, row: int, columns: tuple[int, int]) -> None:
        """Press the mouse, draw a level line, release, and see the editor take it."""
        before = self.page.evaluate(STROKES)
        mouse = self.page.mouse
        mouse.move(*self._at(row, columns[0]))
        mouse.down()
        mouse.move(*self._at(row, columns[1]), steps=12)
        mouse.up()
        # A key pressed before would meet the region as it was; how long it takes is the machine's.
        self.page.wait_for_function(f"before => {STROKES} > before", arg=before)
        self.page.wait_for_timeout(500)

    def drag(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """Press the mouse at a row and column, release it at others."""
        self.click(start, release=False)
        self.page.mouse.move(*self._at(*end), steps=8)
        self.page.mouse.up()

    def click(self, place: tuple[int, int], *, release: bool = True) -> None:
        """Press the mouse there."""
        self.page.mouse.move(*self._at(*place))
        self.page.mouse.down()
        if release:
            self.page.mouse.up()
            self.page.wait_for_timeout(350)  # two clicks in less are a double one

    def shown(self) -> np.ndarray:
        """RGB [H, W, 3] shown in every pixel of the image, the mean over what it takes of the
        screen."""
        shot = Image.open(BytesIO(self.page.screenshot(clip=self.box))).convert("RGB")
        return np.asarray(shot.resize(self.size[::-1], Image.Resampling.BOX)).astype(int)

    def colour(self, row: int, column: int) -> np.ndarray:
        """RGB shown there."""
        x, y = self._at(row, column)
        shot = self.page.screenshot(clip={"x": x, "y": y, "width": 1, "height": 1})
        return np.asarray(Image.open(BytesIO(shot)).convert("RGB"))[0, 0].astype(int)

    def _at(self, row: int, column: int) -> tuple[float, float]:
        height, width = self.size
        return (
            self.box["x"] + (column + 0.5) / width * self.box["width"],
            self.box["y"] + (row + 0.5) / height * self.box["height"],
        )


def open_next_task(page: Any, project_url: str, size: tuple[int, int]) -> Canvas:
    """Press "Label All Tasks", read the instructions, close them, take the brush."""
    page.goto(project_url)
    page.get_by_role("button", name="Label All Tasks").first.click()
    page.get_by_text("What is begun last counts").wait_for()
    page.keyboard.press("Escape")
    page.get_by_text("What is begun last counts").wait_for(state="hidden")
    submit_button(page).wait_for()
    page.locator("canvas").first.wait_for()
    page.wait_for_timeout(2500)  # masks are decoded after the page is there
    page.keyboard.press("b")  # the tool of the last task is kept: the brush again
    return Canvas(page, size, page.locator("canvas").first.bounding_box())


def submit_button(page: Any) -> Any:
    """The button that ends a task."""
    return page.get_by_role("button", name="Submit current annotation")


def submit(page: Any) -> None:
    """Press it and see Label Studio take the annotation."""

    def is_submit(response: Any) -> bool:
        return "/annotations" in response.url and response.request.method == "POST"

    with page.expect_response(is_submit) as response:
        submit_button(page).click()
    assert response.value.status == 201


def choose_tool(page: Any, name: str) -> None:
    """Press its button."""
    page.get_by_role("button", name=name, exact=True).first.click()
    page.wait_for_timeout(300)


@contextmanager
def new_region(page: Any) -> Iterator[None]:
    """See the editor take one region more than before."""
    before = page.evaluate(f"{EDITED}.regionStore.regions.length")
    yield
    page.wait_for_function(
        f"before => {EDITED}.regionStore.regions.length > before && !{EDITED}.isDrawing", arg=before
    )
    page.wait_for_timeout(500)


def show_only(page: Any, number: int | None) -> str:
    """Hide all regions but one, by its place in their list; its id."""
    store = f"{EDITED}.regionStore.regions"
    found: str = page.evaluate(
        f"number => {{ {store}.forEach((r, i) => {{ if (r.hidden == (i === number)) "
        f"r.toggleHidden(); }}); return number === null ? '' : {store}[number].cleanId; }}",
        number,
    )
    page.wait_for_timeout(400)
    return found


def show_all(page: Any) -> None:
    """Hide no region."""
    page.evaluate(
        f"{EDITED}.regionStore.regions.forEach(r => {{ if (r.hidden) r.toggleHidden(); }})"
    )
    page.wait_for_timeout(400)


def select_region(page: Any, class_name: str) -> None:
    """Choose a class in the list of regions; strokes go to it."""
    page.locator("[class*=outliner]").get_by_text(class_name, exact=True).first.click()


def choose_class(page: Any, class_index: int) -> None:
    """As the instruction says: nothing selected, then the class's key; strokes are a new region."""
    page.keyboard.press("Escape")
    # With a region selected still, the key would turn all of it into that class.
    page.wait_for_function(f"{EDITED}.selectedRegions.length == 0")
    page.keyboard.press(str(class_index + 1))
    page.wait_for_function(
        f"index => {EDITED}.names.get('label').children[index].selected", arg=class_index
    )
