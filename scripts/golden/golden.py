"""What the golden scripts share: how a file is written and a random stream recorded."""

import gzip
import json


def write(path, data):
    """Writes `data` as JSON, compressed without a time stamp so that the same data give the same file."""
    text = json.dumps(data, separators=(",", ":")).encode()
    with open(path, "wb") as file:
        file.write(gzip.compress(text, 9, mtime=0))


def pcg64_state(generator):
    """The state of a numpy PCG64 generator under the names that the Rust crate rand_pcg gives it."""
    state = generator.bit_generator.state["state"]
    return {"state": state["state"], "increment": state["inc"]}
