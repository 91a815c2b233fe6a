"""Every kind of head as ONNX: written only where ONNX Runtime gives torch's probabilities, which `export_onnx` itself checks."""

import json

import onnx
import torch
from torch import nn

from attrcls.export import int8
from attrcls.export.onnx_file import export_onnx
from attrcls.graph.build import build_graph
from attrcls.model.heads import build_head
from attrcls.model.losses import LossContext
from attrcls.model.network import Network
from attrcls.prediction.models import load_models
from attrcls.sections import HeadSpec

HEADS = {
    "plain": HeadSpec(hidden=8, dropout=0.2),
    "ldam": HeadSpec(loss="ldam", hidden=8),
    "corn": HeadSpec(kind="ordinal", hidden=8),
    "coral": HeadSpec(kind="ordinal", ordinal="coral", hidden=8),
    "soft": HeadSpec(kind="ordinal", ordinal="soft", hidden=8),
    "coral_of_two": HeadSpec(kind="ordinal", ordinal="coral", hidden=8),
}


def test_every_kind_of_head_gives_in_onnx_what_it_gives_in_torch(trained_run, tmp_path):
    # Without a trunk, whose export takes most of the time: its features are the pixels.
    description = load_models([trained_run])[0].description
    counts = {name: torch.tensor([5, 3] if name == "coral_of_two" else [5, 3, 1]) for name in HEADS}
    heads = {name: build_head(spec, features=3 * 32 * 32, context=LossContext(counts[name])) for name, spec in HEADS.items()}
    network = Network(nn.Flatten(), heads, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
    pictures = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    difference, _ = export_onnx(network, description, tmp_path / "heads.onnx", pictures)
    assert difference <= 1e-5
    assert (tmp_path / "heads.onnx").exists()


def test_all_that_comes_after_a_heads_weights_stays_in_float32(trained_run):
    specs = {"hidden": HeadSpec(hidden=8), "corn": HeadSpec(kind="ordinal", hidden=8), "margins": HeadSpec(loss="ldam")}
    heads = {name: build_head(spec, features=4, context=LossContext(torch.tensor([5, 3, 1]))) for name, spec in specs.items()}
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    description = load_models([trained_run])[0].description
    description = description.model_copy(update={"heads": specs, "attributes": dict.fromkeys(specs, description.attributes["colour"])})
    graph = onnx.load_from_string(build_graph(Network(trunk, heads, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2)), description))
    kept, types = set(int8._heads(graph)), {node.name: node.op_type for node in graph.graph.node}
    assert "Conv" not in {types[name] for name in kept}
    assert {name for name, kind in types.items() if kind in ("Gemm", "MatMul")} <= kept
    makers = {output: node.name for node in graph.graph.node for output in node.output}
    assert {makers[output.name] for output in graph.graph.output} <= kept
    facts = {entry.key: json.loads(entry.value) for entry in graph.metadata_props if entry.key != "attrcls"}
    assert facts["kinds"] == {"hidden": "softmax", "corn": "ordinal", "margins": "softmax"}
