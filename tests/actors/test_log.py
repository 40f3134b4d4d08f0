"""What is logged does not harm the code that logs it, whatever values, handlers and filters raise."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from actors.log import Log
from actors.redaction import LINE, LONGEST, Lines, Shown, class_name, error_text, function_name, safe_repr, safe_str

NAME = "ashtree.test_log"
ERRORS: list[type[BaseException]] = [ValueError, RecursionError, asyncio.CancelledError, SystemExit, GeneratorExit]
every_error = pytest.mark.parametrize("error", ERRORS)


class Meta(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]  # as authors may
        raise ValueError("a name that raises")


class Text(str):
    """Returned by a `__str__`; raises wherever it is used."""

    __slots__ = ()

    def __format__(self, _spec: str) -> str:
        raise ValueError("format")

    def __len__(self) -> int:
        raise ValueError("len")

    def __getitem__(self, _index: Any) -> str:
        raise ValueError("item")


def hostile(raised: type[BaseException] | None, returned: Any = None) -> BaseException:
    def text(_self: object) -> Any:
        if raised is not None:
            raise raised("in a text")
        return returned

    return Meta("Hostile", (Exception,), {"__str__": text, "__repr__": text})()  # type: ignore[no-any-return]  # an exception


class Raising(logging.Handler):
    """Raises at each record."""

    def __init__(self, error: type[BaseException]) -> None:
        super().__init__()
        self.error = error

    def emit(self, _record: logging.LogRecord) -> None:
        raise self.error("in a handler")


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger(NAME)
    yield logger
    logger.handlers.clear()
    logger.filters.clear()


@every_error
def test_a_text_that_raises_is_replaced(error: type[BaseException]) -> None:
    value = hostile(error)
    assert safe_str(value) == safe_repr(value) == "<Hostile that cannot be shown>"
    assert error_text(value) == "Hostile (what it says cannot be shown)"
    assert class_name(value) == "Hostile"


@pytest.mark.parametrize("returned", [None, 3, b"bytes"], ids=repr)
def test_a_text_that_is_none_is_replaced(returned: object) -> None:
    assert safe_str(hostile(None, returned)) == "<Hostile that cannot be shown>"


def test_a_text_is_a_plain_str_and_bounded() -> None:
    assert safe_str(hostile(None, Text("mine"))) == "mine"
    assert type(safe_str(hostile(None, Text("mine")))) is str
    assert len(error_text(ValueError("x" * 10**6))) < 3000
    assert len(safe_repr("x" * 10**6)) < 3000


def test_an_interruption_in_a_text_is_not_swallowed() -> None:
    with pytest.raises(KeyboardInterrupt):
        safe_str(hostile(KeyboardInterrupt))


def test_the_name_of_a_callable_object_may_raise() -> None:
    class Odd:
        def __getattr__(self, name: str) -> Any:
            raise SystemExit(name)

    assert function_name(Odd()) == "Odd"
    assert function_name(test_the_name_of_a_callable_object_may_raise).startswith("test_the_name")


def test_a_record_is_as_the_logging_module_makes_it(caplog: pytest.LogCaptureFixture) -> None:
    Log(NAME).warning("%s has %d %r, %.1f", "it", 3, "things", 2.5)
    [record] = caplog.records
    assert record.getMessage() == "it has 3 'things', 2.5"
    assert (record.name, record.levelno, record.filename) == (NAME, logging.WARNING, "test_log.py")
    assert record.funcName == "test_a_record_is_as_the_logging_module_makes_it"


@every_error
def test_a_value_that_cannot_be_shown_is_logged_as_such(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    value = hostile(error)
    Log(NAME).error("got %s and %r", value, value, exc_info=value)
    assert caplog.messages == ["got <Hostile that cannot be shown> and <Hostile that cannot be shown>"]


@every_error
def test_a_handler_that_raises_harms_only_the_record(
    error: type[BaseException], logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logger.addHandler(Raising(error))
    Log(NAME).error("a report")
    assert "in a handler" in capsys.readouterr().err


@every_error
def test_a_filter_that_raises_harms_only_the_record(error: type[BaseException], logger: logging.Logger) -> None:
    def refuse(_record: logging.LogRecord) -> bool:
        raise error

    logger.addFilter(refuse)
    Log(NAME).error("a report")


def test_stderr_is_left_alone_as_logging_is_told(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    logger.addHandler(Raising(ValueError))
    Log(NAME).error("a report")
    assert capsys.readouterr().err == ""


def test_a_level_that_is_off_costs_no_text() -> None:
    logging.getLogger(NAME).setLevel(logging.ERROR)
    try:
        Log(NAME).info("%s", hostile(KeyboardInterrupt))
        assert not Log(NAME).is_enabled_for(logging.INFO)
    finally:
        logging.getLogger(NAME).setLevel(logging.NOTSET)


# What clients choose


class Kept(logging.Handler):
    """Keeps the text of each record."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(filename)s %(funcName)s %(message)s"))
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


