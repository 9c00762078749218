"""Small weights that come with the package, so that a notebook can play before it trains.

One model a family on the 8x8 digits, with a latent of two dimensions. `python -m
vae_edu.pretrained` makes them all again, in minutes on a laptop.
"""

from pathlib import Path

import torch

from vae_edu import data, likelihoods, priors, training
from vae_edu.models import VAE

FOLDER = Path(__file__).parent / "weights"
HIDDEN = (64, 64)
EPOCHS = 200


def load(family: str, images: data.ImageData | None = None) -> VAE:
    """The trained model of a family in `likelihoods.FAMILIES`, on the digits.

    `images` saves loading the digits again; other data is refused.
    """
    if family not in likelihoods.FAMILIES:
        raise ValueError(f"no likelihood {family!r}; choose one of {list(likelihoods.FAMILIES)}")
    path = FOLDER / f"digits-{family}.safetensors"
    return training.load(path, data.load("digits") if images is None else images)


def make(family: str, images: data.ImageData, bar: bool = True) -> VAE:
    """Train the family's model as the shipped one was trained, and return it."""
    torch.manual_seed(0)
    model = VAE(priors.standard_normal(2), likelihoods.make(family, images), 2, HIDDEN)
    for _ in training.train(model, images, EPOCHS, bar=bar):
        pass
    return model


def main() -> None:
    torch.set_num_threads(1)  # on small models threads wait for each other longer than they work
    images = data.load("digits")
    for family in likelihoods.FAMILIES:
        print(family)
        training.save(make(family, images), FOLDER / f"digits-{family}.safetensors")


if __name__ == "__main__":
    main()
