"""The Beam runners: a module or package for each."""
