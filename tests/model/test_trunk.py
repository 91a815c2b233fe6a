import socket
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torchvision

from attrcls.errors import UserError
from attrcls.model.trunk import build_trunk

# The smallest member of every family that torchvision has, with pictures as small as it takes.
FAMILIES = {
    "alexnet": 64, "convnext_tiny": 32, "densenet121": 32, "efficientnet_b0": 32, "efficientnet_v2_s": 32, "googlenet": 32,
    "inception_v3": 96, "maxvit_t": 224, "mnasnet0_5": 32, "mobilenet_v2": 32, "mobilenet_v3_small": 32, "regnet_y_400mf": 32,
    "resnet18": 32, "resnext50_32x4d": 32, "shufflenet_v2_x0_5": 32, "squeezenet1_1": 32, "swin_t": 32, "swin_v2_t": 64,
    "vgg11": 32, "vit_b_32": 64, "wide_resnet50_2": 32,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_family_is_cut_before_its_classifier_and_tells_its_width(name):
    px = FAMILIES[name]
    trunk = build_trunk(name, px=px)
    features = trunk.module.eval()(torch.zeros(2, 3, px, px))
    assert isinstance(features, torch.Tensor)
    assert features.flatten(1).shape == (2, trunk.features)
    assert trunk.features not in (1000,)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_classifiers_are_gone_in_training_too(name):
    trunk = build_trunk(name, px=96)
    assert isinstance(trunk.module.train()(torch.zeros(2, 3, 96, 96)), torch.Tensor)


def test_a_wrong_name_is_answered_with_the_nearest_model():
    with pytest.raises(UserError, match="did you mean 'resnet18'"):
        build_trunk("resnet_18", px=32)


def test_a_size_that_the_architecture_cannot_take_is_a_user_error():
    with pytest.raises(UserError, match=r"cannot be built for pictures of 100 px.*image\.px"):
        build_trunk("vit_b_32", px=100)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_of_a_classifier_of_another_size_is_loaded_without_its_classifier(tmp_path, suffix):
    model = torchvision.models.resnet18(num_classes=7)
    path = tmp_path / f"w{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": {f"module.{key}": value for key, value in model.state_dict().items()}}, path)
    else:
        safetensors.torch.save_file(model.state_dict(), path)
    trunk = build_trunk("resnet18", px=32, weights=str(path))
    assert torch.equal(trunk.module.state_dict()["conv1.weight"], model.conv1.weight)
    assert "left out: fc.bias, fc.weight" in trunk.loaded
    assert "120 of 120 tensors loaded" in trunk.loaded


def test_what_was_not_in_the_file_is_told(tmp_path):
    state = {key: value for key, value in torchvision.models.resnet18().state_dict().items() if not key.startswith("layer4.1")}
    torch.save(state, tmp_path / "w.pth")
    assert "left at random: layer4.1.bn1.bias" in build_trunk("resnet18", px=32, weights=str(tmp_path / "w.pth")).loaded


def test_position_embeddings_are_stretched_to_another_picture_size(tmp_path):
    torch.save(torchvision.models.vit_b_32(image_size=64).state_dict(), tmp_path / "w.pth")
    trunk = build_trunk("vit_b_32", px=96, weights=str(tmp_path / "w.pth"))
    assert trunk.module(torch.zeros(1, 3, 96, 96)).shape == (1, 768)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (torchvision.models.resnet50().state_dict(), "have another shape"),
        ({"something.else": torch.zeros(3)}, "no tensor fits the trunk"),
        ([1, 2, 3], "expected a state_dict of tensors, found list"),
    ],
)
def test_weights_of_another_trunk_are_refused(tmp_path, state, expected):
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(UserError, match=expected):
        build_trunk("resnet18", px=32, weights=str(tmp_path / "w.pth"))


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


def test_a_pickle_from_a_stranger_executes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"x": Bomb()}, "w.pth")
    with pytest.raises(UserError, match="could run its maker's code"):
        build_trunk("resnet18", px=32, weights="w.pth")
    assert not Path("exploded").exists()


@pytest.mark.parametrize("weights", ["DEFAULT", "IMAGENET1K_V1"])
def test_named_weights_offline_name_the_file_the_place_and_the_way_out(tmp_path, monkeypatch, weights):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(UserError) as caught:
        build_trunk("resnet18", px=32, weights=weights)
    text = str(caught.value)
    assert "resnet18-f37072fd.pth" in text
    assert str(tmp_path / "hub" / "checkpoints") in text
    assert "--weights FILE" in text


def test_a_cached_file_is_used_without_the_network(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", None)
    cached = torchvision.models.resnet18().state_dict()
    known = torchvision.models.get_model_weights("resnet18")
    monkeypatch.setattr(known, "get_state_dict", lambda self, **_: cached, raising=False)
    assert "torchvision ResNet18_Weights.IMAGENET1K_V1: 120 of 120" in build_trunk("resnet18", px=32, weights="DEFAULT").loaded


@pytest.mark.parametrize(
    ("weights", "expected"), [("nothere.pth", "no file nothere.pth"), ("IMAGENET1K_V9", "has no weights 'IMAGENET1K_V9'; did you mean")]
)
def test_weights_that_do_not_exist_are_a_user_error(weights, expected):
    with pytest.raises(UserError, match=expected):
        build_trunk("resnet18", px=32, weights=weights)


def test_a_runs_model_gives_its_trunk_by_the_runs_folder_and_by_its_file(trained_run):
    built = build_trunk("resnet18", px=32, weights=str(trained_run))
    saved = safetensors.torch.load_file(trained_run / "model" / "weights.safetensors")
    assert torch.equal(built.module.state_dict()["conv1.weight"], saved["trunk.conv1.weight"])
    assert "120 of 120 tensors loaded" in built.loaded
    by_file = build_trunk("resnet18", px=32, weights=str(trained_run / "model" / "weights.safetensors"))
    assert torch.equal(by_file.module.state_dict()["conv1.weight"], saved["trunk.conv1.weight"])