@pytest.fixture
def kept(logger: logging.Logger) -> Kept:
    handler = Kept()
    logger.addHandler(handler)
    return handler


FORGED = "a\n2030-01-01 forged\x1b[2J\u2028\u202e"
ESCAPED = "a\\n2030-01-01 forged\\x1b[2J\\u2028\\u202e"


def test_each_value_of_a_record_is_one_printable_line(kept: Kept) -> None:
    Log(NAME).warning("%s %r %s %s", FORGED, FORGED, ValueError(FORGED), Shown(FORGED))
    here = test_each_value_of_a_record_is_one_printable_line.__name__
    assert kept.texts == [f"test_log.py {here} {ESCAPED} '{ESCAPED}' {ESCAPED} {ESCAPED}"]


def test_each_value_of_a_record_is_bounded(kept: Kept) -> None:
    long = "\x00" * 10**6
    Log(NAME).warning("%s %r %s %s", long, long, ValueError(long), Lines(long))
    assert len(kept.texts[0]) < 3 * (LINE + 10) + LONGEST + 200


def test_lines_of_ours_stay_lines(kept: Kept) -> None:
    Log(NAME).warning("a stack:\n%s", Lines("  one\n  two\x1b"))
    assert kept.texts[0].split("\n")[1:] == ["  one", "  two\\x1b"]


def raised(error: BaseException) -> BaseException:
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def with_note(note: Any) -> BaseException:
    error = ValueError("noted")
    error.add_note(note)
    return error


def with_cause(cause: BaseException) -> BaseException:
    error = RuntimeError("caused")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        ValueError(FORGED),
        KeyError(FORGED),
        with_note(FORGED),
        with_cause(ValueError(FORGED)),
        BaseExceptionGroup(FORGED, [ValueError(FORGED), with_note(FORGED)]),
        SyntaxError(FORGED, (FORGED, 1, 1, FORGED)),
        OSError(5, FORGED, FORGED),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_text_of_an_exception_forges_no_line(kept: Kept, error: BaseException) -> None:
    Log(NAME).error("failed", exc_info=raised(error))
    lines = kept.texts[0].split("\n")
    assert all(line.isprintable() for line in lines)
    assert not [line for line in lines if line.startswith("2030")]
    assert "forged" in kept.texts[0]


def test_the_text_of_an_exception_is_bounded(kept: Kept) -> None:
    Log(NAME).error("failed", exc_info=raised(with_cause(raised(ValueError("\n" * 10**6)))))
    assert len(kept.texts[0]) < 10 * LINE


def test_a_formatter_with_tracebacks_of_its_own_is_used(kept: Kept) -> None:
    class Own(logging.Formatter):
        def formatException(self, ei: Any) -> str:  # noqa: N802  # its name
            return f"<{ei[1]!r}>"

    kept.setFormatter(Own())
    Log(NAME).error("failed", exc_info=raised(ValueError("harmless")))
    assert kept.texts == ["failed\n<ValueError('harmless')>"]


def test_a_record_with_an_exception_has_the_place_of_the_caller(kept: Kept) -> None:
    Log(NAME).error("failed", exc_info=ValueError(FORGED))
    try:
        int(FORGED)
    except ValueError:
        Log(NAME).exception("failed")
    here = test_a_record_with_an_exception_has_the_place_of_the_caller.__name__
    assert [text.split("\n")[0] for text in kept.texts] == [f"test_log.py {here} failed"] * 2
