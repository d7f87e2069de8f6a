"""The command line: flags, their checks, and the frozen ``Config`` made of them."""
