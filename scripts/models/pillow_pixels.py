"""Writes small image files of many kinds, and what Pillow makes of them, for the tests of decoding and resizing.

Needs Pillow alone. `python pillow_pixels.py <folder>` writes `<folder>/*.{png,jpg,…}` and `<folder>/pixels.json`:
`decoded`: file → width, height and RGB bytes (base64) after `exif_transpose` and `convert("RGB")`;
`resized`: for the drawing `source.png`, the size, the filter, and the RGB bytes after `Image.resize`.
"""

import base64
import json
import random
import sys
from pathlib import Path

import PIL
from PIL import Image, ImageCms, ImageDraw, ImageOps


def drawing(width: int, height: int, seed: int) -> Image.Image:
    """Shapes on a ground with noise: edges for the filters, detail that aliases."""
    rng = random.Random(seed)
    image = Image.new("RGB", (width, height), tuple(rng.randrange(256) for _ in range(3)))
    pen = ImageDraw.Draw(image)
    for _ in range(8):
        x, y = rng.randrange(width), rng.randrange(height)
        box = (x, y, x + rng.randrange(3, width), y + rng.randrange(3, height))
        getattr(pen, rng.choice(["rectangle", "ellipse"]))(box, fill=tuple(rng.randrange(256) for _ in range(3)))
    pixels = image.load()
    for y in range(height):
        for x in range(0, width, 3):
            pixels[x, y] = tuple(rng.randrange(256) for _ in range(3))
    return image


def pixels_of(image: Image.Image) -> dict:
    return {"width": image.width, "height": image.height, "rgb": base64.b64encode(image.tobytes()).decode()}


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    source = drawing(41, 29, 1)
    source.save(out / "source.png")
    small = drawing(11, 7, 2)
    smooth = small.resize((44, 28), Image.Resampling.BICUBIC)

    small.save(out / "rgb.png")
    alpha = small.convert("RGBA")
    alpha.putalpha(Image.linear_gradient("L").resize(small.size))
    alpha.save(out / "alpha.png")
    alpha.save(out / "alpha.webp", lossless=True, exact=True)
    small.convert("L").save(out / "grey.png")
    grey_alpha = small.convert("LA")
    grey_alpha.putalpha(Image.linear_gradient("L").resize(small.size))
    grey_alpha.save(out / "grey-alpha.png")
    palette = small.quantize(16)
    palette.save(out / "palette.png")
    palette.save(out / "palette-transparent.png", transparency=3)
    small.convert("1").save(out / "bilevel.png")
    smooth.save(out / "plain.jpg", quality=80)  # 4:2:0
    smooth.save(out / "progressive.jpg", quality=80, progressive=True)
    smooth.convert("L").save(out / "grey.jpg", quality=80)
    smooth.convert("CMYK").save(out / "cmyk.jpg", quality=90)
    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        small.save(out / f"orientation-{orientation}.png", exif=exif)
    small.save(out / "rgb.tiff")
    small.convert("CMYK").save(out / "cmyk.tiff")
    small.save(out / "rgb.webp", lossless=True)
    small.save(out / "rgb.bmp")
    alpha.save(out / "alpha.bmp")
    palette.save(out / "palette.bmp")
    small.convert("1").save(out / "bilevel.bmp")
    frames = [drawing(11, 7, seed).quantize(32) for seed in (3, 4, 5)]
    frames[0].save(out / "animated.gif", save_all=True, append_images=frames[1:], duration=50)
    moving = [drawing(11, 7, seed) for seed in (3, 4, 5)]
    moving[0].save(out / "animated.webp", save_all=True, append_images=moving[1:], duration=50, lossless=True)
    # A profile under which every colour would move, if it were obeyed.
    small.save(out / "profile.png", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes())
    smooth.save(out / "smooth.avif", quality=95)

    decoded = {}
    for file in sorted(out.iterdir()):
        if file.suffix == ".json":
            continue
        decoded[file.name] = pixels_of(ImageOps.exif_transpose(Image.open(file)).convert("RGB"))
    resized = []
    for size in [(48, 40), (16, 16), (7, 5), (41, 10), (3, 29), (60, 12), (1, 1)]:
        for name in ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]:
            image = source.resize(size, getattr(Image.Resampling, name.upper()))
            resized.append({"filter": name, **pixels_of(image)})
    (out / "pixels.json").write_text(json.dumps({"pillow": PIL.__version__, "decoded": decoded, "resized": resized}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
