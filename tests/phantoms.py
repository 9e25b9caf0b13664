"""A small data set of synthetic chests, with the layout and file names of the Kaggle data set."""

from pathlib import Path

from PIL import Image

from training.phantom import draw

SIZE = 64


def write(folder: Path, *, patients: int, first: int = 1, opacity: float = 2.5) -> None:
    """`patients` of each class with two images each into `folder/NORMAL` and `folder/PNEUMONIA`."""
    for label, density in (("NORMAL", 0.0), ("PNEUMONIA", opacity)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for patient in range(first, first + patients):
            for number in (1, 2):
                kind = "bacteria" if patient % 2 else "virus"
                name = f"IM-{patient:04}-{number:04}" if density == 0 else f"person{patient}_{kind}_{number}"
                seed = 1000 * patient + 10 * number + round(density)
                image = Image.fromarray(draw(seed, opacity=density, size=SIZE))
                image.save(folder / label / f"{name}.jpeg", quality=90)


def write_data_set(folder: Path, patients: int = 24, opacity: float = 2.5) -> Path:
    """`train`, `test` and a `val` that is too small to use."""
    write(folder / "train", patients=patients, opacity=opacity)
    write(folder / "test", patients=6, first=500, opacity=opacity)
    write(folder / "val", patients=1, first=900, opacity=opacity)
    return folder
