"""Files that are served beside the sockets."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from demo import demo_endpoint
from transport.http.pages import pages


@pytest.fixture
def package(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a package with a folder of pages."""
    root = tmp_path_factory.mktemp("package")
    folder = root / "some_package_with_pages" / "static"
    (folder / "below").mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "below" / "hidden.txt").touch()
    for name, text in {"index.html": "<p>ü", "a.js": "1", "b.css": "p {}", "c.svg": "<svg/>", "d": "?"}.items():
        (folder / name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(root))
    return "some_package_with_pages"


def get(routes: Mapping[str, object], path: str) -> Response:
    route = routes[path]
    assert callable(route)
    response = route(Request(path, Headers()))
    assert isinstance(response, Response)
    return response


def test_index_is_at_the_root_and_the_rest_below_assets(package: str) -> None:
    routes = pages(package, "static")
    assert sorted(routes) == ["/", "/assets/a.js", "/assets/b.css", "/assets/c.svg", "/assets/d"]


def test_the_paths_can_be_chosen(package: str) -> None:
    routes = pages(package, "static", index="/play", assets="/play/files/")
    assert {"/play", "/play/files/a.js"} < set(routes)


@pytest.mark.parametrize(
    ("path", "body", "content_type"),
    [
        ("/", "<p>ü", "text/html; charset=utf-8"),
        ("/assets/a.js", "1", "text/javascript; charset=utf-8"),
        ("/assets/b.css", "p {}", "text/css; charset=utf-8"),
        ("/assets/c.svg", "<svg/>", "image/svg+xml"),
        ("/assets/d", "?", "application/octet-stream"),
    ],
)
def test_a_page_has_its_type_and_may_load_nothing_from_elsewhere(
    package: str, path: str, body: str, content_type: str
) -> None:
    response = get(pages(package, "static"), path)
    assert (response.status_code, response.body) == (200, body.encode())
    assert response.headers["Content-Type"] == content_type
    assert response.headers["Content-Length"] == str(len(body.encode()))
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert "unsafe" not in response.headers["Content-Security-Policy"]


def test_each_answer_is_a_new_one(package: str) -> None:
    routes = pages(package, "static")
    assert get(routes, "/") is not get(routes, "/")


@pytest.mark.parametrize(("name", "folder"), [("transport", "nowhere"), ("no_such_package", "static")])
def test_what_is_not_there_is_an_error(name: str, folder: str) -> None:
    with pytest.raises((FileNotFoundError, ModuleNotFoundError), match=f"{folder}|{name}"):
        pages(name, folder)


def test_a_folder_is_given_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "a.js").touch()
    assert list(pages(tmp_path / "static")) == ["/assets/a.js"]
    monkeypatch.chdir(tmp_path)
    assert list(pages("static")) == ["/assets/a.js"]


def test_a_folder_is_beside_a_module_and_beside_the_program(tmp_path: Path) -> None:
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "a.js").touch()
    (tmp_path / "shop.py").write_text("from ashtree import pages\nprint(list(pages(__name__, 'static')))\n")
    (tmp_path / "use.py").write_text("import shop\n")
    for program in ("shop.py", "use.py"):
        done = subprocess.run(  # noqa: S603  # our own program
            [sys.executable, tmp_path / program], capture_output=True, text=True, check=True, timeout=60, cwd=tmp_path
        )
        assert done.stdout == "['/assets/a.js']\n"


def test_where_there_is_no_file_a_folder_needs_its_path() -> None:
    program = "from ashtree import pages\npages('__main__', 'static')"
    done = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr.splitlines()[-1] == (
        "FileNotFoundError: '__main__' has no file, and so no folder beside it; give the path of a folder, such as "
        'pages(Path(__file__).parent / "static")'
    )


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, package: str) -> None:
    with pytest.raises(FileNotFoundError, match=f"there is no folder '{tmp_path}/nowhere'; give the path of a folder"):
        pages(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=f"there is no folder 'nowhere' in '{package}': .*; give the path"):
        pages(package, "nowhere")


def test_the_demo_serves_its_page() -> None:
    response = get(demo_endpoint(port=0)._routes, "/")
    assert b"<!doctype html>" in bytes(response.body).lower()
