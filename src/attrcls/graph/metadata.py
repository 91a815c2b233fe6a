"""What an ONNX file says of itself: task, labels and how a picture becomes its input, each as JSON."""

import json
from importlib.metadata import version

from attrcls.model.description import ModelDescription


def graph_metadata(description: ModelDescription) -> dict[str, str]:
    """The file's metadata by key; every value but the version is JSON."""
    image = description.image
    combine = description.combine
    facts = {
        "task": {"name": description.task, "trunk": description.trunk, "heads": list(description.heads)},
        # Of an ordinal head by corn or coral there is a logit less than classes.
        "kinds": {head: spec.kind for head, spec in description.heads.items()},
        # In the order of the probabilities' columns.
        "labels": {head: description.attributes[head].classes for head in description.heads},
        "preprocessing": {
            "layout": "NCHW",
            "channels": "RGB",
            "dtype": "uint8",
            "orientation": "upright, as EXIF says",
            "crop_to_box": image.crop_boxes,
            "fit": image.fit,
            "resize_px": image.resize_px,
            "centre_crop_px": image.px,
            # In units of 0 to 1, and done inside the graph.
            "normalised_in_graph": {"mean": image.mean, "std": image.std},
        },
        # The graph's outputs are the network's own. `attrcls predict` goes on with p^(1/T), each row summing to 1 again.
        "calibration": {
            "temperatures": {head: description.temperatures.get(head, 1.0) for head in description.heads},
            "apply": "probabilities ** (1 / temperature) divided by their sum; of a softmax head, softmax(logits / temperature)",
        },
        "class_counts": description.class_counts,
        "combine": combine and combine.model_dump(mode="json"),
    }
    return {"attrcls": version("attrcls"), **{key: json.dumps(value, ensure_ascii=False) for key, value in facts.items()}}
