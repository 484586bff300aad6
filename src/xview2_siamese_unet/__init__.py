"""xView2 Siamese U-Net: finds damaged buildings in pairs of satellite images."""

__version__ = "0.1.0"
