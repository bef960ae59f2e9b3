"""The generative models as Keras (and, for the RBM, scikit-learn) has them: seconds per epoch on MNIST, and how well
they fit.

    python3 scripts/peers/generative.py ae --data FOLDER --epochs 5 --threads 2 [--limit 6000]

FOLDER holds the four IDX files, plain or gzipped. Models, batch sizes and optimiser (Adam at 1e-3) are those of
Keras' own examples, and the same as ours. The RBM has one Gibbs step an update on both sides; scikit-learn's goes on
with the chains of the update before. Seconds are the mean of the epochs after the first, which compiles.
The data are in memory, and nothing is measured between epochs. Prints one JSON object.
"""

import argparse
import gzip
import json
import os
import time
from pathlib import Path

from peer_env import enter

PACKAGES = {"keras": ("tensorflow-cpu", "keras==3.15.0"), "sklearn": ("scikit-learn", "numpy")}


def images(folder: Path, name: str) -> "np.ndarray":
    """`[n, 784]` floats in 0..=1 of an IDX file."""
    path = folder / name
    data = path.read_bytes() if path.exists() else gzip.decompress((folder / f"{name}.gz").read_bytes())
    return np.frombuffer(data, dtype=np.uint8, offset=16).reshape(-1, 784).astype(np.float32) / np.float32(255)


class Clock:
    """Mean seconds of the epochs after the first."""

    def __init__(self):
        self.marks = []

    def mark(self) -> None:
        self.marks.append(time.perf_counter())

    def seconds(self) -> float:
        return (self.marks[-1] - self.marks[0]) / (len(self.marks) - 1)


def fit_keras(model, x, batch_size: int, epochs: int, target) -> float:
    """Fits `model` and returns the seconds per epoch."""
    clock = Clock()
    at_end = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: clock.mark())
    model.fit(x, target, batch_size=batch_size, epochs=epochs, shuffle=True, verbose=0, callbacks=[at_end])
    return clock.seconds()


def ae(train, test, epochs: int) -> dict:
    layers = keras.layers
    model = keras.Sequential([keras.Input((784,)), layers.Dense(32, "relu"), layers.Dense(784, "sigmoid")])
    model.compile("adam", "binary_crossentropy")
    seconds = fit_keras(model, train, 256, epochs, train)
    return {"s_per_epoch": seconds, "test/bce": float(model.evaluate(test, test, batch_size=1000, verbose=0))}


def cnn_ae(train, test, epochs: int) -> dict:
    layers = keras.layers
    train, test = train.reshape(-1, 28, 28, 1), test.reshape(-1, 28, 28, 1)

    def conv(filters, activation="relu", padding="same"):
        return layers.Conv2D(filters, 3, activation=activation, padding=padding)

    def pool():
        return layers.MaxPooling2D(2, padding="same")

    code = [conv(16), pool(), conv(8), pool(), conv(8), pool()]
    # Keras' tutorial crops its upsampled images by a convolution without padding: 16 -> 14.
    image = [conv(8), layers.UpSampling2D(2), conv(8), layers.UpSampling2D(2)]
    image += [conv(16, padding="valid"), layers.UpSampling2D(2)]
    model = keras.Sequential([keras.Input((28, 28, 1)), *code, *image, conv(1, "sigmoid")])
    model.compile("adam", "binary_crossentropy")
    seconds = fit_keras(model, train, 128, epochs, train)
    return {"s_per_epoch": seconds, "test/bce": float(model.evaluate(test, test, batch_size=1000, verbose=0))}


def vae(train, test, epochs: int) -> dict:
    layers, ops = keras.layers, keras.ops

    class Vae(keras.Model):
        """784-256-2 and back: gray pixels, both parts of the loss summed (Kingma & Welling 2014)."""

        def __init__(self):
            super().__init__()
            self.hidden, self.stats = layers.Dense(256, "relu"), layers.Dense(4)
            self.decoder = keras.Sequential([layers.Dense(256, "relu"), layers.Dense(784)])
            self.seed = keras.random.SeedGenerator(0)

        def call(self, x):
            mean, log_var = ops.split(self.stats(self.hidden(x)), 2, axis=1)
            z = mean + ops.exp(0.5 * log_var) * keras.random.normal(ops.shape(mean), seed=self.seed)
            kl = 0.5 * ops.sum(ops.square(mean) + ops.exp(log_var) - 1 - log_var, axis=1)
            self.add_loss(ops.mean(kl))
            return self.decoder(z)

    def reconstruction(x, logits):
        return ops.sum(ops.relu(logits) - logits * x + ops.log1p(ops.exp(-ops.abs(logits))), axis=1)

    model = Vae()
    model.compile("adam", reconstruction)
    seconds = fit_keras(model, train, 128, epochs, train)
    return {"s_per_epoch": seconds, "test/elbo": -float(model.evaluate(test, test, batch_size=1000, verbose=0))}


def rbm(train, test, epochs: int) -> dict:
    from sklearn.neural_network import BernoulliRBM

    clock = Clock()
    model = BernoulliRBM(n_components=500, learning_rate=0.05, batch_size=100, n_iter=1, random_state=0)
    rng = np.random.default_rng(0)
    # `partial_fit` batch by batch is an epoch of `fit`, which does not report the time of single epochs.
    for _ in range(epochs):
        order = rng.permutation(len(train))
        for start in range(0, len(train), 100):
            model.partial_fit(train[order[start : start + 100]])
        clock.mark()
    return {"s_per_epoch": clock.seconds()}


CASES = {"ae": ae, "cnn-ae": cnn_ae, "vae": vae, "rbm": rbm}


def main(args: argparse.Namespace) -> None:
    train, test = (images(args.data, f"{split}-images-idx3-ubyte")[: args.limit] for split in ("train", "t10k"))
    print(json.dumps(CASES[args.case](train, test, args.epochs)))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--data", type=Path, required=True, help="folder of MNIST's IDX files")
    parser.add_argument("--epochs", type=int, default=5, help="at least 2")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=int, help="use only this many images of each split")
    args = parser.parse_args()
    if args.epochs < 2:
        parser.error("--epochs is at least 2: the first is not timed")
    return args


if __name__ == "__main__":
    args = parse()
    kind = "sklearn" if args.case == "rbm" else "keras"
    enter(kind, *PACKAGES[kind])
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ[name] = str(args.threads)
    os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    import numpy as np

    if kind == "keras":
        import keras

        keras.utils.set_random_seed(0)
    main(args)
