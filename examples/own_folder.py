"""Train on a folder of your own images, a folder for each class, and classify one of them. It needs Pillow.

    python examples/own_folder.py FOLDER

Without FOLDER, or with `--quick`, it draws one: circles and squares, 200 images in all. `cnnlayers train FOLDER` does
the same from the command line.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import cnnlayers as cl


def draw_folder(root, count=100):
    """Circles and squares of any colour, size and place, as PNG files."""
    rng = np.random.default_rng(0)
    for shape in ("circle", "square"):
        (root / shape).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            image = Image.new("RGB", (48, 40), tuple(rng.integers(0, 60, 3).tolist()))
            x, y, size = (int(n) for n in rng.integers([2, 2, 16], [20, 14, 24]))
            draw = ImageDraw.Draw(image)
            paint = draw.ellipse if shape == "circle" else draw.rectangle
            paint((x, y, x + size, y + size), fill=tuple(rng.integers(120, 256, 3).tolist()))
            image.save(root / shape / f"{i}.png")


def main():
    folder = Path(next((a for a in sys.argv[1:] if not a.startswith("-")), "shapes"))
    if not folder.exists():
        draw_folder(folder)
    data = cl.datasets.image_folder(folder, size=32, val=0.15, test=0.15)
    print(data, "classes:", ", ".join(data.classes))

    scale = cl.Normalize(*cl.datasets.channel_stats(data.train[0]))
    body = cl.models.resnet8(input_shape=(32, 32, 3), classes=len(data.classes), rng=0)
    net = cl.Sequential([scale, body], input_shape=(32, 32, 3))
    optimizer, augment = cl.Adam(lr=0.003), cl.augment.standard((32, 32, 3))
    settings = {"loss": cl.SoftmaxLoss(), "optimizer": optimizer, "augment": augment, "batch_size": 16, "rng": 0}
    solver = cl.Solver(net, data.train, data.val, **settings)
    solver.train(epochs=2 if "--quick" in sys.argv[1:] else 20)
    net.save("own_folder.safetensors", classes=data.classes)
    print(f"test accuracy: {solver.evaluate(*data.test)['accuracy']:.1%}")

    file = min((folder / data.classes[0]).iterdir())
    p = net.predict_proba(cl.datasets.read_image(file, 32)[np.newaxis])[0]
    print(f"{file}: {data.classes[p.argmax()]} {p.max():.1%}")


if __name__ == "__main__":
    main()
