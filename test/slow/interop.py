"""The public safetensors package, for interop.test.ts.

    interop.py read FOLDER    prints what the package finds in each file of the folder, or why it refuses the file
    interop.py write FOLDER   has the package write files of all kinds there, and prints what went into them

Both print one JSON object: file name -> {"metadata", "tensors": [[name, dtype, shape, SHA-256 of the bytes], ...]} or
{"error"}.
"""

import hashlib
import json
import os
import sys

import numpy
import safetensors
import safetensors.numpy

# The format's name of a type, and numpy's.
DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}


def row(name, dtype, shape, data):
    return [name, dtype, list(shape), hashlib.sha256(data).hexdigest()]


def read_file(path):
    with open(path, "rb") as file:
        raw = safetensors.deserialize(file.read())
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
        for name, tensor in raw:
            if tensor["dtype"] in DTYPES:  # numpy has no BF16
                array = file.get_tensor(name)
                assert list(array.shape) == tensor["shape"] and array.dtype == DTYPES[tensor["dtype"]]
                assert array.tobytes() == bytes(tensor["data"])
    rows = [row(name, tensor["dtype"], tensor["shape"], bytes(tensor["data"])) for name, tensor in raw]
    return {"metadata": metadata or {}, "tensors": sorted(rows)}


def read(folder):
    found = {}
    for name in sorted(os.listdir(folder)):
        try:
            found[name] = read_file(os.path.join(folder, name))
        except Exception as error:  # whatever the package or numpy says of the file
            found[name] = {"error": f"{type(error).__name__}: {error}"}
    return found


def write(folder):
    random = numpy.random.default_rng(5)
    written = {}

    def save(name, arrays, metadata):
        safetensors.numpy.save_file(arrays, os.path.join(folder, name), metadata=metadata)
        rows = [
            row(key, next(k for k, v in DTYPES.items() if v == array.dtype.name), array.shape, array.tobytes())
            for key, array in arrays.items()
        ]
        written[name] = {"metadata": metadata or {}, "tensors": sorted(rows)}

    shapes = [(), (0,), (1,), (7,), (2, 3), (3, 0, 2), (1, 2, 3), (2, 1, 2, 2)]
    for dtype, numpy_name in DTYPES.items():
        arrays = {f"{dtype} {shape}": numpy.asarray(random.integers(0, 2, shape), numpy_name) for shape in shapes}
        save(f"{dtype}.safetensors", arrays, None)
    special = numpy.array([numpy.nan, numpy.inf, -numpy.inf, -0.0, 5e-324, 1e308])
    extremes = numpy.array([-(2**63), 2**63 - 1, 0, -1], dtype=numpy.int64)
    mixed = {"special": special, "extremes": extremes, "": numpy.zeros(3, numpy.uint8), "é\"\\\n\t€😀": special[:1]}
    save("mixed.safetensors", mixed, {"": "", "é": "€\u0001", "😀": "\"quoted\" \\ \n\t\r", "format": "np", "k": "x" * 5000})
    save("nothing.safetensors", {}, None)
    save("only metadata.safetensors", {}, {"a": "b"})
    save("many.safetensors", {f"t{i}": numpy.full((i % 5,), i, numpy.uint16) for i in range(2000)}, None)

    # numpy has no BF16: the same bits as integers, under that name.
    bits = random.integers(0, 2**16, (2, 3), numpy.uint16)
    spec = safetensors.TensorSpec(dtype="bfloat16", shape=bits.shape, data_ptr=bits.ctypes.data, data_len=bits.nbytes)
    safetensors.serialize_file({"b": spec}, os.path.join(folder, "BF16.safetensors"), metadata={"of": "BF16"})
    rows = [row("b", "BF16", bits.shape, bits.tobytes())]
    written["BF16.safetensors"] = {"metadata": {"of": "BF16"}, "tensors": rows}
    return written


command, folder = sys.argv[1:]
print(json.dumps({"read": read, "write": write}[command](folder)))
