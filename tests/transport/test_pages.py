"""Files that are served beside the sockets."""

from __future__ import annotations

from collections.abc import Mapping

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


def test_the_demo_serves_its_page() -> None:
    response = get(demo_endpoint(port=0)._routes, "/")
    assert b"<!doctype html>" in bytes(response.body).lower()
