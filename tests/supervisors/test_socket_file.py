"""A Unix socket at a path: its mode, what it replaces, and what it removes at the end."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from supervisors.socket_file import SocketFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "server.sock"


def opened(path: Path, *, mode: int = 0o600, replace: bool = False) -> SocketFile:
    return SocketFile(str(path), mode=mode, backlog=5, replace=replace)


def reaches(path: Path, server: SocketFile) -> bool:
    """Return whether a client that connects to a path waits for a server."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        try:
            server.listening.accept()[0].close()
        except BlockingIOError:
            return False
    return True


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_it_has_its_mode_and_goes_with_its_server(path: Path, mode: int, *, replace: bool) -> None:
    server = opened(path, mode=mode, replace=replace)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert reaches(path, server)
    server.close()
    server.close()
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("replace", [False, True])
def test_that_of_a_dead_server_is_replaced(path: Path, *, replace: bool) -> None:
    opened(path).listening.close()
    assert path.exists()
    server = opened(path, replace=replace)
    assert reaches(path, server)
    server.close()
    assert not path.exists()


def test_that_of_a_running_server_is_replaced_only_if_that_is_wanted(path: Path) -> None:
    old = opened(path)
    with pytest.raises(OSError, match="a running server has it"):
        opened(path)
    assert reaches(path, old)
    new = opened(path, replace=True)
    assert reaches(path, new)
    old.close()
    assert reaches(path, new)
    new.close()
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("replace", [False, True])
def test_another_file_is_left_alone(path: Path, *, replace: bool) -> None:
    path.write_text("precious")
    with pytest.raises(OSError, match="there is a file that is not a socket"):
        opened(path, replace=replace)
    assert [file.read_text() for file in path.parent.iterdir()] == ["precious"]


@pytest.mark.parametrize("replace", [False, True])
def test_a_folder_that_is_missing_is_told(path: Path, *, replace: bool) -> None:
    with pytest.raises(OSError, match="No such file or directory"):
        opened(path / "deeper", replace=replace)


def test_a_server_that_cannot_take_its_place_leaves_nothing_behind(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr("os.rename", fail)
    with pytest.raises(OSError, match="not permitted"):
        opened(path, replace=True)
    assert list(path.parent.iterdir()) == []


def test_it_is_removed_from_where_it_is_if_the_working_directory_has_changed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    server = opened(Path(path.name))
    assert path.exists()
    monkeypatch.chdir("/")
    server.close()
    assert not path.exists()


def test_a_client_that_waits_when_the_file_is_removed_can_be_accepted(path: Path) -> None:
    server = opened(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        server.remove()
        assert not path.exists()
        server.listening.accept()[0].close()
    server.close()
