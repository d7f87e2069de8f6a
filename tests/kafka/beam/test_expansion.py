"""The jars of the expansion service: from a repository, by hash; and what is said without Java."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from transforms.cache import CACHE_VARIABLE
from transforms.errors import ContractError
from transforms.kafka.beam.expansion.jars import REPOSITORY_VARIABLE, Jar, install, locked_jars
from transforms.kafka.beam.expansion.make_lock import lock_lines
from transforms.kafka.beam.expansion.service import classpath, find_java

CONTENT = {"org.a:one:1.0": b"first", "org.a.b:two:2.0-jre": b"second"}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Maven repository in a folder, and an empty cache."""
    for jar in jars():
        path = tmp_path / "maven" / jar.path
        path.parent.mkdir(parents=True)
        path.write_bytes(CONTENT[jar.coordinates])
    monkeypatch.setenv(REPOSITORY_VARIABLE, (tmp_path / "maven").as_uri())
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "maven"


def jars() -> list[Jar]:
    return [Jar(name, hashlib.sha256(content).hexdigest(), len(content)) for name, content in CONTENT.items()]


def test_jars_are_downloaded_once_with_progress(repository: Path) -> None:
    said: list[str] = []
    files = install(jars(), said.append)
    assert [file.read_bytes() for file in files] == list(CONTENT.values())
    assert files[0].parent == repository.parent / "cache" / "jars"
    assert "2 jars" in said[0]
    assert len(said) > 1, "how far it is"
    said.clear()
    assert install(jars(), said.append) == files
    assert said == [], "there already"


def test_a_folder_that_can_not_be_written_is_named(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, "/proc/none")
    with pytest.raises(ContractError, match=f"/proc/none/jars: can't be written .* by {CACHE_VARIABLE}"):
        install(jars(), print)


def test_a_jar_that_was_changed_is_had_anew(repository: Path) -> None:
    [first, _] = install(jars(), print)
    first.write_bytes(b"FIRST")
    install(jars(), print)
    assert first.read_bytes() == b"first"


def test_a_jar_that_is_not_the_locked_one_is_not_used(repository: Path) -> None:
    (repository / jars()[1].path).write_bytes(b"wicked")
    with pytest.raises(ContractError, match="is not the file that was locked"):
        install(jars(), print)
    left = {path.name for path in (repository.parent / "cache" / "jars").iterdir()}
    assert left <= {"one-1.0.jar"}, "no halves; the other one is there if its download had begun"


def test_without_the_repository_the_cures_are_named(repository: Path) -> None:
    (repository / jars()[0].path).unlink()
    with pytest.raises(ContractError, match="--kafka_io=native") as caught:
        install(jars(), print)
    assert REPOSITORY_VARIABLE in str(caught.value)
    assert "--expansion_service=HOST:PORT" in str(caught.value)


def test_the_lock_file_names_what_runs() -> None:
    found = {jar.coordinates.rsplit(":", 1)[0]: jar for jar in locked_jars()}
    for name in ("beam-sdks-java-expansion-service", "beam-sdks-java-harness", "beam-sdks-java-io-kafka"):
        assert found[f"org.apache.beam:{name}"].coordinates.endswith(":2.73.0")
    assert found["org.apache.kafka:kafka-clients"].coordinates.endswith(":3.9.0")
    assert not [name for name in found if name.startswith("io.confluent")]
    assert all(len(jar.sha256) == 64 and jar.size > 0 for jar in found.values())
    assert len({jar.name for jar in found.values()}) == len(found), "they lie in one folder"


def test_a_lock_line_is_what_is_read_again(repository: Path, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text("# a comment\n" + "\n".join(lock_lines(repository)))
    assert sorted(locked_jars(lock), key=str) == sorted(jars(), key=str)


def test_without_java_the_error_names_the_other_implementation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ContractError, match=r"no java on the PATH.*--kafka_io=native"):
        find_java()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(ContractError, match=r"has no bin/java"):
        find_java()


def test_beams_own_jar_is_taken_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    jar = tmp_path / ".apache_beam" / "cache" / "jars" / "beam-sdks-java-io-expansion-service-2.73.0.jar"
    jar.parent.mkdir(parents=True)
    jar.write_bytes(b"")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert classpath(print) == [jar]
