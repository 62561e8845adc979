import pytest

from tests.fakes import picture

BATCH = "/api/v1/faces/embed/batch"


def files(*contents, name="file"):
    return [(name, (f"{index}.jpg", content)) for index, content in enumerate(contents)]


async def test_every_image_gets_its_answer_in_the_order_sent(client, detector):
    answer = await client.post(BATCH, files=files(picture(2), picture(0), picture(1)))

    results = answer.json()["results"]
    assert [item["index"] for item in results] == [0, 1, 2]
    assert [item["filename"] for item in results] == ["0.jpg", "1.jpg", "2.jpg"]
    assert [len(item["result"]["faces"]) for item in results] == [2, 0, 1]
    assert len(detector.asked) == 1  # one call for all


async def test_a_bad_image_fails_alone(client):
    answer = await client.post(BATCH, files=files(picture(), b"truncated", b"x" * 100_001, b"bomb"))

    assert answer.status_code == 200
    good, *bad = answer.json()["results"]
    assert "error" not in good
    assert [item["error"]["code"] for item in bad] == [
        "truncated_image", "too_many_bytes", "too_many_pixels",
    ]  # fmt: skip
    assert all("result" not in item for item in bad)


async def test_both_spellings_of_the_field_are_read(client):
    form = files(picture()) + files(picture(), name="files")

    answer = await client.post(BATCH, files=form)

    assert len(answer.json()["results"]) == 2


async def test_one_image_too_many_is_413(client, detector):
    answer = await client.post(BATCH, files=files(*[picture()] * 5))

    assert answer.status_code == 413
    assert answer.json()["code"] == "too_many_images"
    assert detector.asked == []


async def test_images_too_large_together_are_413(client):
    answer = await client.post(BATCH, files=files(*[b"x" * 99_000] * 3))

    assert answer.status_code == 413
    assert answer.json()["code"] == "too_many_bytes"


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"files": files(picture(), name="image")}, 422),
        ({"content": picture(), "headers": {"content-type": "image/jpeg"}}, 415),
        ({"json": {"url": "http://here/"}}, 415),
        ({}, 415),
    ],
)
async def test_a_batch_is_a_form_with_files(client, form, status):
    answer = await client.post(BATCH, **form)

    assert answer.status_code == status


async def test_an_unknown_recogniser_fails_the_batch_as_a_whole(client):
    answer = await client.post(BATCH, files=files(picture()), params={"models": "magface"})

    assert answer.status_code == 404


async def test_a_batch_larger_than_all_places_is_too_large_not_badly_timed(connect):
    answer = await connect(max_interactive=2).post(BATCH, files=files(*[picture()] * 3))

    assert answer.status_code == 413


async def test_a_name_that_is_not_utf8_is_told_by_its_bytes(client):
    body = picture()
    head = b'--b\r\ncontent-disposition: form-data; name="file"; filename="th\xe9.jpg"\r\n\r\n'

    answer = await client.post(
        BATCH,
        content=head + body + b"\r\n--b--\r\n",
        headers={"content-type": "multipart/form-data; boundary=b"},
    )

    assert answer.json()["results"][0]["filename"] == r"th\xe9.jpg"
