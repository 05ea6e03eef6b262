"""Runtimes that run ONNX files: the scores of a batch from what `cnnlayers.to_onnx` wrote, at each one's best settings.

All have as many threads as cnnlayers, compute in float32 alone, know the batch size beforehand, and get images as they
like them best, (N, C, H, W), in memory that is theirs to read. So a call copies no image and makes no plan.
"""

import functools
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import cnnlayers as cl

from ..cases import Unavailable
from ..environment import missing


class Runtime:
    """What they share: the images, the file and the number of threads; `name` is the library's in the environment."""

    name = ""

    def __init__(self, problem) -> None:
        if absent := missing(self.name):
            raise Unavailable(f"not installed: {', '.join(absent)}")
        self.threads = cl.get_num_threads()
        self.x = np.ascontiguousarray(np.moveaxis(problem.x, -1, 1))
        self.onnx = problem.onnx
        self.prepare()

    def prepare(self):
        raise NotImplementedError

    def arrays(self, operation, result):
        return [np.array(result)]


class OnnxRuntime(Runtime):
    """ONNX Runtime: every optimization of the graph, images and scores bound once.

    Its idle workers spin, as they do unless forbidden: without it small nets take up to half as long again.
    """

    name = "onnxruntime"

    def prepare(self):
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.add_free_dimension_override_by_name("N", len(self.x))
        self.session = ort.InferenceSession(self.onnx, options, providers=["CPUExecutionProvider"])
        self.images = ort.OrtValue.ortvalue_from_numpy(self.x)
        (output,) = self.session.get_outputs()
        self.scores = ort.OrtValue.ortvalue_from_shape_and_type(output.shape, np.float32)
        self.bound = self.session.io_binding()
        self.bound.bind_ortvalue_input("x", self.images)
        self.bound.bind_ortvalue_output("y", self.scores)

    def predict(self):
        self.session.run_with_iobinding(self.bound)
        return self.scores

    def arrays(self, operation, result):
        return [result.numpy()]


class OpenVINO(Runtime):
    """OpenVINO's CPU plugin: one stream on all threads, one request whose images are set once.

    float32 is asked for by name: where the processor has bfloat16, the plugin takes that by itself. With the number of
    streams fixed, its hints "LATENCY" and "THROUGHPUT" are equally fast.
    """

    name = "openvino"

    def prepare(self):
        import openvino

        core = openvino.Core()
        model = core.read_model(self.onnx)
        model.reshape(list(self.x.shape))
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": self.threads,
            "ENABLE_HYPER_THREADING": True,  # else it may take fewer threads than it was given
            "INFERENCE_PRECISION_HINT": "f32",
        }
        self.compiled = core.compile_model(model, "CPU", settings)
        self.request = self.compiled.create_infer_request()
        self.request.set_input_tensor(openvino.Tensor(self.x, shared_memory=True))
        self.scores = self.request.get_output_tensor().data

    def predict(self):
        self.request.infer(share_outputs=True)
        return self.scores


class Ncnn(Runtime):
    """ncnn: Winograd's method and packed layouts, numbers of 16 bits nowhere.

    One image has all threads. Of a batch each thread takes its share, one image after the other, each on one thread:
    that is faster than all threads on one image, and than ncnn's own batches.
    """

    name = "ncnn"

    def prepare(self):
        import ncnn

        together = min(self.threads, len(self.x))
        self.net = ncnn.Net()
        options = self.net.opt
        for narrow in (name for name in dir(options) if name.startswith(("use_fp16", "use_bf16"))):
            setattr(options, narrow, False)
        options.use_winograd_convolution = options.use_sgemm_convolution = options.use_packing_layout = True
        options.use_vulkan_compute = False
        options.num_threads = self.threads if together == 1 else 1
        graph, weights = ncnn_files(self.onnx, self.x.shape[1:])
        with tempfile.TemporaryDirectory() as folder:
            for load, file, content in (
                (self.net.load_param, Path(folder, "net.param"), graph),
                (self.net.load_model, Path(folder, "net.bin"), weights),
            ):
                file.write_bytes(content)
                if load(str(file)) != 0:
                    raise RuntimeError(f"ncnn cannot read the {file.name} that pnnx wrote")
        images = [ncnn.Mat(image).clone() for image in self.x]
        self.shares = [[images[i] for i in part] for part in np.array_split(range(len(images)), together)]
        self.pool = ThreadPoolExecutor(max(together - 1, 1))

    def predict(self):
        first, *others = self.shares
        begun = [self.pool.submit(self.scores, share) for share in others]
        done = self.scores(first)
        return sum((share.result() for share in begun), done)

    def scores(self, images):
        scores = []
        for image in images:
            extractor = self.net.create_extractor()
            extractor.input("in0", image)
            status, out = extractor.extract("out0")
            if status != 0:
                raise RuntimeError(f"ncnn failed with status {status}")
            scores.append(out)
        return scores


@functools.cache
def ncnn_files(onnx: bytes, image_shape: tuple[int, ...]) -> tuple[bytes, bytes]:
    """Give the net as ncnn reads it, its graph and its weights, written by ncnn's own converter, pnnx."""
    import pnnx

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "net.onnx").write_bytes(onnx)
        shape = ",".join(map(str, (1, *image_shape)))
        command = [pnnx.EXEC_PATH, "net.onnx", f"inputshape=[{shape}]", "fp16=0"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        files = [Path(folder, f"net.ncnn.{kind}") for kind in ("param", "bin")]
        if done.returncode != 0 or not all(file.is_file() for file in files):
            raise RuntimeError(f"pnnx cannot convert the net for ncnn:\n{done.stdout}{done.stderr}")
        graph, weights = (file.read_bytes() for file in files)
    return graph, weights
