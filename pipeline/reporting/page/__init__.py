"""The page of ``--status_port``: what a running job does, for a browser on this machine."""
