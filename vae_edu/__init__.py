"""vae_edu: what p(x|z) is in a variational autoencoder, every approximation beside the truth."""

__version__ = "0.1.0"
