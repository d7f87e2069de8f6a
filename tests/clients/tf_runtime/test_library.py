"""TensorFlow's C library is bound only where its binary interface is the one that is declared."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import pytest

from transforms.clients.tf_runtime.library import _FUNCTIONS, bind, library
from transforms.errors import ConfigError


class Function:
    """A function of a library; ctypes lets ``restype`` and ``argtypes`` be set on one."""

    restype: Any = None
    argtypes: Any = None

    def __init__(self, work: Any):
        self.work = work

    def __call__(self, *arguments: Any) -> Any:
        return self.work(*arguments)


def stand_in(version: bytes | None, *, without: str = "", **functions: Any) -> Any:
    """The real library's string functions under a version of our choice, some replaced."""
    real = library()
    names = {name: getattr(real, name) for name in _FUNCTIONS if name.startswith("TF_String")}
    rest = {name: Function(lambda *_: None) for name in _FUNCTIONS if name not in names}
    names |= rest | {"TF_Version": Function(lambda: version)} | {name: Function(work) for name, work in functions.items()}
    names.pop(without, None)
    return SimpleNamespace(**names)


def test_the_installed_one_is_bound() -> None:
    assert library().TF_Version().startswith(b"2.")


@pytest.mark.parametrize("version", [b"2.17.0", b"2.21.0-rc1", b"2.40.3"])
def test_versions_of_the_same_major_are_taken(version: bytes) -> None:
    """TensorFlow promises a compatible C API within a major version."""
    bind(stand_in(version))


@pytest.mark.parametrize("version", [b"3.0.0", b"2.16.2", b"1.15.5", b"nightly", b"", None])
def test_others_are_refused_with_the_versions_that_were_tested(version: bytes | None) -> None:
    name = (version or b"unknown").decode()
    with pytest.raises(ConfigError, match=rf"TensorFlow {name} may have another binary interface; .* 2\.17 to 2\.21"):
        bind(stand_in(version))


@pytest.mark.parametrize("name", ["TF_Version", "TF_SessionRun"])
def test_a_function_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"TensorFlow (2\.30\.0|unknown) has no {name}; .* 2\.17 to 2\.21"):
        bind(stand_in(b"2.30.0", without=name))


def test_another_layout_of_strings_is_refused() -> None:
    """One that writes beyond the 24 bytes that we give each."""

    def init(room: Any) -> None:
        ctypes.memset(room, 0, 24)
        ctypes.memset(ctypes.addressof(room) + 24, 1, 8)

    with pytest.raises(ConfigError, match=r"TensorFlow 2\.30\.0 has another layout of strings; .* 2\.17 to 2\.21"):
        bind(stand_in(b"2.30.0", TF_StringInit=init))
