"""One module or folder a Beam runner."""
