import pytest

from fairtune.units import format_bytes, format_count, format_seconds, parse_bytes, parse_seconds


@pytest.mark.parametrize(
    ("text", "count"), [("20GiB", 20 * 2**30), ("8 GB", 8 * 10**9), ("1.5kib", 1536), (4096, 4096), ("2e3", 2000)]
)
def test_bytes_are_read_in_both_systems(text, count):
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["20 Gigs", "-1GiB", "0", "", "GiB", True, "1h"])
def test_what_is_not_an_amount_of_memory_is_refused_with_examples(text):
    with pytest.raises(ValueError, match="is not an amount; write for example 20GiB"):
        parse_bytes(text)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30min", 1800), ("2h", 7200), (5, 5), ("1.5m", 90)])
def test_times_are_read(text, seconds):
    assert parse_seconds(text) == seconds


def test_amounts_are_written_for_people():
    assert [format_bytes(n) for n in (None, 12, 2048, 5 * 2**20, 3 * 2**29)] == [
        "–",
        "12 B",
        "2 KiB",
        "5 MiB",
        "1.50 GiB",
    ]
    assert [format_seconds(s) for s in (None, 4.21, 59.97, 125, 3725)] == ["–", "4.2s", "1m 00s", "2m 05s", "1h 02m"]
    assert [format_count(n) for n in (None, 7, 12_000, 134_515_008)] == ["–", "7", "12.0k", "134.5M"]
