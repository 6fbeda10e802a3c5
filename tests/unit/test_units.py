"""Rates, sizes, durations and the error tree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import errors
from lab.errors import LabError, Mistake, TopologyError
from lab.units import Duration, Rate, Size

RATES: list[tuple[str | int | float, int]] = [
    ("0", 0),
    ("1", 1),
    ("1500", 1500),
    (1_000_000, 1_000_000),
    (2.5, 2),
    ("10bit", 10),
    ("1k", 1_000),
    ("250kbit", 250_000),
    ("250 kbit/s", 250_000),
    ("250 KBIT/S", 250_000),
    ("100M", 100_000_000),
    ("100Mbit", 100_000_000),
    ("10G", 10_000_000_000),
    ("10g", 10_000_000_000),
    ("2.5G", 2_500_000_000),
    ("10 Gbit/s", 10_000_000_000),
    ("  1G  ", 1_000_000_000),
    ("0.5k", 500),
]
SIZES: list[tuple[str | int | float, int]] = [
    (0, 0),
    (1500, 1500),
    ("1500B", 1500),
    ("1KB", 1024),
    ("10240 KB", 10_485_760),
    ("1MB", 1_048_576),
    ("1mb", 1_048_576),
    ("1.5MB", 1_572_864),
    ("2GB", 2_147_483_648),
]
DURATIONS: list[tuple[str | int | float, float]] = [
    (0, 0.0),
    (2.5, 2.5),
    ("30", 30.0),
    ("30s", 30.0),
    ("5ms", 0.005),
    ("250 us", 0.00025),
    ("7ns", 7e-9),
    ("2min", 120.0),
    ("1.5h", 5400.0),
    ("1H", 3600.0),
]
NONSENSE = ["", " ", "G", "-1G", "+1", "1,5G", "1.G", ".5", "1e9", "1_000", "0x10", "ten", "1 0", "1GG", "١", "1\n2"]


@pytest.mark.parametrize(("text", "bits"), RATES, ids=repr)
def test_a_rate_is_read_with_decimal_prefixes(text: str | int | float, bits: int) -> None:
    assert Rate.parse(text).bits == bits


@pytest.mark.parametrize(("text", "size"), SIZES, ids=repr)
def test_a_size_is_read_with_binary_prefixes(text: str | int | float, size: int) -> None:
    assert Size.parse(text).bytes == size


@pytest.mark.parametrize(("text", "seconds"), DURATIONS, ids=repr)
def test_a_duration_is_read_as_seconds(text: str | int | float, seconds: float) -> None:
    assert Duration.parse(text).seconds == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize("text", NONSENSE, ids=repr)
@pytest.mark.parametrize("unit", [Rate, Size, Duration])
def test_nonsense_is_refused_and_quoted(unit: type[Rate | Size | Duration], text: str) -> None:
    with pytest.raises(ValueError) as caught:
        unit.parse(text)
    assert str(caught.value).startswith(f"{text!r} is not a {unit.__name__.lower()}")


@pytest.mark.parametrize(
    ("unit", "text"),
    [(Rate, "1MB"), (Rate, "1s"), (Size, "1M"), (Size, "1s"), (Duration, "1G"), (Duration, "1KB"), (Duration, "1m")],
    ids=str,
)
def test_another_quantity_s_unit_is_refused(unit: type[Rate | Size | Duration], text: str) -> None:
    with pytest.raises(ValueError, match="a number and one of"):
        unit.parse(text)


@pytest.mark.parametrize("value", [True, False, None, [], float("nan"), float("inf"), -1, -0.5], ids=repr)
@pytest.mark.parametrize("unit", [Rate, Size, Duration])
def test_what_is_no_amount_is_refused(unit: type[Rate | Size | Duration], value: str) -> None:
    with pytest.raises(ValueError):
        unit.parse(value)


def test_the_message_names_the_units() -> None:
    with pytest.raises(ValueError) as caught:
        Rate.parse("10X")
    assert str(caught.value) == "'10X' is not a rate (a number and one of bit, k, kbit, m, mbit, g, gbit)"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Rate(0), "0"),
        (Rate(999), "999"),
        (Rate(1_000), "1k"),
        (Rate(1_500), "1.5k"),
        (Rate(100_000_000), "100M"),
        (Rate(10_000_000_000), "10G"),
        (Rate(2_500_000_000), "2.5G"),
        (Size(0), "0"),
        (Size(1_023), "1023"),
        (Size(1_024), "1KB"),
        (Size(1_572_864), "1.5MB"),
        (Size(2_147_483_648), "2GB"),
        (Duration(0), "0s"),
        (Duration(0.005), "5ms"),
        (Duration(0.25), "250ms"),
        (Duration(1), "1s"),
        (Duration(2.5), "2.5s"),
    ],
    ids=str,
)
def test_a_quantity_is_written_with_the_largest_unit_that_fits(value: Rate | Size | Duration, text: str) -> None:
    assert str(value) == text
    assert type(value).parse(text) == value


@given(number=st.integers(0, 999), prefix=st.sampled_from(["", "k", "M", "G"]))
def test_a_round_rate_survives_writing_and_reading(number: int, prefix: str) -> None:
    rate = Rate.parse(f"{number}{prefix}")
    assert Rate.parse(str(rate)) == rate


@given(st.text(max_size=12))
def test_any_text_is_an_amount_or_a_value_error(text: str) -> None:
    for unit in (Rate, Size, Duration):
        try:
            assert unit.parse(text) >= unit(0)  # type: ignore[operator]
        except ValueError as error:
            assert repr(text) in str(error)


@pytest.mark.parametrize(
    ("bits", "factor", "scaled"),
    [(10**10, 0.01, 10**8), (10**10, 1.0, 10**10), (15, 0.1, 2), (1, 0.01, 0)],
    ids=str,
)
def test_a_rate_is_scaled_to_whole_bits(bits: int, factor: float, scaled: int) -> None:
    assert Rate(bits).scaled(factor) == Rate(scaled)


def test_quantities_have_an_order() -> None:
    assert Rate.parse("1G") > Rate.parse("999M")
    assert Size.parse("1MB") > Size.parse("1023KB")
    assert Duration.parse("1min") > Duration.parse("59s")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("UsageError", 2),
        ("TopologyError", 3),
        ("MachineLacks", 4),
        ("SystemRefused", 5),
        ("CannotTell", 6),
        ("LabBug", 70),
    ],
)
def test_an_error_s_class_decides_the_exit_code(name: str, code: int) -> None:
    kind: type[LabError] = getattr(errors, name)
    assert issubclass(kind, LabError)
    assert kind.exit_code == code


def test_whose_move_it_is_can_be_told_by_the_exit_code() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LabError)]
    codes = [kind.exit_code for kind in kinds if kind not in (LabError, errors.LabBug)]
    assert len(codes) >= 5
    assert len(set(codes)) == len(codes)
    assert not {0, 1} & set(codes)


@pytest.mark.parametrize(
    ("mistake", "text"),
    [
        (Mistake(3, 7, "vms.web1.host", "no host 'x'", "did you mean 'y'?"),
         "lab.yaml:3:7: vms.web1.host: no host 'x' (did you mean 'y'?)"),
        (Mistake(3, 7, "vms.web1.host", "no host 'x'"), "lab.yaml:3:7: vms.web1.host: no host 'x'"),
        (Mistake(1, 1, "", "the file is empty", "write it"), "lab.yaml:1:1: the file is empty (write it)"),
        (Mistake(0, 0, "", "unreadable"), "lab.yaml:0:0: unreadable"),
    ],
    ids=["all parts", "no hint", "no path", "neither"],
)  # fmt: skip
def test_a_mistake_is_one_line_that_an_editor_can_jump_to(mistake: Mistake, text: str) -> None:
    assert mistake.text("lab.yaml") == text


def test_a_topology_error_tells_every_mistake_in_file_order() -> None:
    found = [Mistake(9, 1, "b", "x"), Mistake(2, 5, "c", "x"), Mistake(2, 3, "d", "y"), Mistake(2, 3, "a", "x")]
    error = TopologyError("f", found)
    assert [(m.line, m.column, m.path) for m in error.mistakes] == [(2, 3, "a"), (2, 3, "d"), (2, 5, "c"), (9, 1, "b")]
    assert str(error).splitlines() == [m.text("f") for m in error.mistakes]
