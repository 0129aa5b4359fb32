"""Makes a thumbnail of every picture in a folder, with a pool of worker processes.

The same as thumbnails.rs, to compare with: every JPEG in DIR, at most 75 pixels wide and high, to
DIR/thumbs, and the last line in the same words. Needs Pillow (`pip install pillow`), and shows a
progress bar if there is tqdm. To have both at work on the same pictures:

    cargo run --release --example thumbnails -- /tmp/pictures --count 2000
    python3 examples/thumbnails.py /tmp/pictures [WORKERS]

It is the last number that compares the pools. The others compare the JPEG decoders too: Pillow's
leaves out what so small a picture does not need.
"""

import multiprocessing
import os
import sys
import time
from pathlib import Path

from PIL import Image

try:
    from tqdm import tqdm
except ImportError:
    def tqdm(results, **_):
        return results

SIZE = (75, 75)


def thumbnail(picture):
    """A task: makes the thumbnail of one picture. What went wrong, if anything did."""
    try:
        with Image.open(picture) as image:
            image.thumbnail(SIZE)
            image.save(thumbnail_of(picture))
    except OSError as cause:
        return f"{picture}: {cause}"
    return None


def thumbnail_of(picture):
    return picture.parent / "thumbs" / picture.name


def clear(pictures):
    """Removes the thumbnails that are left from before."""
    for picture in pictures:
        thumbnail_of(picture).unlink(missing_ok=True)


def is_right(picture):
    """Whether the picture has a thumbnail that is whole and small enough."""
    try:
        with Image.open(thumbnail_of(picture)) as image:
            image.load()
            return image.width <= SIZE[0] and image.height <= SIZE[1]
    except OSError:
        return False


def with_pool(pool, pictures):
    results = pool.imap_unordered(thumbnail, pictures)
    return [failure for failure in tqdm(results, total=len(pictures)) if failure]


def main():
    folder = Path(sys.argv[1])
    workers = int(sys.argv[2]) if len(sys.argv) > 2 else len(os.sched_getaffinity(0))
    names = folder.iterdir()
    pictures = sorted(path for path in names if path.suffix.lower() in (".jpg", ".jpeg"))
    if not pictures:
        sys.exit(f"no JPEG in {folder}")
    (folder / "thumbs").mkdir(exist_ok=True)

    with multiprocessing.Pool(workers) as pool:
        clear(pictures)
        start = time.perf_counter()
        failures = with_pool(pool, pictures)
        many = len(pictures) / (time.perf_counter() - start)
        made = sum(map(is_right, pictures))

        clear(pictures)
        start = time.perf_counter()
        for picture in tqdm(pictures):
            thumbnail(picture)
        one = len(pictures) / (time.perf_counter() - start)

    for failure in failures:
        print(failure)
    print(f"thumbnails: {made} of {len(pictures)}, none larger than {SIZE[0]}x{SIZE[1]}")
    print(
        f"images/s: {one:.0f} with one process, {many:.0f} with {workers} workers, "
        f"{many / one:.2f} times as many"
    )
    if failures or made < len(pictures):
        sys.exit("not every picture has its thumbnail")


if __name__ == "__main__":
    main()
