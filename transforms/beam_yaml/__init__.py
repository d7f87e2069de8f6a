"""Steps for Beam YAML: ``ReadFromKafkaNative``, ``ScoreWithModel`` and ``WriteToKafkaNative``, whose elements are rows.

A pipeline's ``providers:`` names them (``type: python``, without ``packages``), and Beam calls them in its own process: no
environment is made for them, nothing is downloaded, and no Java is needed.
"""

from transforms.beam_yaml.score import ScoreWithModel
from transforms.beam_yaml.sink import WriteToKafkaNative
from transforms.beam_yaml.source import ReadFromKafkaNative

__all__ = ["ReadFromKafkaNative", "ScoreWithModel", "WriteToKafkaNative"]
