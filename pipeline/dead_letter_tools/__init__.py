"""What can be done with dead letters: look at them (``pipeline.dead_letters``), replay them (``pipeline.replay``)."""
