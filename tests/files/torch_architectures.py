"""Well-known nets, thin and shallow, with their blocks as one writes them in PyTorch."""

import pytest

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional


def conv(inputs, outputs, kernel=3, stride=1, groups=1, act=nn.ReLU, norm=nn.BatchNorm2d):
    """A convolution that keeps the size, a norm and an activation."""
    layers = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False), norm(outputs)]
    return nn.Sequential(*layers, *([act()] if act else []))


class Basic(nn.Module):
    """ResNet-18's block."""

    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv1, self.conv2 = conv(inputs, outputs, 3, stride), conv(outputs, outputs, act=None)
        same = stride == 1 and inputs == outputs
        self.downsample = None if same else conv(inputs, outputs, 1, stride, act=None)

    def forward(self, x):
        out = self.conv2(self.conv1(x))
        out += x if self.downsample is None else self.downsample(x)
        return F.relu(out)


class Bottleneck(nn.Module):
    """ResNeXt-50's block."""

    def __init__(self, inputs, width, outputs, stride=1):
        super().__init__()
        self.body = nn.Sequential(
            conv(inputs, width, 1), conv(width, width, 3, stride, groups=2), conv(width, outputs, 1, act=None)
        )
        self.downsample = (
            conv(inputs, outputs, 1, stride, act=None) if stride > 1 or inputs != outputs else nn.Identity()
        )

    def forward(self, x):
        return F.relu(self.body(x) + self.downsample(x))


class Excitation(nn.Module):
    """Squeeze-and-excitation."""

    def __init__(self, channels, few, act=nn.ReLU, gate=nn.Sigmoid):
        super().__init__()
        self.avgpool, self.act, self.gate = nn.AdaptiveAvgPool2d(1), act(), gate()
        self.fc1, self.fc2 = nn.Conv2d(channels, few, 1), nn.Conv2d(few, channels, 1)

    def forward(self, x):
        return self.gate(self.fc2(self.act(self.fc1(self.avgpool(x))))) * x


