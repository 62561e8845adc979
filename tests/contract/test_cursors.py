"""What the record of how far readers have come promises."""


async def test_a_reader_that_never_wrote_has_no_place(ports):
    assert await ports.cursors.read("mqtt") is None


async def test_a_reader_finds_its_place_again(ports):
    await ports.cursors.write("mqtt", 5)

    assert await ports.cursors.read("mqtt") == 5
    assert await ports.cursors.read("sse") is None


async def test_a_place_is_never_taken_back(ports):
    await ports.cursors.write("mqtt", 7)

    await ports.cursors.write("mqtt", 6)

    assert await ports.cursors.read("mqtt") == 7


async def test_zero_is_a_place_too(ports):
    await ports.cursors.write("mqtt", 0)

    assert await ports.cursors.read("mqtt") == 0


async def test_places_go_beyond_what_four_bytes_hold(ports):
    await ports.cursors.write("mqtt", 2**40)

    assert await ports.cursors.read("mqtt") == 2**40
