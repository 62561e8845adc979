"""Pulling models: what it will cost, that it happens once, and what it refuses."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from omma.domain.errors import (
    ConversionFailed,
    LicenceNotAccepted,
    ModelCorrupt,
    ModelMissing,
    ModelNotFound,
    ModelUnfetchable,
)
from omma.domain.models import Conversion, DetectorInfo, ModelState, Source
from omma.stores.models import ModelFiles
from tests.model_fakes import CONTENT, RESEARCH, FakeConverter, FakeSource, model, service

CONVERTED = {"conversion": Conversion.FREE_BATCH}


def quiet(event):
    del event


def info(of):
    return DetectorInfo(of.name, of.family, of.sha256)


def states(models):
    return [step.state for step in models.plan([]).steps]


def test_a_pulled_model_is_where_engines_look_for_it(tmp_path):
    service(tmp_path, model()).pull(["m"], quiet)

    assert ModelFiles(tmp_path).path(info(model())).read_bytes() == CONTENT


def test_a_converted_model_is_what_engines_get_and_the_original_stays(tmp_path):
    wanted = model(**CONVERTED)

    service(tmp_path, wanted).pull(["m"], quiet)

    files = ModelFiles(tmp_path)
    assert files.path(info(wanted)).read_bytes() == CONTENT[::-1]
    assert files.original(wanted).read_bytes() == CONTENT


def test_a_plan_counts_an_archive_once_and_the_disk_of_every_copy(tmp_path):
    models = service(tmp_path, model("a"), model("b", **CONVERTED))

    plan = models.plan(["a", "b"])

    assert plan.download_bytes == 500
    assert plan.disk_bytes == 3 * len(CONTENT)


def test_an_archive_of_two_models_is_downloaded_once(tmp_path):
    source = FakeSource({"a.onnx": CONTENT, "b.onnx": b"other"})

    service(tmp_path, model("a"), model("b", b"other"), source=source).pull(["a", "b"], quiet)

    assert source.downloads == ["shop"]


def test_a_second_pull_does_nothing(tmp_path):
    source, converter = FakeSource(), FakeConverter()
    models = service(tmp_path, model(**CONVERTED), source=source, converter=converter)
    models.pull(["m"], quiet)

    plan = models.pull(["m"], quiet)

    assert plan.is_done
    assert (len(source.downloads), len(converter.conversions)) == (1, 1)


def test_pulls_at_the_same_time_share_one_download(tmp_path):
    source, converter = FakeSource(), FakeConverter()
    models = service(tmp_path, model(**CONVERTED), source=source, converter=converter)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: models.pull(["m"], quiet), range(4)))

    assert (len(source.downloads), len(converter.conversions)) == (1, 1)


def test_a_newer_converter_converts_anew_without_a_download(tmp_path):
    source = FakeSource()
    wanted = model(**CONVERTED)
    service(tmp_path, wanted, source=source).pull(["m"], quiet)
    newer = service(tmp_path, wanted, source=source, converter=FakeConverter(current=2))

    newer.pull(["m"], quiet)

    assert states(newer) == [ModelState.CONVERTED]
    assert source.downloads == ["shop"]
    assert ModelFiles(tmp_path).path(info(wanted)).name == "free_batch-2.onnx"
    assert not list(tmp_path.rglob("free_batch-1.onnx"))


def test_a_file_of_another_hash_is_refused_and_not_kept(tmp_path):
    models = service(tmp_path, model(), source=FakeSource({"m.onnx": CONTENT[::-1]}))

    with pytest.raises(ModelCorrupt, match="expected sha256"):
        models.pull(["m"], quiet)

    assert states(models) == [ModelState.ABSENT]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_a_conversion_that_fails_keeps_the_download(tmp_path):
    source = FakeSource()
    wanted = model(**CONVERTED)
    broken = service(tmp_path, wanted, source=source, converter=FakeConverter(is_broken=True))
    with pytest.raises(ConversionFailed):
        broken.pull(["m"], quiet)

    service(tmp_path, wanted, source=source).pull(["m"], quiet)

    assert source.downloads == ["shop"]


def test_a_model_pulled_but_not_converted_is_not_served(tmp_path):
    wanted = model(**CONVERTED)
    broken = service(tmp_path, wanted, converter=FakeConverter(is_broken=True))
    with pytest.raises(ConversionFailed):
        broken.pull(["m"], quiet)

    with pytest.raises(ModelMissing, match="omma models pull"):
        ModelFiles(tmp_path).path(info(wanted))


def test_a_licence_with_a_text_is_refused_before_anything_is_fetched(tmp_path):
    source = FakeSource()

    with pytest.raises(LicenceNotAccepted, match="research only"):
        service(tmp_path, model(licence=RESEARCH), source=source).pull(["m"], quiet)

    assert source.downloads == []


def test_an_accepted_licence_lets_the_pull_go_on_and_is_not_asked_for_again(tmp_path):
    models = service(tmp_path, model(licence=RESEARCH))
    models.pull(["m"], quiet, accepted=True)

    assert models.plan(["m"]).licences == ()


def test_a_scheme_without_a_source_is_named(tmp_path):
    strange = model(source=Source("gopher", "shop", "m.onnx"))

    with pytest.raises(ModelUnfetchable, match="gopher"):
        service(tmp_path, strange).pull(["m"], quiet)


def test_an_unknown_model_names_those_that_are_known(tmp_path):
    with pytest.raises(ModelNotFound, match="expected one of m"):
        service(tmp_path, model()).pull(["n"], quiet)


def test_a_disk_without_room_is_said_before_the_download(tmp_path):
    source = FakeSource()
    vast = model(download_bytes=1 << 60)

    with pytest.raises(ModelUnfetchable, match="OMMA_HOME"):
        service(tmp_path, vast, source=source).pull(["m"], quiet)

    assert source.downloads == []


def test_what_a_pull_that_died_left_behind_is_swept_by_the_next(tmp_path):
    with ModelFiles(tmp_path).reserve("fake:shop", 0) as folder:
        pass
    folder.mkdir()
    (folder / "half").write_bytes(b"half")

    service(tmp_path, model()).pull(["m"], quiet)

    assert not folder.exists()


def test_verify_finds_one_flipped_bit(tmp_path):
    models = service(tmp_path, model())
    models.pull(["m"], quiet)
    path = ModelFiles(tmp_path).path(info(model()))
    path.write_bytes(bytes([CONTENT[0] ^ 1]) + CONTENT[1:])

    faults = models.verify(["m"])

    assert isinstance(faults["m"], ModelCorrupt)


def test_verify_passes_what_is_whole_and_names_what_is_missing(tmp_path):
    models = service(tmp_path, model("a"), model("b"), source=FakeSource({"a.onnx": CONTENT}))
    models.pull(["a"], quiet)

    faults = models.verify([])

    assert faults["a"] is None
    assert isinstance(faults["b"], ModelMissing)


def test_verify_names_what_was_pulled_and_not_converted(tmp_path):
    class Broken(FakeConverter):
        def convert(self, *_):
            raise ConversionFailed("out of memory")

    models = service(tmp_path, model(**CONVERTED), converter=Broken())
    with pytest.raises(ConversionFailed):
        models.pull(["m"], quiet)

    [fault] = models.verify(["m"]).values()

    assert isinstance(fault, ModelMissing)
    assert "not converted" in str(fault)


def test_a_file_of_another_size_is_not_served(tmp_path):
    service(tmp_path, model()).pull(["m"], quiet)
    files = ModelFiles(tmp_path)
    files.path(info(model())).write_bytes(CONTENT[:-1])

    with pytest.raises(ModelCorrupt, match="bytes"):
        files.path(info(model()))


def test_a_file_that_is_gone_is_missing(tmp_path):
    service(tmp_path, model()).pull(["m"], quiet)
    files = ModelFiles(tmp_path)
    files.path(info(model())).unlink()

    with pytest.raises(ModelMissing):
        files.path(info(model()))


def test_another_hash_in_the_catalogue_is_another_model(tmp_path):
    service(tmp_path, model()).pull(["m"], quiet)

    with pytest.raises(ModelMissing):
        ModelFiles(tmp_path).path(info(model(content=b"newer")))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"original": 1}'])
def test_a_record_that_cannot_be_read_is_a_fault_not_a_crash(tmp_path, text):
    service(tmp_path, model()).pull(["m"], quiet)
    files = ModelFiles(tmp_path)
    files.original(model()).with_name("record.json").write_text(text)

    with pytest.raises(ModelCorrupt, match="pull again"):
        files.path(info(model()))


def test_progress_grows_to_the_size_that_was_announced(tmp_path):
    events = []

    service(tmp_path, model(**CONVERTED)).pull(["m"], events.append)

    assert [event.done_bytes for event in events if event.stage == "download"] == [0, 250, 500]
    assert [event.stage for event in events[3:]] == ["store", "convert", "done"]
