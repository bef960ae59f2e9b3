"""Functions that the golden scripts share: write a file, record a random stream."""

import gzip
import json


def write(path, data):
    """Writes `data` as JSON, compressed without a time stamp so that the same data give the same file."""
    text = json.dumps(data, separators=(",", ":")).encode()
    packed = bytearray(gzip.compress(text, 9, mtime=0))
    packed[9] = 3  # Unix; versions of Python differ in this byte of the header
    with open(path, "wb") as file:
        file.write(packed)


def pcg64_state(generator):
    """Returns the state of a numpy PCG64 generator under the names that the Rust crate rand_pcg uses."""
    state = generator.bit_generator.state["state"]
    return {"state": state["state"], "increment": state["inc"]}