class Inverted(nn.Module):
    """The block of MobileNetV2, MobileNetV3 and EfficientNet."""

    def __init__(self, inputs, wide, outputs, kernel, stride, act=nn.ReLU6, gate=None):
        super().__init__()
        layers = [conv(inputs, wide, 1, act=act)] if wide != inputs else []
        layers.append(conv(wide, wide, kernel, stride, wide, act))
        layers += [Excitation(wide, max(1, inputs // 2), *gate)] if gate else []
        self.block = nn.Sequential(*layers, conv(wide, outputs, 1, act=None))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.block(x) if self.residual else self.block(x)


class Classifier(nn.Module):
    """Features, their mean over the image, and a head."""

    def __init__(self, features, *head, mean=None):
        super().__init__()
        self.features, self.head, self.mean = features, nn.Sequential(*head), mean or (lambda x: x.mean([2, 3]))

    def forward(self, x):
        return self.head(self.mean(self.features(x)))


def pooled(x):
    return torch.flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1)


def resnet18():
    sizes = [(8, 8, 1), (8, 8, 1), (8, 16, 2), (16, 16, 1), (16, 24, 2), (24, 24, 1), (24, 32, 2), (32, 32, 1)]
    stem = [conv(3, 8, 7, 2), nn.MaxPool2d(3, 2, 1)]
    return Classifier(nn.Sequential(*stem, *(Basic(*size) for size in sizes)), nn.Linear(32, 10), mean=pooled)


def resnext50():
    sizes = [(8, 8, 16), (16, 8, 16), (16, 12, 24, 2), (24, 12, 24)]
    stem = [conv(3, 8, 7, 2), nn.MaxPool2d(3, 2, 1)]
    return Classifier(nn.Sequential(*stem, *(Bottleneck(*size) for size in sizes)), nn.Linear(24, 10), mean=pooled)


def mobilenet_v2():
    sizes = [(8, 8, 4, 3, 1), (4, 24, 6, 3, 2), (6, 36, 6, 3, 1), (6, 36, 8, 3, 2), (8, 48, 8, 3, 1)]
    blocks = [Inverted(*size) for size in sizes]
    features = nn.Sequential(conv(3, 8, 3, 2, act=nn.ReLU6), *blocks, conv(8, 32, 1, act=nn.ReLU6))
    return Classifier(features, nn.Dropout(0.2), nn.Linear(32, 10), mean=pooled)


def mobilenet_v3():
    gate = (nn.ReLU, nn.Hardsigmoid)
    blocks = [
        Inverted(8, 8, 8, 3, 2, nn.ReLU, gate),
        Inverted(8, 16, 12, 3, 2, nn.ReLU),
        Inverted(12, 24, 12, 5, 1, nn.Hardswish, gate),
    ]
    features = nn.Sequential(conv(3, 8, 3, 2, act=nn.Hardswish), *blocks, conv(12, 24, 1, act=nn.Hardswish))
    head = [nn.Linear(24, 32), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(32, 10)]
    return Classifier(features, *head, mean=pooled)


def efficientnet():
    gate = (nn.SiLU, nn.Sigmoid)
    sizes = [(8, 8, 4, 3, 1), (4, 24, 6, 3, 2), (6, 36, 6, 3, 1), (6, 36, 8, 5, 2), (8, 48, 8, 5, 1)]
    blocks = [Inverted(*size, nn.SiLU, gate) for size in sizes]
    features = nn.Sequential(conv(3, 8, 3, 2, act=nn.SiLU), *blocks, conv(8, 32, 1, act=nn.SiLU))
    return Classifier(features, nn.Dropout(0.2), nn.Linear(32, 10), mean=pooled)


class DenseLayer(nn.Module):
    def __init__(self, inputs, growth):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, 2 * growth, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(2 * growth), nn.Conv2d(2 * growth, growth, 3, padding=1, bias=False)

    def forward(self, features):
        x = self.conv1(F.relu(self.norm1(torch.cat(features, 1))))
        return self.conv2(F.relu(self.norm2(x)))


class DenseBlock(nn.Module):
    def __init__(self, inputs, growth, times):
        super().__init__()
        self.layers = nn.ModuleList(DenseLayer(inputs + i * growth, growth) for i in range(times))

    def forward(self, x):
        features = [x]
        for layer in self.layers:
            features.append(layer(features))
        return torch.cat(features, 1)


def densenet():
    transition = [nn.BatchNorm2d(20), nn.ReLU(), nn.Conv2d(20, 10, 1, bias=False), nn.AvgPool2d(2, 2)]
    stem = [conv(3, 8, 7, 2), nn.MaxPool2d(3, 2, 1)]
    features = nn.Sequential(
        *stem, DenseBlock(8, 4, 3), *transition, DenseBlock(10, 4, 4), nn.BatchNorm2d(26), nn.ReLU()
    )
    return Classifier(features, nn.Linear(26, 10), mean=pooled)


class Inception(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.branch1 = conv(inputs, 4, 1)
        self.branch2 = nn.Sequential(conv(inputs, 4, 1), conv(4, 6))
        self.branch3 = nn.Sequential(conv(inputs, 2, 1), conv(2, 4, 5))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1, ceil_mode=True), conv(inputs, 2, 1))

    def forward(self, x):
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


def googlenet():
    stem = [conv(3, 8, 7, 2), nn.MaxPool2d(3, 2, ceil_mode=True)]
    features = nn.Sequential(*stem, Inception(8), Inception(16), nn.MaxPool2d(3, 2, ceil_mode=True), Inception(16))
    return Classifier(features, nn.Dropout(0.2), nn.Linear(16, 10), mean=pooled)


class Fire(nn.Module):
    def __init__(self, inputs, few, outputs):
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, few, 1)
        self.expand1, self.expand3 = nn.Conv2d(few, outputs, 1), nn.Conv2d(few, outputs, 3, padding=1)

    def forward(self, x):
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1(x)), F.relu(self.expand3(x))], 1)


def squeezenet():
    features = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(Fire(8, 4, 6), Fire(12, 4, 6), nn.MaxPool2d(3, 2, ceil_mode=True), Fire(12, 6, 8)),
    )
    classifier = nn.Sequential(
        nn.Dropout(0.5), nn.Conv2d(16, 10, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1))
    )
    return nn.Sequential(features, classifier, nn.Flatten())


class ShuffleUnit(nn.Module):
    """ShuffleNetV2's: half of the channels stay as they are."""

    def __init__(self, channels, stride):
        super().__init__()
        self.stride, half = stride, channels // 2
        inputs = channels if stride > 1 else half
        if stride > 1:
            self.branch1 = nn.Sequential(conv(inputs, inputs, 3, stride, inputs, None), conv(inputs, half, 1))
        self.branch2 = nn.Sequential(
            conv(inputs, half, 1), conv(half, half, 3, stride, half, None), conv(half, half, 1)
        )

    def forward(self, x):
        if self.stride == 1:
            x1, x2 = x.chunk(2, dim=1)
            x = torch.cat((x1, self.branch2(x2)), 1)
        else:
            x = torch.cat((self.branch1(x), self.branch2(x)), 1)
        n, c, h, w = x.size()
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)


def shufflenet_v2():
    units = [ShuffleUnit(8, 2), ShuffleUnit(8, 1), ShuffleUnit(8, 1)]
    features = nn.Sequential(conv(3, 8, 3, 2), nn.MaxPool2d(3, 2, 1), *units, conv(8, 16, 1))
    return Classifier(features, nn.Linear(16, 10))


