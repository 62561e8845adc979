from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from omma.domain.errors import ModelCorrupt, ModelMissing, OutOfMemory
from omma.engines.session import CPU_RUN_VALUES, OnnxSession
from tests.logged import messages


def save_model(path, *, columns):
    """A model that repeats every row of its input ``columns`` times."""
    node = helper.make_node("Expand", ["x", "shape"], ["y"])
    shape = numpy_helper.from_array(np.array([1, columns], np.int64), "shape")
    graph = helper.make_graph(
        [node],
        "repeat",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [shape],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def test_a_batch_is_one_run_and_keeps_its_order(tmp_path):
    session = OnnxSession(save_model(tmp_path / "m.onnx", columns=3))

    [answer] = session.run(np.array([[1], [2]], np.float32))

    assert answer.tolist() == [[1, 1, 1], [2, 2, 2]]
    assert session.providers == ("CPUExecutionProvider",)


def test_threads_share_one_session(tmp_path):
    session = OnnxSession(save_model(tmp_path / "m.onnx", columns=50))
    inputs = [np.full((7, 1), i, np.float32) for i in range(40)]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(session.run, inputs))

    assert all((answer == i).all() for i, [answer] in enumerate(answers))


def test_what_does_not_fit_into_memory_is_out_of_memory(tmp_path):
    session = OnnxSession(save_model(tmp_path / "m.onnx", columns=2**46))

    with pytest.raises(OutOfMemory, match=r"\(1, 1\)"):
        session.run(np.zeros((1, 1), np.float32))


def test_a_wrong_input_is_not_taken_for_missing_memory(tmp_path):
    session = OnnxSession(save_model(tmp_path / "m.onnx", columns=2))

    with pytest.raises(Exception, match="rank") as failure:
        session.run(np.zeros((1, 1, 1), np.float32))

    assert not isinstance(failure.value, OutOfMemory)


def test_a_missing_and_a_damaged_file_are_told_apart(tmp_path):
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"not a model")

    with pytest.raises(ModelMissing):
        OnnxSession(tmp_path / "absent.onnx")
    with pytest.raises(ModelCorrupt):
        OnnxSession(damaged)


def test_without_a_gpu_the_cpu_runs_the_model_and_the_log_says_so(tmp_path, caplog):
    path = save_model(tmp_path / "m.onnx", columns=2)

    session = OnnxSession(path, gpu="auto")

    if not session.is_on_gpu:
        assert "no gpu for this model, running on the cpu" in messages(caplog, "omma.engines")


def test_a_cpu_takes_large_inputs_one_by_one_and_small_ones_together(tmp_path):
    session = OnnxSession(save_model(tmp_path / "m.onnx", columns=2))
    large = np.zeros((3, CPU_RUN_VALUES + 1), np.uint8)
    small = np.zeros((5, CPU_RUN_VALUES // 4), np.uint8)

    assert [len(part) for part in session.parts(large)] == [1, 1, 1]
    assert [len(part) for part in session.parts(small)] == [4, 1]
    assert list(session.parts(small[:0])) == []
