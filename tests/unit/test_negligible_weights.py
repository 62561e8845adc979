import numpy as np
from onnx import TensorProto, helper, numpy_helper

from omma.engines.conversion.weights import flush_negligible


def test_only_weights_that_no_sum_can_show_become_zero():
    values = np.array([1e-45, -1e-25, 1e-10, -3, 0], np.float32)
    count = np.array([7], np.int64)
    graph = helper.make_graph(
        [],
        "weights",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(values, "floats"), numpy_helper.from_array(count, "count")],
    )
    model = helper.make_model(graph)

    flush_negligible(model)

    floats, integers = map(numpy_helper.to_array, model.graph.initializer)
    assert floats.tolist() == [0, 0, np.float32(1e-10), -3, 0]
    assert integers.tolist() == [7]
