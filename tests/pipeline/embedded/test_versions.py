"""Versions that come and go while the embedded model server runs, as with TensorFlow Serving."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.embedded.digits import MODEL_DIR
from pipeline.embedded.servable import AVAILABLE, END, Models, Servable, VersionState
from pipeline.embedded.server_config import ModelConfig
from tests.pipeline.embedded.servers import Served, model_server
from transforms.clients.tf_runtime.serving_error import Code, ServingError
from transforms.clients.tfserving.messages import PredictRequest

NO_MODEL = ServingError(Code.INVALID_ARGUMENT, "model m: no graph")


class Loads:
    """Loads folders that say ``good``; remembers what it was asked for."""

    def __init__(self) -> None:
        self.loaded: list[int] = []

    def __call__(self, name: str, version: int, folder: Path) -> Servable:
        self.loaded.append(version)
        if (folder / "saved_model.pb").read_text() != "good":
            raise NO_MODEL
        session: Any = None
        return Servable(name, version, session, {})


@dataclasses.dataclass
class Folder:
    path: Path

    def put(self, version: int, content: str = "good") -> None:
        folder = self.path / str(version)
        folder.mkdir(exist_ok=True)
        (folder / "saved_model.pb").write_text(content)

    def remove(self, version: int) -> None:
        shutil.rmtree(self.path / str(version))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path)
    made.put(1)
    return made


def models(folder: Folder, loads: Loads | None = None, **config: Any) -> tuple[Models, list[str]]:
    said: list[str] = []
    return Models([ModelConfig("m", folder.path, **config)], loads or Loads(), said.append), said


def look(models: Models, times: int = 2) -> None:
    """A version is loaded at the second look that finds the same files."""
    for _ in range(times):
        models.refresh()


def spec(version: int = 0) -> Any:
    asked = PredictRequest().model_spec
    asked.name = "m"
    if version:
        asked.version.value = version
    return asked


def test_a_new_version_takes_the_place_of_the_old_one(folder: Folder) -> None:
    served, said = models(folder)
    folder.put(2)
    look(served, 1)
    assert served.names == {"m": [1]}, "it may be in the middle of being copied"
    look(served, 1)
    assert served.names == {"m": [2]}
    assert served.find(spec()).version == 2
    assert served.states(spec()) == [VersionState(2, AVAILABLE), VersionState(1, END)]
    assert said == ["model m: serves 2; unloaded 1"]
    look(served)
    assert len(said) == 1


def test_a_version_whose_files_still_grow_is_left_alone(folder: Folder) -> None:
    loads = Loads()
    served, _ = models(folder, loads)
    folder.put(2)
    for number in range(4):
        (folder.path / "2" / "variables").write_text("x" * number)
        look(served, 1)
    assert loads.loaded == [1]
    look(served, 1)
    assert served.names == {"m": [2]}


def test_a_version_that_can_not_be_loaded_leaves_the_old_one_and_is_tried_again_when_it_changes(folder: Folder) -> None:
    loads = Loads()
    served, said = models(folder, loads)
    folder.put(2, "bad")
    look(served, 4)
    assert (served.names, loads.loaded) == ({"m": [1]}, [1, 2])
    assert served.states(spec(2)) == [VersionState(2, END, NO_MODEL)]
    assert said == ["model m: no graph; it is tried again when its files change"]
    folder.put(2, "good")
    look(served)
    assert served.names == {"m": [2]}
    assert served.states(spec(2)) == [VersionState(2, AVAILABLE)]


def test_back_again(folder: Folder) -> None:
    folder.put(2)
    served, _ = models(folder)
    folder.remove(2)
    look(served)
    assert served.names == {"m": [1]}
    assert served.states(spec()) == [VersionState(2, END), VersionState(1, AVAILABLE)]


def test_without_any_folder_nothing_is_served(folder: Folder) -> None:
    served, said = models(folder)
    folder.remove(1)
    look(served)
    assert served.names == {"m": []}
    with pytest.raises(ServingError, match="Servable not found"):
        served.find(spec())
    assert said == ["model m: serves nothing; unloaded 1"]


def test_labelled_and_all_versions_stay(folder: Folder) -> None:
    labelled, _ = models(folder, labels={"stable": 1})
    every, _ = models(folder, all_versions=True)
    folder.put(2)
    look(labelled)
    look(every)
    assert labelled.names == every.names == {"m": [1, 2]}


def test_who_has_a_version_keeps_it(folder: Folder) -> None:
    """Its session is freed when the last request has let it go, not when the version is unloaded."""
    served, _ = models(folder)
    kept = served.find(spec())
    folder.put(2)
    look(served)
    assert kept.version == 1
    assert served.find(spec()).version == 2


def wait_until(served: Served, what: str, states: dict[str, str]) -> None:
    deadline = time.monotonic() + 60
    found: dict[str, str] = {}
    while found != states:
        assert time.monotonic() < deadline, f"{what}: {found}"
        status, body = served.rest("/v1/models/digits")
        assert status == 200
        found = {entry["version"]: entry["state"] for entry in json.loads(body)["model_version_status"]}


def test_over_the_network(tmp_path: Path) -> None:
    """Loaded, asked, taken away, and freed: by the real TensorFlow."""
    folder = tmp_path / "digits"
    shutil.copytree(MODEL_DIR / "1", folder / "1")
    with model_server({"digits": folder}, poll_s=0.05) as served:

        def predicts(version: str) -> int:
            return served.rest(f"/v1/models/digits{version}/metadata")[0]

        assert predicts("/versions/1") == 200
        shutil.copytree(MODEL_DIR / "1", folder / "7")
        wait_until(served, "a new version", {"7": "AVAILABLE", "1": "END"})
        assert (predicts("/versions/7"), predicts("/versions/1"), predicts("")) == (200, 404, 200)
        shutil.copytree(MODEL_DIR / "1", folder / "8")
        (folder / "8" / "saved_model.pb").write_bytes(b"broken")
        wait_until(served, "one that can't be loaded", {"8": "END", "7": "AVAILABLE", "1": "END"})
        _, body = served.rest("/v1/models/digits/versions/8")
        assert json.loads(body)["model_version_status"][0]["status"]["error_code"] != "OK"
        assert predicts("") == 200
