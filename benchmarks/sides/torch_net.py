"""A training step and inference in PyTorch."""

import warnings

import cnnlayers as cl

from .torch_conv import load, tensor
from .torch_translation import translate


class Net:
    """The problem's net and images in one memory layout; `compiled` by torch.compile, which needs a C++ compiler."""

    def __init__(self, problem, channels_last, compiled=False) -> None:
        self.torch = torch = load()
        self.problem = problem
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.net = translate(problem.net).to(memory_format=layout)
        self.x = tensor(problem.x, channels_last)
        self.call = self.net
        if compiled:
            torch.compiler.reset()
            self.call = torch.compile(self.net, dynamic=False)


class Step(Net):
    """Forward, cross entropy, backward and the fused SGD; the images have no gradient."""

    def __init__(self, problem, channels_last, compiled=False) -> None:
        super().__init__(problem, channels_last, compiled)
        self.y = self.torch.from_numpy(problem.y)
        self.loss = self.torch.nn.functional.cross_entropy
        self.optimizer = self.torch.optim.SGD(self.net.parameters(), problem.lr, problem.momentum, fused=True)

    def step(self):
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.call(self.x), self.y)
        loss.backward()
        self.optimizer.step()
        return loss

    def arrays(self, operation, result):
        twin = self.problem.net.copy()
        cl.from_torch(twin, self.net.state_dict())
        return [result.detach().numpy(), *twin.params.values()]


class Infer(Net):
    """The scores of a batch, without what a gradient would need.

    The net is compiled, or traced and frozen, which folds each BatchNorm into its convolution; `optimized`: and then
    through `optimize_for_inference`, which packs weights and fuses for oneDNN, and is not always faster.
    """

    def __init__(self, problem, channels_last, compiled=False, optimized=True) -> None:
        super().__init__(problem, channels_last, compiled)
        self.net.eval()
        if not compiled:
            self.call = self.frozen(optimized)

    def frozen(self, optimized):
        jit = self.torch.jit
        with self.torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit, in favour of torch.compile
            net = jit.freeze(jit.trace(self.net, self.x, check_trace=False))
            return jit.optimize_for_inference(net) if optimized else net

    def predict(self):
        with self.torch.inference_mode():
            return self.call(self.x)

    def arrays(self, operation, result):
        return [result.numpy()]