class LastNorm(nn.LayerNorm):
    """LayerNorm of the channels of (N, C, H, W)."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(c, c, 7, padding=3, groups=c), nn.LayerNorm(c, eps=1e-6)
        self.wide, self.narrow = nn.Linear(c, 4 * c), nn.Linear(4 * c, c)
        self.layer_scale = nn.Parameter(torch.ones(c, 1, 1) * 0.1)

    def forward(self, x):
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.narrow(F.gelu(self.wide(y)))
        return x + self.layer_scale * y.permute(0, 3, 1, 2)


def convnext():
    stem = [nn.Conv2d(3, 6, 4, 4), LastNorm(6, eps=1e-6), ConvNeXtBlock(6)]
    features = nn.Sequential(*stem, LastNorm(6, eps=1e-6), nn.Conv2d(6, 8, 2, 2), ConvNeXtBlock(8))
    return nn.Sequential(*(features, nn.AdaptiveAvgPool2d(1), LastNorm(8, eps=1e-6), nn.Flatten(1), nn.Linear(8, 10)))


class UNet(nn.Module):
    def __init__(self, transposed):
        super().__init__()
        self.down1, self.down2, self.down3 = conv(3, 4), conv(4, 6), conv(6, 8)
        if transposed:
            self.up2, self.up1 = nn.ConvTranspose2d(8, 6, 2, 2), nn.ConvTranspose2d(6, 4, 2, 2)
        else:
            self.up2 = nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), conv(8, 6, 1))
            self.up1 = nn.Sequential(nn.Upsample(scale_factor=2), conv(6, 4, 1))
        self.side2, self.side1, self.last = conv(12, 6), conv(8, 4), nn.Conv2d(4, 2, 1)

    def forward(self, x):
        x1 = self.down1(x)
        x2 = self.down2(F.max_pool2d(x1, 2))
        x3 = self.down3(F.max_pool2d(x2, 2))
        y = self.side2(torch.cat([x2, self.up2(x3)], 1))
        y = self.side1(torch.cat([x1, self.up1(y)], 1))
        return torch.sigmoid(self.last(y))


class Pyramid(nn.Module):
    """A feature pyramid: maps of three sizes, added from the smallest on."""

    def __init__(self):
        super().__init__()
        self.body = nn.ModuleList([conv(3, 4), conv(4, 6, stride=2), conv(6, 8, stride=2)])
        self.side = nn.ModuleList([nn.Conv2d(c, 4, 1) for c in (4, 6, 8)])
        self.last = nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, x):
        x1 = self.body[0](x)
        x2 = self.body[1](x1)
        x3 = self.body[2](x2)
        y = F.interpolate(self.side[2](x3), size=x2.shape[-2:], mode="nearest") + self.side[1](x2)
        return self.last(F.interpolate(y, size=x1.shape[-2:], mode="nearest") + self.side[0](x1))


class CrossStage(nn.Module):
    """The block that recent detectors have: half of the channels go through several bottlenecks."""

    def __init__(self, c, times=2):
        super().__init__()
        self.first, self.last = conv(c, c, 1, act=nn.SiLU), conv(c + times * c // 2, c, 1, act=nn.SiLU)
        self.blocks = nn.ModuleList(
            nn.Sequential(conv(c // 2, c // 2, act=nn.SiLU), conv(c // 2, c // 2, act=nn.SiLU)) for _ in range(times)
        )

    def forward(self, x):
        parts = list(self.first(x).chunk(2, 1))
        for block in self.blocks:
            parts.append(parts[-1] + block(parts[-1]))
        return self.last(torch.cat(parts, 1))


class FastPyramidPooling(nn.Module):
    """Pools of growing windows side by side."""

    def __init__(self, c):
        super().__init__()
        self.first, self.last = conv(c, c // 2, 1), conv(2 * c, c, 1)

    def forward(self, x):
        x = self.first(x)
        y = F.max_pool2d(x, 5, 1, 2)
        z = F.max_pool2d(y, 5, 1, 2)
        return self.last(torch.cat([x, y, z, F.max_pool2d(z, 5, 1, 2)], 1))


def detector():
    return nn.Sequential(conv(3, 8, 3, 2, act=nn.SiLU), CrossStage(8), FastPyramidPooling(8), nn.Conv2d(8, 5, 1))


ARCHITECTURES = {
    "ResNet-18": resnet18,
    "ResNeXt-50": resnext50,
    "MobileNetV2": mobilenet_v2,
    "MobileNetV3": mobilenet_v3,
    "EfficientNet": efficientnet,
    "DenseNet": densenet,
    "GoogLeNet": googlenet,
    "SqueezeNet": squeezenet,
    "ShuffleNetV2": shufflenet_v2,
    "ConvNeXt": convnext,
    "U-Net": lambda: UNet(transposed=False),
    "U-Net, transposed": lambda: UNet(transposed=True),
    "feature pyramid": Pyramid,
    "detector": detector,
}
