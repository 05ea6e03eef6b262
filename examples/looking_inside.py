"""Look into a trained net: how it learned, what its filters and activations are, where it errs, what it looks at.

    python examples/looking_inside.py

Writes pictures into runs/inside, and all of them on one page, runs/inside/report.html. It needs matplotlib. `--quick`
trains for two epochs.
"""

import sys
from pathlib import Path

import cnnlayers as cl

FOLDER = Path("runs/inside")


def main():
    data = cl.datasets.digits()
    net = cl.models.digits_resnet(rng=0)
    loss = cl.SoftmaxLoss()
    solver = cl.Solver(net, data.train, data.val, loss=loss, optimizer=cl.SGD(lr=0.05, momentum=0.9), rng=0)
    print(solver.overfit_batch())  # the first check of a new net: can it learn one batch by heart?
    found = solver.lr_find()
    print("suggested learning rate:", found.suggestion and f"{found.suggestion:.3g}")  # None: the loss never fell
    history = solver.train(epochs=2 if "--quick" in sys.argv[1:] else 15)

    x, y = data.test
    figures = {
        "rates": cl.plot.lr_find(found),
        "curves": cl.plot.curves(history),
        "filters": cl.plot.filters(net),
        "activations": cl.plot.activations(net, x[:1], "3"),
        "confusion": cl.plot.confusion(net, x, y),
        "mistakes": cl.plot.mistakes(net, x, y),
        "saliency": cl.plot.saliency(net, x[:6]),
        "grad_cam": cl.plot.grad_cam(net, x[:6]),
        "weights": cl.plot.weights(net, cl.insight.gradients(net, *data.train, loss)),
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(FOLDER / f"{name}.png")
        print("wrote", FOLDER / f"{name}.png")
    print("wrote", cl.report.write(FOLDER, net=net, history=history, data=data, title="Looking inside"))


if __name__ == "__main__":
    main()
