"""An output that is only computed when a switch says so.

ONNX Runtime runs every node, whichever outputs are fetched: its run option `only_execute_path_to_fetches` has
no effect in the released packages (measured with 1.32). A branch that is not taken is not run.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def compute_on_demand(model: onnx.ModelProto, output: str, switch: str) -> None:
    """Move what only `output` needs into a branch that is taken where the input `switch` is true.

    The switch is a scalar bool that need not be given and is false then; the output has no rows then.

    Args:
        output: name of a graph output `[N, ...]` whose other dimensions are fixed.
    """
    graph = model.graph
    declared = next(value for value in graph.output if value.name == output)
    others = [value.name for value in graph.output if value.name != output]
    needed = _behind(graph, others)
    moved = [node for node in graph.node if node.output[0] not in needed]
    shape = [0, *(dimension.dim_value for dimension in declared.type.tensor_type.shape.dim[1:])]
    value = helper.make_tensor_value_info(f"{output}_computed", TensorProto.FLOAT, None)
    for node in moved:
        graph.node.remove(node)
        node.output[:] = [value.name if name == output else name for name in node.output]
    nothing = numpy_helper.from_array(np.zeros(shape, np.float32))
    left_out = helper.make_tensor_value_info(f"{output}_left_out", TensorProto.FLOAT, None)
    branch = helper.make_node(
        "If",
        [switch],
        [output],
        name=f"{output}_on_demand",
        then_branch=helper.make_graph(moved, "computed", [], [value]),
        else_branch=helper.make_graph(
            [helper.make_node("Constant", [], [left_out.name], value=nothing)], "left_out", [], [left_out]
        ),
    )
    graph.node.append(branch)
    graph.input.append(helper.make_tensor_value_info(switch, TensorProto.BOOL, []))
    graph.initializer.append(numpy_helper.from_array(np.array(False), switch))
    onnx.checker.check_model(model)


def _behind(graph: onnx.GraphProto, outputs: list[str]) -> set[str]:
    """Names of all tensors that these need."""
    needed = set(outputs)
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            needed.update(node.output)
    return needed
