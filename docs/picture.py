"""Draws the README's picture from a finished study: the top of its page, as a browser shows it.

.venv/bin/python docs/picture.py runs/demo/report.html docs/demo.png
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

page, target = Path(sys.argv[1]).resolve(), sys.argv[2]
program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if program is None:
    sys.exit("needs Chromium: none of chromium, chromium-browser, google-chrome is installed")
with sync_playwright() as started:
    browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
    shown = browser.new_page(viewport={"width": 1180, "height": 900}, device_scale_factor=1.5, color_scheme="light")
    shown.goto(page.as_uri())
    end = shown.locator("#results").bounding_box()
    if end is None:
        sys.exit(f"{page}: no report's page, it has no results")
    shown.screenshot(
        path=target, full_page=True, clip={"x": 0, "y": 0, "width": 1180, "height": end["y"] + end["height"] + 24}
    )
    browser.close()
