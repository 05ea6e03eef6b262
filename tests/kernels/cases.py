"""One call of every kernel, large enough for several tasks, and a net that uses them all."""

import hashlib

import numpy as np

import cnnlayers as cl
from cnnlayers import _kernels, kernels
from cnnlayers.geometry import window

N = 5


def draw(shape, dtype, seed):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def conv(dtype, channels, filters, groups, *slide):
    """Forward and both gradients of one convolution."""
    place = window((12, 11, channels), *slide)
    x, b = draw((N, 12, 11, channels), dtype, 0), draw(filters, dtype, 1)
    W, dy = draw((*place.kernel, channels // groups, filters), dtype, 2), draw((N, *place.out, filters), dtype, 3)
    dW, db = np.empty_like(W), np.empty_like(b)
    kernels.conv_weight_grad(x, dy, place, dW, db)
    return kernels.conv_forward(x, W, b, place, relu=True), kernels.conv_input_grad(dy, W, place), dW, db


def wide(dtype, channels, filters, *slide):
    """Forward and the input gradient of one small image with many weights."""
    place = window((4, 3, channels), *slide)
    x, b = draw((1, 4, 3, channels), dtype, 0), draw(filters, dtype, 1)
    W, dy = draw((*place.kernel, channels, filters), dtype, 2), draw((1, *place.out, filters), dtype, 3)
    return kernels.conv_forward(x, W, b, place, "direct", True), kernels.conv_input_grad(dy, W, place, "direct")


def winograd(dtype, kernel, side, channels, filters, groups):
    """The same in tiles of one side, with weights packed and not."""
    place = window((12, 11, channels), kernel, 1, ((1, 0), (2, 1)))
    x, b = draw((N, 12, 11, channels), dtype, 0), draw(filters, dtype, 1)
    W, dy = draw((*place.kernel, channels // groups, filters), dtype, 2), draw((N, *place.out, filters), dtype, 3)
    dW, db = np.empty_like(W), np.empty_like(b)
    _kernels.conv_weight_grad(x, dy, place, dW, db, side)
    y = _kernels.conv_forward(x, W, b, place, True, None, side)
    packed = _kernels.conv_forward(x, W, None, place, False, _kernels.PackedConv(W, None, place, side), side)
    return y, packed, _kernels.conv_input_grad(dy, W, place, side), dW, db


def affine(dtype, n, d, m):
    x, W, dy = draw((n, d), dtype, 0), draw((d, m), dtype, 1), draw((n, m), dtype, 2)
    dW, db = np.empty_like(W), np.empty(m, dtype)
    kernels.affine_weight_grad(x, dy, dW, db)  # first: on a fresh thread no buffer is there yet
    return kernels.affine(x, W, draw(m, dtype, 3)), kernels.affine_input_grad(dy, W), dW, db


def pools(dtype, channels, *slide):
    place = window((24, 21, channels), *slide)
    x, dy = draw((N, 24, 21, channels), dtype, 0), draw((N, *place.out, channels), dtype, 1)
    share = draw(place.out, dtype, 2)
    y, winner = kernels.max_pool(x, place, bool(channels % 2))
    dx = kernels.max_pool_input_grad(dy, winner, place)
    return y, winner, dx, kernels.avg_pool(x, place, share), kernels.avg_pool_input_grad(dy, place, share)


def long_pools(dtype, channels, *slide):
    place = window((61, 55, channels), *slide)
    x, dy, share = (
        draw((N, 61, 55, channels), dtype, 0),
        draw((N, *place.out, channels), dtype, 1),
        draw(place.out, dtype, 2),
    )
    y, winners = kernels.max_pool(x, place, bool(channels % 2))
    dx = kernels.max_pool_input_grad(dy, winners, place)
    return y, *winners, dx, kernels.avg_pool(x, place, share), kernels.avg_pool_input_grad(dy, place, share)


def norm(dtype, rows, channels):
    x, dy = draw((rows, channels), dtype, 0), draw((rows, channels), dtype, 1)
    gamma, beta = draw(channels, dtype, 2), draw(channels, dtype, 3)
    y, mean, var, scale = kernels.batch_norm(x, gamma, beta, 1e-5, True)
    dgamma, dbeta, sums = np.empty_like(gamma), np.empty_like(beta), np.empty_like(beta)
    dx = kernels.batch_norm_grad(x, dy, gamma, mean, scale, into=(dgamma, dbeta), on_batch=True, relu_beta=beta)
    kernels.column_sums(x, sums)
    kernels.move_average(var, mean, 0.9, 1.5)
    into = np.empty_like(gamma), np.empty_like(beta)
    curved = kernels.batch_norm_grad(x, dy, gamma, mean, scale, into=into, on_batch=True, gelu_beta=beta)
    applied = kernels.batch_norm_apply(x, gamma, beta, mean, scale, gelu=True)
    return y, mean, var, scale, dx, dgamma, dbeta, sums, applied, curved, *into


def sample_norms(dtype, groups, *shape):
    x, dy = draw(shape, dtype, 0), draw(shape, dtype, 1)
    gamma, beta = draw(shape[-1], dtype, 2), draw(shape[-1], dtype, 3)
    grads = [np.empty_like(gamma) for _ in range(4)]
    y, mean, scale = kernels.group_norm(x, groups, gamma, beta, 1e-5, True)
    dx = kernels.group_norm_grad(x, dy, groups, gamma, mean, scale, into=grads[:2], relu_beta=beta)
    rows, row_mean, row_scale = kernels.layer_norm(x, gamma, beta, 1e-5)
    row_dx = kernels.layer_norm_grad(x, dy, gamma, row_mean, row_scale, into=grads[2:])
    return y, mean, scale, dx, rows, row_mean, row_scale, row_dx, *grads


def by_channel(dtype, *shape):
    y = draw(shape, dtype, 0)
    scaled = kernels.scale_channels(y, draw((shape[0], shape[-1]), dtype, 1))
    kernels.add_bias(y, draw(shape[-1], dtype, 2), True)
    return y, scaled


def number_by_number(dtype, count):
    a, b = draw(count, dtype, 0), draw(count, dtype, 1)
    y = kernels.relu(a)
    finished = kernels.finish_grad(b, a), kernels.finish_grad(b, a, y)
    return (
        y,
        kernels.relu_input_grad(y, b),
        kernels.add(a, b),
        kernels.add(a, b, True),
        kernels.multiply([a, b]),
        *finished,
    )


def activations(dtype, count):
    x, dy = 4 * draw(count, dtype, 0), draw(count, dtype, 1)
    s, t = kernels.sigmoid(x), kernels.tanh(x)
    return (
        *(kernels.leaky_relu(x, 0.1), kernels.leaky_relu_input_grad(x, dy, 0.1)),
        *(s, kernels.sigmoid_input_grad(s, dy)),
        *(t, kernels.tanh_input_grad(t, dy)),
        *(kernels.elu(x, 0.7), kernels.elu_input_grad(x, dy, 0.7)),
        *(kernels.gelu(x), kernels.gelu_input_grad(x, dy)),
        *(kernels.gelu(x, True), kernels.gelu_input_grad(x, dy, True)),
        *(kernels.silu(x), kernels.silu_input_grad(x, dy)),
    )


def global_pools(dtype, *shape):
    x, dy = draw(shape, dtype, 0), draw((shape[0], shape[-1]), dtype, 1)
    y, winner = kernels.global_max_pool(x)
    dx = kernels.global_max_pool_input_grad(dy, winner, shape)
    return y, winner, dx, kernels.global_avg_pool(x), kernels.global_avg_pool_input_grad(dy, shape)


def optimisers(dtype, count):
    results = []
    for update, arrays, numbers in [
        (kernels.sgd, 1, (0.1, 0.9, True, 0.01)),
        (kernels.rmsprop, 1, (0.1, 0.9, 1e-8, 0.01)),
        (kernels.adagrad, 1, (0.1, 1e-8, 0.0)),
        (kernels.adam, 2, (0.1, (0.9, 0.99), 1e-8, 3, 0.01, True)),
    ]:
        w, state = draw(count, dtype, 0), [np.abs(draw(count, dtype, 2 + i)) for i in range(arrays)]
        update(w, draw(count, dtype, 1), *state, *numbers)
        results += [w, *state]
    return tuple(results)


def softmax(dtype, n, c):
    """Labels with all options, some left out, and plain probability rows."""
    z, rows = 3 * draw((n, c), dtype, 0), np.abs(draw((n, c), np.float64, 1))
    labels = np.random.default_rng(2).integers(-1, c, n)
    loss, dz = kernels.softmax_loss(z, labels, n, 0.1, np.abs(draw(c, np.float64, 3)))
    row_loss, row_dz = kernels.softmax_loss(z, rows / rows.sum(axis=1, keepdims=True), n)
    return np.array(loss), dz, np.array(row_loss), row_dz


def dropout(dtype, count):
    x = draw(count, dtype, 0)
    return kernels.dropout(x, 0.3, 1), kernels.dropout(x, 0.5, 2**64 - 1)


def batches(dtype, rows, size):
    """Of every dtype."""
    indices = np.random.default_rng(0).permutation(rows)[: rows * 3 // 4]
    sources = [100 * np.abs(draw((rows, size), np.float64, 1)) % 256] * 3
    sources = [a.astype(t) for a, t in zip(sources, (np.uint8, np.float32, np.float64), strict=True)]
    return tuple(kernels.gather_rows(source, indices, dtype) for source in sources)


def augmentation(dtype, channels):
    """Each of the four, of bytes and of numbers."""
    rng = np.random.default_rng(0)
    x, raw = draw((N, 9, 11, channels), dtype, 0), rng.integers(0, 256, (N, 9, 11, channels), dtype=np.uint8)
    places = rng.integers(-4, 5, (N, 7)).astype(np.int32)
    maps, factors, shares = rng.normal(size=(N, 6)), rng.random((N, 2)), rng.random(N)
    partners = rng.permutation(N)
    results = [kernels.place_images(raw, places, 1, 2, np.dtype(dtype))]
    for images in (x, raw):
        results += [
            kernels.place_images(images, places, 1, 2, images.dtype),
            kernels.place_images(images, places, 1, 2, images.dtype, reflect=True),
            kernels.warp_images(images, maps, 3),
            kernels.jitter_images(images, factors),
            kernels.blend_images(images, partners, shares, np.dtype(dtype)),
        ]
    return tuple(results)


KERNELS = {
    "convolution": lambda t: conv(t, 10, 20, 1, 3, 1, 1),
    "convolution with strides": lambda t: conv(t, 3, 33, 1, (3, 2), (2, 3), ((1, 0), (0, 2)), (1, 2)),
    "convolution 1x1": lambda t: conv(t, 32, 16, 1, 1),
    "convolution with many weights": lambda t: wide(t, 64, 64, 3, 1, 1),
    "convolution with many weights and strides": lambda t: wide(t, 192, 96, 3, 2, 1),
    "convolution in groups": lambda t: conv(t, 6, 12, 2, 3, 2, 1),
    "convolution in narrow groups": lambda t: conv(t, 24, 36, 12, 3, 1, 1),
    "depthwise convolution": lambda t: conv(t, 20, 20, 20, 3, 1, 1),
    "depthwise convolution with strides": lambda t: conv(t, 33, 33, 33, 3, 2, 1),
    "depthwise convolution 5x5": lambda t: conv(t, 16, 16, 16, 5, 1, 2),
    "depthwise convolution, few channels": lambda t: conv(t, 3, 3, 3, (2, 3), (2, 1), 1),
    "convolution by Winograd, 4x4": lambda t: winograd(t, 3, 4, 17, 40, 1),
    "convolution by Winograd, 2x2": lambda t: winograd(t, 3, 2, 24, 33, 1),
    "convolution by Winograd in groups": lambda t: winograd(t, 3, 4, 6, 34, 2),
    "convolution by Winograd, 5x5": lambda t: winograd(t, 5, 2, 17, 40, 1),
    "convolution by Winograd, 5x5 in groups": lambda t: winograd(t, 5, 2, 6, 34, 2),
    "convolution by Winograd, 1x3": lambda t: winograd(t, (1, 3), 4, 17, 40, 1),
    "convolution by Winograd, 1x5 in groups": lambda t: winograd(t, (1, 5), 2, 6, 34, 2),
    "affine": lambda t: affine(t, 64, 40, 32),
    "affine of many inputs": lambda t: affine(t, 60, 6401, 37),
    "affine, odd": lambda t: affine(t, 37, 13, 11),
    "pools 2x2": lambda t: pools(t, 20, 2, 2),
    "pools that overlap": lambda t: pools(t, 17, (3, 2), (2, 1), 1),
    "pools, few channels": lambda t: pools(t, 3, 3, 2, 1),
    "pools of large windows": lambda t: long_pools(t, 20, (31, 20), (9, 3), 5),
    "pools of large windows, one channel": lambda t: long_pools(t, 1, (2, 50), (1, 2), ((0, 1), (7, 30))),
    "norm": lambda t: norm(t, 3001, 20),
    "norm of many channels": lambda t: norm(t, 150, 1100),
    "sample norms": lambda t: sample_norms(t, 4, 3, 41, 31, 20),
    "sample norms of few channels": lambda t: sample_norms(t, 1, 2, 9001, 3),
    "sample norms of many channels": lambda t: sample_norms(t, 10, 2, 17, 9, 1100),
    "by channel": lambda t: by_channel(t, 3, 61, 53, 20),
    "by channel, few": lambda t: by_channel(t, 2, 20_011, 3),
    "by channel, many": lambda t: by_channel(t, 2, 19, 1100),
    "number by number": lambda t: number_by_number(t, 100_003),
    "activations": lambda t: activations(t, 100_003),
    "global pools": lambda t: global_pools(t, 3, 61, 53, 20),
    "global pools, few channels": lambda t: global_pools(t, 2, 20_011, 3),
    "global pools, many channels": lambda t: global_pools(t, 2, 9, 3, 1100),
    "optimisers": lambda t: optimisers(t, 100_003),
    "softmax": lambda t: softmax(t, 2000, 10),
    "softmax of many classes": lambda t: softmax(t, 37, 1003),
    "dropout": lambda t: dropout(t, 100_003),
    "batches": lambda t: batches(t, 100, 1003),
    "augmentation": lambda t: augmentation(t, 3),
    "augmentation, other channels": lambda t: augmentation(t, 2),
}


def net(dtype=np.float32):
    return cl.Sequential(
        [
            cl.Conv(12, 3, padding="same"),
            cl.BatchNorm(),
            cl.ReLU(),
            cl.MaxPool(2),
            cl.Conv(12, (3, 2), padding="same", groups=12),  # depthwise
            cl.ReLU(),
            cl.Residual([cl.Conv(12, (3, 1), padding=((1, 1), (0, 0)), groups=2), cl.BatchNorm()]),
            cl.Conv(18, 3, padding=1, algorithm="winograd"),
            cl.Conv(20, 3, stride=2),
            cl.AvgPool(2, 1),
            cl.Flatten(),
            cl.Dropout(0.3),
            cl.Affine(10),
        ],
        input_shape=(15, 18, 3),
        rng=0,
        dtype=dtype,
    )


def batch(seed, n=24):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 15, 18, 3)).astype(np.float32), rng.integers(0, 10, n)


def step(net, loss, optimizer, x, target):
    """One step of training; everything that it hands out."""
    y = net.forward(x)
    value = loss.forward(y, target)
    dy = loss.backward()
    dx = net.backward(dy)
    optimizer.step(net)
    return y, value, dy, dx


def train(dtype=np.float32, steps=3):
    """A digest of all bits that a run of training makes."""
    model, loss, optimizer = net(dtype), cl.SoftmaxLoss(), cl.SGD(0.05, momentum=0.9, weight_decay=1e-3)
    digest = hashlib.sha256()
    for i in range(steps):
        for array in step(model, loss, optimizer, *batch(i)):
            digest.update(np.asarray(array).tobytes())
    for array in (model.flat_params, model.flat_grads, model.flat_state, model.predict(batch(9)[0])):
        digest.update(array.tobytes())
    return digest.hexdigest()
