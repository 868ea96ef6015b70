"""EuroSAT and BigEarthNet in their published forms, made here: read, scaled, refused, recognised."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image
from rasterio import Affine

from reference_model.inference.model import GL10MReference
from reference_model.zeroshot import bigearthnet, eurosat
from reference_model.zeroshot.cli import evaluate_zeroshot
from reference_model.zeroshot.evaluate import embedded, prompts
from reference_model.zeroshot.images import ZeroShotFolderError, to_bytes
from tests.reference_model.trained import trained
from tests.store.small_scenes import build

WHITE = 2750


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = build(tmp_path_factory.mktemp("data"), CA=16)
    assert isinstance(root, Path)
    return trained(root, tmp_path_factory.mktemp("runs") / "run")


def pixels(seed: int, bands: int, side: int, most: int) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(0, most, (bands, side, side)).astype(np.uint16)


def write_tiff(path: Path, content: NDArray[np.uint16]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, height, width = content.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=bands,
        height=height,
        width=width,
        dtype="uint16",
        crs="EPSG:32633",
        transform=Affine(10, 0, 300_000, 0, -10, 5_500_000),
    ) as raster:
        raster.write(content)


def rgb_archive(folder: Path, each: int = 2) -> Path:
    """EuroSAT_RGB.zip: EuroSAT_RGB/AnnualCrop/AnnualCrop_1.jpg, 64 x 64."""
    for seed, name in enumerate(eurosat.CLASSES):
        home = folder / "EuroSAT_RGB" / name
        home.mkdir(parents=True)
        for number in range(1, each + 1):
            picture = pixels(seed * 10 + number, 3, 64, 256).astype(np.uint8).transpose(1, 2, 0)
            Image.fromarray(picture).save(home / f"{name}_{number}.jpg")
    return folder


def ms_archive(folder: Path) -> Path:
    """EuroSAT_MS.zip: 13 bands of 64 x 64 digital numbers, B8A last."""
    for seed, name in enumerate(eurosat.CLASSES):
        write_tiff(folder / "EuroSAT_MS" / name / f"{name}_1.tif", pixels(seed, 13, 64, 5000))
    return folder


PATCH = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP"
ROWS: list[dict[str, object]] = [
    {"patch_id": f"{PATCH}_26_57", "labels": ["Coniferous forest", "Inland waters"], "split": "test"},
    {"patch_id": f"{PATCH}_26_58", "labels": ["Arable land"], "split": "train"},
    {"patch_id": f"{PATCH}_27_57", "labels": ["Arable land"], "split": "test"},
]


def ben_archive(folder: Path, rows: list[dict[str, object]] = ROWS) -> Path:
    """BigEarthNet v2: BigEarthNet-S2/PRODUCT/PATCH/PATCH_B04.tif and metadata.parquet."""
    for seed, row in enumerate(rows):
        patch = str(row["patch_id"])
        home = folder / "BigEarthNet-S2" / patch.rsplit("_", 2)[0] / patch
        for place, (band, side) in enumerate(
            {"B02": 120, "B03": 120, "B04": 120, "B05": 60, "B01": 20}.items()
        ):
            write_tiff(home / f"{patch}_{band}.tif", pixels(seed * 10 + place, 1, side, 4000))
    table = pa.Table.from_pylist([{**row, "country": "Austria", "s1_name": "S1"} for row in rows])
    pq.write_table(table, folder / "metadata.parquet")
    return folder


def test_eurosat_as_jpeg_is_taken_as_it_is(tmp_path: Path) -> None:
    found = eurosat.open_eurosat(rgb_archive(tmp_path), WHITE)
    assert len(found.images) == 20
    assert found.labels.sum(axis=1).tolist() == [1] * 20
    assert found.labels[0].argmax() == 0
    assert "no split" in found.split
    images = found.images.read([0, 19])
    assert images.shape == (2, 3, 64, 64)
    with Image.open(tmp_path / "EuroSAT_RGB/SeaLake/SeaLake_2.jpg") as picture:
        assert np.array_equal(images[1].permute(1, 2, 0).numpy(), np.asarray(picture))


def test_eurosat_as_geotiff_shows_red_green_blue_in_a_scale_that_is_said(tmp_path: Path) -> None:
    found = eurosat.open_eurosat(ms_archive(tmp_path), WHITE)
    image = found.images.read([3])[0].numpy()
    content = pixels(3, 13, 64, 5000)
    for channel, band in enumerate((3, 2, 1)):  # B04, B03, B02
        expected = np.clip(np.rint(content[band] / WHITE * 255), 0, 255)
        assert np.abs(image[channel].astype(int) - expected).max() <= 1
    assert "0..2750" in found.images.scaling
    assert "B04, B03, B02" in found.images.scaling


def test_a_list_beside_the_archive_is_the_split(tmp_path: Path) -> None:
    rgb_archive(tmp_path)
    (tmp_path / "eurosat-test.txt").write_text("River_1.jpg\nForest_2.jpg\n")
    found = eurosat.open_eurosat(tmp_path, WHITE)
    assert found.split == "2 images of eurosat-test.txt"
    assert found.labels.argmax(axis=1).tolist() == [1, 8]
    listed = tmp_path / "own.csv"
    listed.write_text(",Filename,Label\n0,Pasture/Pasture_1.jpg,5\n")
    assert len(eurosat.open_eurosat(tmp_path, WHITE, listed).images) == 1
    listed.write_text(",Filename,Label\n0,Pasture/Pasture_9.jpg,5\n")
    with pytest.raises(ZeroShotFolderError, match="names 1 images, of which"):
        eurosat.open_eurosat(tmp_path, WHITE, listed)
    with pytest.raises(FileNotFoundError, match="no list of images"):
        eurosat.open_eurosat(tmp_path, WHITE, tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("list.txt", b"\xff\xfe\x00", "text in UTF-8"),
        ("list.txt", b"\n", "names no image"),
        ("list.csv", b"image,label\nRiver_1.jpg,8\n", "column Filename; .* has image, label"),
        ("list.csv", b"label,Filename\n8\n", "a file name in every row"),
        ("list.csv", b"Filename\n" + b"a" * 200_000, "a file name in every row; .*field larger"),
        ("list.txt", b"a\n" * (1 << 24), "at most 16777216 bytes"),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    rgb_archive(tmp_path, each=1)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ZeroShotFolderError, match=words):
        eurosat.open_eurosat(tmp_path, WHITE, tmp_path / name)


def test_a_folder_that_is_not_eurosat_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder"):
        eurosat.open_eurosat(tmp_path / "nothing", WHITE)
    rgb_archive(tmp_path, each=0)
    with pytest.raises(ZeroShotFolderError, match="neither"):
        eurosat.open_eurosat(tmp_path, WHITE)
    (tmp_path / "EuroSAT_RGB" / "River").rename(tmp_path / "EuroSAT_RGB" / "Stream")
    with pytest.raises(ZeroShotFolderError, match="lacks River"):
        eurosat.open_eurosat(tmp_path / "EuroSAT_RGB", WHITE)


def test_images_that_are_none_are_refused_by_name(tmp_path: Path) -> None:
    rgb_archive(tmp_path, each=1)
    broken = tmp_path / "EuroSAT_RGB" / "Forest" / "Forest_1.jpg"
    broken.write_bytes(b"no image")
    found = eurosat.open_eurosat(tmp_path, WHITE)
    with pytest.raises(ZeroShotFolderError, match=r"Forest_1\.jpg cannot be read as an image"):
        found.images.read([1])
    Image.new("L", (64, 64)).save(broken)
    with pytest.raises(ZeroShotFolderError, match=r"Forest_1\.jpg is L"):
        found.images.read([1])
    ms = ms_archive(tmp_path / "ms")
    write_tiff(ms / "EuroSAT_MS" / "Forest" / "Forest_1.tif", pixels(0, 3, 64, 9))
    with pytest.raises(ZeroShotFolderError, match="has 3 bands of 64 x 64 pixels; expected 13"):
        eurosat.open_eurosat(ms, WHITE).images.read([1])


def test_bigearthnet_gives_its_official_split(tmp_path: Path) -> None:
    found = bigearthnet.open_bigearthnet(ben_archive(tmp_path), 3000)
    assert found.split == "2 patches of the official test split"
    assert [found.classes[one] for one in found.labels[0].nonzero()[0]] == [
        "Coniferous forest",
        "Inland waters",
    ]
    images = found.images.read([0, 1])
    assert images.shape == (2, 3, 120, 120)
    red = to_bytes(pixels(2, 1, 120, 4000)[0], 3000)  # B04 of the first patch
    assert np.array_equal(images[0, 0].numpy(), red)
    assert len(bigearthnet.open_bigearthnet(tmp_path, 3000, "train").images) == 1
    with pytest.raises(ZeroShotFolderError, match="has the splits train, validation, test"):
        bigearthnet.open_bigearthnet(tmp_path, 3000, "val")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": ["Dump sites"]}, "'Dump sites'. Take the metadata of version 2"),
        ({"patch_id": "../../../etc_1_2"}, "no name of one"),
        ({"patch_id": f"{PATCH}_99_99"}, "lacks 1, first"),
    ],
)
def test_metadata_that_do_not_fit_are_refused(tmp_path: Path, change: dict[str, object], words: str) -> None:
    ben_archive(tmp_path)
    rows = [{**ROWS[0], **change}, *ROWS[1:]]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "metadata.parquet")
    with pytest.raises(ZeroShotFolderError, match=words):
        bigearthnet.open_bigearthnet(tmp_path, WHITE)


def test_a_folder_that_is_not_bigearthnet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="has not both"):
        bigearthnet.open_bigearthnet(tmp_path, WHITE)
    ben_archive(tmp_path)
    pq.write_table(pa.table({"patch": ["a"]}), tmp_path / "metadata.parquet")
    with pytest.raises(ZeroShotFolderError, match="lacks patch_id, labels, split"):
        bigearthnet.open_bigearthnet(tmp_path, WHITE)
    numbers = pa.table({"patch_id": [PATCH], "labels": [3], "split": ["test"]})
    pq.write_table(numbers, tmp_path / "metadata.parquet")
    with pytest.raises(ZeroShotFolderError, match="labels of type int64; version 2 has lists"):
        bigearthnet.open_bigearthnet(tmp_path, WHITE)
    (tmp_path / "metadata.parquet").write_bytes(b"PAR1")
    with pytest.raises(ZeroShotFolderError, match="cannot be read as Parquet"):
        bigearthnet.open_bigearthnet(tmp_path, WHITE)


@pytest.mark.parametrize("name", ["eurosat", "bigearthnet"])
def test_every_class_has_a_prompt_of_its_own(name: str) -> None:
    classes = {"eurosat": eurosat.CLASSES, "bigearthnet": bigearthnet.CLASSES}[name]
    said = prompts(name)
    assert set(said.of) == set(classes)
    assert len(set(said.of.values())) == len(classes)
    assert all(template.count("{}") == 1 for template in said.templates)


def test_prompts_go_through_the_runs_own_tower(run: Path) -> None:
    model = GL10MReference.from_pretrained(run)
    found = embedded(model, prompts("eurosat"), eurosat.CLASSES, None)
    assert found.shape == (10, 16)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(10))


def invoked(*arguments: object) -> tuple[int, str]:
    ended = CliRunner().invoke(evaluate_zeroshot, ["--device", "cpu", *map(str, arguments)])
    return ended.exit_code, ended.output


def test_the_command_recognises_and_says_what_it_did(run: Path, tmp_path: Path) -> None:
    code, said = invoked(
        *("--run", run, "--eurosat", rgb_archive(tmp_path / "e"), "--out", tmp_path / "result.json")
    )
    assert code == 0, said
    for words in ("top-1 accuracy", "chance 0.100", "not scaled again", "this checks the machinery"):
        assert words in said
    found = json.loads((tmp_path / "result.json").read_text())
    assert found["images"] == 20
    assert 0 <= found["accuracy"] <= 1
    assert found["prompts"]["SeaLake"] == "a sea or lake"

    code, said = invoked("--run", run, "--bigearthnet", ben_archive(tmp_path / "b"), "--white", 3000)
    assert code == 0, said
    assert "accuracy" not in said
    assert "0..3000" in said
    assert "3 of 19 classes have an image" in said


def test_the_command_wants_one_data_set(run: Path, tmp_path: Path) -> None:
    assert invoked("--run", run)[0] == 2
    assert invoked("--run", run, "--eurosat", tmp_path, "--bigearthnet", tmp_path)[0] == 2
    assert invoked("--run", run, "--bigearthnet", tmp_path, "--split-file", tmp_path / "a")[0] == 2
