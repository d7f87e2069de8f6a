"""The dead-letter topic read back: what a dead letter was, which were replayed, and their replay in transactions."""
