"""Inputs that once got past a reader's own words: each must be refused, or read as if it were whole.

They were found by `python -m tests.fuzz`, and stand here in the shortest form that still did it.
"""

import io
import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from tests.fuzz.changes import DEEP
from tests.fuzz.subject import Spoiled, Subject


def cut_header() -> bytes:
    """numpy parses the header with Python's tokenizer, whose own error it lets through."""
    text = b"{'descr': '|u1', 'fortran_order': False, 'shape': (3, "
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def page(**changes: object) -> bytes:
    return json.dumps({"type": "FeatureCollection", "features": [], "links": [], **changes}).encode()


def parquet(columns: dict[str, Any], metadata: dict[bytes, bytes] | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), sink)
    return sink.getvalue().to_pybytes()


def deeper(content: bytes) -> bytes:
    """A column whose statistics are of another nesting than its schema: pyarrow ends the process over it.

    Only versions of pyarrow that write such statistics can be ended so; from others the file comes as it is.
    """
    optional_text = b"\x15\x0c\x25\x02\x18"  # in Thrift: a column of bytes, may be null, named ...
    assert optional_text in content
    return content.replace(optional_text, b"\x15\x0c\x24\x02\x18")


def tiny(content: bytes) -> bytes:
    """A raster whose pixels are 1e-320 metres wide, and so a footprint more of them than there are numbers."""
    scale = struct.pack("<ddd", 20.0, 20.0, 0.0)
    assert scale in content
    return content.replace(scale, struct.pack("<ddd", 1e-320, 1e-320, 0.0))


def checkpoint(subject: Any, **changes: object) -> bytes:
    stream = io.BytesIO()
    torch.save({**subject.state, **changes}, stream)
    return stream.getvalue()


def array(shape: tuple[int, ...], kind: str) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.zeros(shape, kind))
    return stream.getvalue()


def image(**changes: object) -> bytes:
    from tests.fuzz.subjects.earth_engine import IMAGE

    return json.dumps({**IMAGE, **changes}).encode()


def troublemakers(place: str, subject: Subject) -> Iterator[tuple[str, Spoiled]]:
    """What it is, and the input, of one subject that is prepared."""
    of_subject: Any = subject
    match place:
        case "items:StacPages":
            features = json.loads(of_subject.pages["naip"])["features"]
            following = [{"rel": "next", "href": 1, "method": "GET"}]
            yield "a next page that is a number", Spoiled("naip", page(features=features, links=following))
            late = json.loads(of_subject.pages["naip"])["features"][0]
            late["properties"]["datetime"] = "9999-12-31T23:59:59-23:59"
            yield "an instant after the last", Spoiled("naip", page(features=[late]))
            yield "features that are no list", Spoiled("naip", page(features={"a": 1}))
            yield "no end of brackets", Spoiled("naip", DEEP.encode())
        case "items:ItemTables":
            table = of_subject.tables["naip"]
            renamed = [name if name != "assets" else "assets" for name in table.column_names]
            columns = {name: table[name] for name in renamed}
            columns["assets"] = pa.array([{"other": {"href": "https://x.org"}}] * table.num_rows)
            yield "assets of another sensor", Spoiled("naip", parquet(columns))
            yield "a footer that ends pyarrow's process", Spoiled("naip", deeper(of_subject.bytes["naip"]))
        case "earth_engine:Listings":
            yield (
                "a geometry without a type",
                Spoiled("naip", image(geometry={"type": "", "coordinates": ""})),
            )
        case "tables:SplitFiles":
            yield "a name that is no text", Spoiled("split.csv", b"scene_id,split,\xe9\nCA-w0,train,1\n")
        case "tables:OrderFiles":
            columns = {"scene_id": ["CA-w0", None], "rank": [0, 0], "tile": [1, 1]}
            yield "a row without a scene", Spoiled("order.parquet", parquet(columns))
        case "rasters:Windows":
            yield "pixels of no size", Spoiled("quad.tif", tiny(of_subject.seeds[0]))
        case "earth_engine:Pixels":
            yield "a header that breaks off", Spoiled("answer", cut_header())
        case "run_folders:FeatureCaches":
            yield "a header that breaks off", Spoiled("hr.npy", cut_header())
            yield "an array of another shape", Spoiled("hr.npy", array((2, 3), "int8"))
            yield "an archive in its place", Spoiled("cues.npy", b"PK\x05\x06" + bytes(18))
            yield "no end of brackets", Spoiled("features.json", DEEP.encode())
        case "run_folders:RunFolders":
            yield (
                "an average of another shape",
                Spoiled(
                    "predictor.checkpoint", checkpoint(of_subject, averages=[{"0.weight": torch.zeros(1)}])
                ),
            )
            yield (
                "a step beyond the last",
                Spoiled("predictor.checkpoint", checkpoint(of_subject, step=10**9)),
            )
            yield "no state at all", Spoiled("predictor.checkpoint", checkpoint(of_subject)[:64])
            yield "settings that are no table", Spoiled("config.json", b'{"settings": [1]}')
            yield "no end of brackets", Spoiled("metrics.json", DEEP.encode())
        case "settings:ClassMaps" | "settings:Configurations":
            name = "map.toml" if place.endswith("Maps") else "build.toml"
            yield "a number of 5,000 digits", Spoiled(name, b"version = " + b"9" * 5000)
            yield "no end of brackets", Spoiled(name, b"version = " + DEEP.encode())
        case "data_sets:Manifests":
            content = parquet({"scene_id": ["CA-w1"]}, {b"gl10m.schema_version": b"\xff\xfe"})
            yield "metadata that are no text", Spoiled("manifests/scenes.parquet", content)
        case "data_sets:Registers":
            yield "no end of brackets", Spoiled("gl10m.json", DEEP.encode())
        case "journals:Records":
            yield "a record of no text", Spoiled("commit.txt", b"put\tdata/\xff\xfe.parquet")
            yield "a record of another verb", Spoiled("commit.txt", b"link\tdata/CA-00000-of-00001.parquet")
            yield "a record that leads out", Spoiled("commit.txt", b"drop\tdata/../../precious")
            yield "a line without end", Spoiled("log.jsonl", DEEP.encode() + b"\n")
            yield (
                "a token of two lines",
                Spoiled("token", b'{"token": "a\\nb", "msft:expiry": "2999-01-01T00:00:00Z"}'),
            )
        case "texts:TextTowers":
            settings = json.loads(of_subject.files["config.json"])
            huge = json.dumps({**settings, "vocab_size": 2**40}).encode()
            yield "settings that ask for a terabyte", Spoiled("config.json", huge)
            deep = json.dumps({**settings, "num_hidden_layers": 3}).encode()
            yield "weights that lack two layers", Spoiled("config.json", deep)
            yield "a tokenizer of another kind", Spoiled("tokenizer.json", b'{"model": {"type": "x"}}')
