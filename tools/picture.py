"""Make the README's moving picture of the decoder lab, pictures/decoder_lab.webp.

    python tools/picture.py

drives the real widget, as a page without a kernel, in headless Chromium: z goes from class to class
over the plane, new pictures are drawn at one z, and the decoder is switched.
"""

import io
import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import torch
from PIL import Image
from playwright.sync_api import Page

from notebooks import ROOT

sys.path.insert(0, str(ROOT / "tests"))

import browser

from vae_edu import data, pretrained
from vae_edu.widgets import DecoderLab

TARGET = ROOT / "pictures" / "decoder_lab.webp"
FAMILIES = ["gaussian", "bernoulli", "categorical"]
CLASSES = [6, 4, 7, 9, 3, 2]  # z goes from one to the next
STEPS = 6
GLIDE, LOOK = 90, 900  # milliseconds that a picture stays: on the way, and to be looked at


def places(vae, images: data.ImageData) -> torch.Tensor:
    """Where the encoder puts each of CLASSES: the medians of its means, [classes, 2]."""
    with torch.no_grad():
        means = vae.posterior(vae.likelihood.prepare(images.test_x)).mean
    return torch.stack([means[images.test_y == label].median(0).values for label in CLASSES])


def frames(page: Page, stops: torch.Tensor) -> Iterator[tuple[bytes, int]]:
    """Pictures of the lab, and the milliseconds that each is shown."""
    lab = page.get_by_role("group", name="Decoder lab")
    host = lab.locator("xpath=..")

    def picture(**state) -> bytes:
        host.evaluate(
            "(host, state) => Object.entries(state).forEach(s => host.state.set(...s))", state
        )
        return lab.screenshot()

    for start, end in pairwise(stops):
        for share in torch.linspace(0, 1, STEPS + 1)[:-1]:
            z = torch.lerp(start, end, share).tolist()
            yield picture(z=z), LOOK if share == 0 else GLIDE
    for seed in range(1, 4):
        yield picture(z=stops[-1].tolist(), seed=seed), LOOK // 2
    for family in FAMILIES[1:]:
        lab.get_by_role("radio", name=family, exact=True).click()
        yield picture(), 2 * LOOK
    for seed in range(4, 7):
        yield picture(seed=seed), LOOK // 2


def main() -> None:
    images = data.load("digits")
    models = {family: pretrained.load(family, images) for family in FAMILIES}
    stops = places(models[FAMILIES[0]], images)
    lab = DecoderLab(models, images, image=4, z=stops[0].tolist(), pixel=28)
    with tempfile.TemporaryDirectory() as folder, browser.chromium() as chromium:
        file = Path(folder) / "lab.html"
        head = "<!doctype html><meta charset=utf-8><body style='font: 16px sans-serif'>"
        file.write_text(head + lab.to_html(), "utf-8")
        with chromium.new_page(viewport={"width": 800, "height": 700}) as page:
            page.goto(file.as_uri())
            pictures, times = zip(*frames(page, stops), strict=True)
    first, *rest = [Image.open(io.BytesIO(picture)).convert("RGB") for picture in pictures]
    TARGET.parent.mkdir(exist_ok=True)
    first.save(
        TARGET, save_all=True, append_images=rest, duration=list(times), loop=0,
        quality=70, method=6,
    )  # fmt: skip
    print(
        f"{TARGET.relative_to(ROOT)}: {len(times)} pictures, {TARGET.stat().st_size / 1e3:.0f} kB"
    )


if __name__ == "__main__":
    main()
