"""What an application imports from one place."""

from __future__ import annotations

from importlib import import_module

import pytest

import ashtree

# Each module of the facade, and the packages whose public names are its own.
SOURCES = {
    "ashtree": ("actors", "supervisors", "transport"),
    "ashtree.client": ("transport.client",),
    "ashtree.client.sync": ("transport.client.sync",),
    "ashtree.django": ("transport.django",),
    "ashtree.observer": ("supervisors.observer",),
    "ashtree.sys": ("actors.sys",),
    "ashtree.telemetry": ("actors.telemetry", "actors.propagation"),
    "ashtree.testing": ("actors.testing", "transport.testing"),
}


@pytest.mark.parametrize(("name", "sources"), SOURCES.items(), ids=SOURCES)
def test_the_facade_has_every_public_name_of_the_packages_behind_it(name: str, sources: tuple[str, ...]) -> None:
    facade = import_module(name)
    expected = {
        public: getattr(import_module(source), public) for source in sources for public in import_module(source).__all__
    }
    assert {public: getattr(facade, public) for public in facade.__all__} == expected
    assert len(facade.__all__) == sum(len(import_module(source).__all__) for source in sources)


def test_the_version_is_a_version() -> None:
    assert [part.isdecimal() for part in ashtree.__version__.split(".")] == [True, True, True]
