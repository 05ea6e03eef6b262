"""Write a layer, check its backward pass against numeric gradients, and train with it.

    python examples/own_layer.py

The layer squeezes each channel to its mean over the image, asks two small affine maps how important the channel is, and
scales it by the answer (J. Hu et al., "Squeeze-and-Excitation Networks", 2018). `--quick` trains for one epoch.
"""

import sys

import numpy as np

import cnnlayers as cl


class Excite(cl.Layer):
    """y = x s, with s = sigmoid(m W), m the mean of each channel over the image."""

    def allocate(self, input_shape):
        channels = input_shape[-1]
        self.add_param("W", (channels, channels), "he_normal")

    def forward(self, x, train=True):
        m = x.mean(axis=(1, 2))  # (N, C)
        s = 1 / (1 + np.exp(-(m @ self.params["W"])))
        self.keep(x, m, s)
        return x * s[:, None, None, :]

    def backward(self, dy, input_grad=True):
        x, m, s = self.take()
        ds = (dy * x).sum(axis=(1, 2))  # y = x s
        dz = ds * s * (1 - s)  # s = sigmoid(z)
        self.grads["W"][...] = m.T @ dz  # z = m W
        dm = dz @ self.params["W"].T / (x.shape[1] * x.shape[2])
        return dy * s[:, None, None, :] + dm[:, None, None, :]


def main():
    report = cl.gradcheck(Excite(), np.random.default_rng(0).normal(size=(3, 4, 4, 5)))
    print(report, end="\n\n")
    if not report.ok:
        raise SystemExit("the backward pass is wrong")

    data = cl.datasets.digits()
    blocks = [cl.Conv(16, 3, padding="same"), cl.ReLU(), Excite(), cl.Conv(32, 3), cl.ReLU(), Excite()]
    layers = [cl.Normalize(mean=4.9, std=6.0), *blocks, cl.Flatten(), cl.Affine(10)]
    net = cl.Sequential(layers, input_shape=(8, 8, 1), rng=0)
    solver = cl.Solver(net, data.train, data.val, loss=cl.SoftmaxLoss(), optimizer=cl.Adam(lr=0.003), rng=0)
    solver.train(epochs=1 if "--quick" in sys.argv[1:] else 15)
    net.save("own_layer.safetensors")
    again = cl.load("own_layer.safetensors", custom=(Excite,))  # a file names the package's classes and those given
    print(f"test accuracy: {cl.accuracy(again.predict(data.test[0]), data.test[1]):.1%}")


if __name__ == "__main__":
    main()
