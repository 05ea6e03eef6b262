// The readable twin: how each kind of layer computes one number of its output, and the slopes with which it depends on
// its inputs and its parameters. Forward is `value` at every place. Backward is nothing but the chain rule: δ of each
// output goes back along every slope, so it is the transpose of forward, whatever the layer.
//
// A rule has
//   value(L, x, o)           y_o; x holds the input arrays, o counts through the output, samples included
//   parts(L, x, o, part)     calls part(k, i, slope) with every ∂y_o/∂x_k[i] that is not 0
//   weights(L, x, o, weight) calls weight(name, j, slope) with every ∂y_o/∂parameter
//   gradient(L, x, δ, i)     in place of the sum over all parts, where there is a shorter way: ∂L/∂x_i
// L is the layer: its sizes, what Python says of it (`kinds.py`), and L.params[name].values.

/** A rule for sums of products: `terms` calls term(i, w, name, j, k) for w x_k[i], where w is parameter name[j] or fixed. */
function linear(terms, { bias = () => null, constant = () => 0 } = {}) {
  return {
    terms, bias, constant, isLinear: true,
    value(L, x, o) {
      const added = bias(L, o);
      let y = constant(L, o) + (added ? L.params[added[0]].values[added[1]] : 0);
      terms(L, o, (i, w, name, j, k = 0) => { y += w * x[k][i]; });
      return y;
    },
    parts(L, x, o, part) {
      terms(L, o, (i, w, name, j, k = 0) => part(k, i, w));
    },
    weights(L, x, o, weight) {
      terms(L, o, (i, w, name, j, k = 0) => { if (name) weight(name, j, x[k][i]); });
      const added = bias(L, o);
      if (added) weight(...added, 1);
    },
  };
}

/** The pixels under a window: calls pixel(tap, i) with the number of each of its places and the pixel there. */
function underWindow(L, position, pixel) {
  const [rows, columns] = L.axes;
  const ow = position % columns.out, oh = Math.floor(position / columns.out) % rows.out;
  const n = Math.floor(position / (columns.out * rows.out));
  for (let kh = 0; kh < rows.kernel; kh++) {
    const i = oh * rows.stride + kh * rows.dilation - rows.before;
    if (i < 0 || i >= rows.size) continue;  // padding, which is 0
    for (let kw = 0; kw < columns.kernel; kw++) {
      const j = ow * columns.stride + kw * columns.dilation - columns.before;
      if (j >= 0 && j < columns.size) pixel(kh * columns.kernel + kw, (n * rows.size + i) * columns.size + j);
    }
  }
}

/** The windows that lie on a pixel: calls window(tap, position). */
function windowsOn(L, at, window) {
  const [rows, columns] = L.axes;
  const j = at % columns.size, i = Math.floor(at / columns.size) % rows.size;
  const n = Math.floor(at / (columns.size * rows.size));
  const reached = (axis, place, tap) => {
    const o = (place + axis.before - tap * axis.dilation) / axis.stride;
    return Number.isInteger(o) && o >= 0 && o < axis.out ? o : null;
  };
  for (let kh = 0; kh < rows.kernel; kh++) {
    const oh = reached(rows, i, kh);
    if (oh === null) continue;
    for (let kw = 0; kw < columns.kernel; kw++) {
      const ow = reached(columns, j, kw);
      if (ow !== null) window(kh * columns.kernel + kw, (n * rows.out + oh) * columns.out + ow);
    }
  }
}

const last = (shape) => shape[shape.length - 1];

function convTerms(L, o, term) {
  const F = last(L.outShape), C = last(L.inShape), own = C / L.groups;
  const f = o % F, first = Math.floor(f / (F / L.groups)) * own;  // the channels of this filter's group
  const W = L.params.W.values;
  underWindow(L, Math.floor(o / F), (tap, pixel) => {
    for (let c = 0; c < own; c++) {
      const j = (tap * own + c) * F + f;
      term(pixel * C + first + c, W[j], "W", j);
    }
  });
}

/** The windows lie on the output: this layer's forward is what a Conv does backward. */
function convTransposeTerms(L, o, term) {
  const F = last(L.outShape), C = last(L.inShape), own = F / L.groups, each = C / L.groups;
  const f = o % F, first = Math.floor(f / own) * each;
  const W = L.params.W.values;
  windowsOn(L, Math.floor(o / F), (tap, position) => {
    for (let c = first; c < first + each; c++) {
      const j = (tap * own + f % own) * C + c;
      term(position * C + c, W[j], "W", j);
    }
  });
}

function affineTerms(L, o, term) {
  const M = last(L.outShape), D = last(L.inShape), m = o % M, row = Math.floor(o / M);
  const W = L.params.W.values;
  for (let d = 0; d < D; d++) term(row * D + d, W[d * M + m], "W", d * M + m);
}

const channelBias = (L, o) => (L.params.b ? ["b", o % last(L.outShape)] : null);

function fixedTerms(L, o, term) {
  const row = o % L.outSize, first = Math.floor(o / L.outSize) * L.inSize;
  for (let at = L.starts[row]; at < L.starts[row + 1]; at++) term(first + L.columns[at], L.entries[at]);
}

function scaleTerms(L, o, term) {
  if (L.factor !== undefined) term(o, L.factor);
  else if (!L.params.gamma) term(o, 1);
  else term(o, L.params.gamma.values[L.at[o % L.outSize]], "gamma", L.at[o % L.outSize]);
}

/** Where the number of a branch is that meets output o: an axis of size 1 is stretched. */
function stretched(L, o, k) {
  const shape = L.inShapes[k], place = placeOf(o % L.outSize, L.outShape);
  const i = shape.reduce((sum, size, axis) => sum * size + (size === 1 ? 0 : place[axis]), 0);
  return Math.floor(o / L.outSize) * product(shape) + i;
}

function concatTerms(L, o, term) {
  let c = o % last(L.outShape), k = 0;
  for (; c >= last(L.inShapes[k]); k++) c -= last(L.inShapes[k]);
  term(Math.floor(o / last(L.outShape)) * last(L.inShapes[k]) + c, 1, undefined, undefined, k);
}

/** The places whose mean and variance number o is measured by. */
function company(L, o) {
  const C = last(L.outShape), c = o % C, places = [];
  if (L.over === "position") {
    for (let i = 0; i < C; i++) places.push(o - c + i);
  } else if (L.over === "batch") {
    for (let i = c; i < L.n * L.outSize; i += C) places.push(i);
  } else {
    const own = C / L.groups, group = Math.floor(c / own), first = Math.floor(o / L.outSize) * L.outSize;
    for (let i = first; i < first + L.outSize; i++) if (Math.floor((i % C) / own) === group) places.push(i);
  }
  return places;
}

/** What depends on these arrays and on a number's company alone is worked out once: `give()` for each first place. */
function onceFor(L, what, arrays, first, give) {
  const found = L.found?.[what];
  if (!found || found.arrays.some((each, k) => each !== arrays[k])) L.found = { ...L.found, [what]: { arrays, given: new Map() } };
  const { given } = L.found[what];
  if (!given.has(first)) given.set(first, give());
  return given.get(first);
}

/** Which company number o is in, by its first place. */
function companyOf(L, o) {
  const C = last(L.outShape), c = o % C;
  if (L.over === "position") return o - c;
  if (L.over === "batch") return c;
  return Math.floor(o / L.outSize) * L.outSize + c - c % (C / L.groups);
}

/** Mean and variance for number o, and its channel's gamma and beta. */
function statistics(L, x, o) {
  const c = o % last(L.outShape), { gamma, beta } = L.params;
  const own = { gamma: gamma ? gamma.values[c] : 1, beta: beta.values[c], c };
  if (L.mean) return { ...own, mean: L.mean[c], variance: L.var[c], sigma: Math.sqrt(L.var[c] + L.eps), company: [o] };
  return { ...own, ...onceFor(L, "statistics", x, companyOf(L, o), () => {
    const places = company(L, o), mean = places.reduce((sum, i) => sum + x[0][i], 0) / places.length;
    const variance = places.reduce((sum, i) => sum + (x[0][i] - mean) ** 2, 0) / places.length;
    return { mean, variance, sigma: Math.sqrt(variance + L.eps), company: places };
  }) };
}

/** The two means that a norm's backward takes off, for the company of number i: of γ δ, and of γ δ x̂. */
function normMeans(L, x, delta, i) {
  const { mean, sigma, company: places } = statistics(L, x, i), { gamma } = L.params, C = last(L.outShape);
  return onceFor(L, "means", [...x, delta], companyOf(L, i), () => {
    let of = 0, along = 0;
    for (const at of places) {
      const scaled = delta[at] * (gamma ? gamma.values[at % C] : 1);
      of += scaled / places.length;
      along += scaled * (x[0][at] - mean) / sigma / places.length;
    }
    return { of, along };
  });
}

const norm = {
  value(L, x, o) {
    const { gamma, beta, mean, sigma } = statistics(L, x, o);
    return gamma * (x[0][o] - mean) / sigma + beta;
  },
  parts(L, x, o, part) {
    const { gamma, mean, sigma, company: places } = statistics(L, x, o);
    const relative = (i) => (x[0][i] - mean) / sigma;
    for (const i of places) {
      const own = i === o ? 1 : 0, moved = L.mean ? 0 : (1 + relative(o) * relative(i)) / places.length;
      part(0, i, gamma / sigma * (own - moved));
    }
  },
  weights(L, x, o, weight) {
    const { mean, sigma, c } = statistics(L, x, o);
    if (L.params.gamma) weight("gamma", c, (x[0][o] - mean) / sigma);
    weight("beta", c, 1);
  },
  /** ∂L/∂x_i in one go: γ / σ (δ − mean of δ − x̂ mean of δ x̂), the γ within the means. */
  gradient(L, x, delta, i) {
    const { gamma, mean, sigma } = statistics(L, x, i);
    if (L.mean) return gamma / sigma * delta[i];
    const { of, along } = normMeans(L, x, delta, i);
    return (gamma * delta[i] - of - (x[0][i] - mean) / sigma * along) / sigma;
  },
};

/** The probabilities of the row that number o is in, their logarithms (which do not underflow), and where it begins. */
function softmaxRow(z, o, C) {
  const first = o - o % C, row = z.slice(first, first + C), most = Math.max(...row);
  const powers = row.map((each) => Math.exp(each - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return { first, row, p: powers.map((each) => each / sum), logs: row.map((each) => each - most - Math.log(sum)) };
}

const softmax = {
  value: (L, x, o) => softmaxRow(x[0], o, last(L.outShape)).p[o % last(L.outShape)],
  parts(L, x, o, part) {
    const { first, p } = softmaxRow(x[0], o, last(L.outShape)), own = o - first;
    p.forEach((each, i) => part(0, first + i, p[own] * ((i === own ? 1 : 0) - each)));
  },
  weights() {},
  gradient(L, x, delta, i) {
    const C = last(L.outShape), { first, p } = softmaxRow(x[0], i, C);
    return p[i - first] * (delta[i] - p.reduce((sum, each, c) => sum + each * delta[first + c], 0));
  },
};

/** erf by its series near 0 and a continued fraction far from it: to some 15 digits. */
function erf(x) {
  const size = Math.abs(x);
  if (size < 3) {
    let term = size, sum = size;
    for (let n = 1; Math.abs(term) > 1e-17 * sum && n < 200; n++) {
      term *= -size * size / n;
      sum += term / (2 * n + 1);
    }
    return Math.sign(x) * sum * 2 / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (size + fraction);
  return Math.sign(x) * (1 - Math.exp(-size * size) / Math.sqrt(Math.PI) / (size + fraction));
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const normalShare = (x) => (1 + erf(x / Math.SQRT2)) / 2;
const clipped = (x, low, high) => Math.min(Math.max(x, low ?? -Infinity), high ?? Infinity);
const tanhGate = (x) => (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))) / 2;

// Functions of one number: value and slope, and both as text.
const FUNCTIONS = {
  relu: { value: (x) => Math.max(x, 0), slope: (x) => (x > 0 ? 1 : 0), text: "max(x, 0)", slopeText: "R, which is 1 where x > 0, else 0" },
  leaky_relu: { value: (x, L) => (x > 0 ? x : L.alpha * x), slope: (x, L) => (x > 0 ? 1 : L.alpha), text: "x where x > 0, else α x", slopeText: "1 where x > 0, else α" },
  elu: { value: (x, L) => (x > 0 ? x : L.alpha * Math.expm1(x)), slope: (x, L) => (x > 0 ? 1 : L.alpha * Math.exp(x)), text: "x where x > 0, else α (exp x − 1)", slopeText: "1 where x > 0, else α exp x" },
  gelu: { value: (x) => x * normalShare(x), slope: (x) => normalShare(x) + x * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI), text: "x Φ(x)", slopeText: "Φ(x) + x φ(x)" },
  gelu_tanh: { value: (x) => x * tanhGate(x), slope: (x) => { const s = tanhGate(x); return s + 2 * x * s * (1 - s) * Math.sqrt(2 / Math.PI) * (1 + 3 * 0.044715 * x * x); }, text: "x s, s = (1 + tanh u) / 2", slopeText: "s + 2 x s (1 − s) u′" },
  silu: { value: (x) => x * sigmoid(x), slope: (x) => sigmoid(x) * (1 + x * (1 - sigmoid(x))), text: "x s, s = 1 / (1 + exp(−x))", slopeText: "s (1 + x (1 − s))" },
  sigmoid: { value: sigmoid, slope: (x) => sigmoid(x) * (1 - sigmoid(x)), text: "1 / (1 + exp(−x))", slopeText: "y (1 − y)" },
  tanh: { value: Math.tanh, slope: (x) => 1 - Math.tanh(x) ** 2, text: "tanh x", slopeText: "1 − y²" },
  softplus: { value: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))), slope: sigmoid, text: "log(1 + exp x)", slopeText: "1 / (1 + exp(−x))" },
  reciprocal: { value: (x) => 1 / x, slope: (x) => -1 / (x * x), text: "1 / x", slopeText: "−y²" },
  clip: { value: (x, L) => clipped(x, L.low, L.high), slope: (x, L) => (x > (L.low ?? -Infinity) && x < (L.high ?? Infinity) ? 1 : 0), text: "min(max(x, low), high)", slopeText: "1 where low < x < high, else 0" },
  hard_sigmoid: { value: (x, L) => clipped(L.alpha * x + L.beta, 0, 1), slope: (x, L) => { const y = L.alpha * x + L.beta; return y > 0 && y < 1 ? L.alpha : 0; }, text: "max(0, min(1, α x + β))", slopeText: "α where 0 < y < 1, else 0" },
  hard_swish: { value: (x) => x * clipped(x / 6 + 0.5, 0, 1), slope: (x) => (x >= 3 ? 1 : x > -3 ? x / 3 + 0.5 : 0), text: "x max(0, min(1, x/6 + 1/2))", slopeText: "0 where x ≤ −3, 1 where x ≥ 3, else x/3 + 1/2" },
};

const pointwise = {
  value: (L, x, o) => FUNCTIONS[L.function].value(x[0][o], L),
  parts: (L, x, o, part) => part(0, o, FUNCTIONS[L.function].slope(x[0][o], L)),
  weights() {},
};

const prelu = {
  value: (L, x, o) => (x[0][o] > 0 ? x[0][o] : L.params.alpha.values[L.at[o % L.outSize]] * x[0][o]),
  parts: (L, x, o, part) => part(0, o, x[0][o] > 0 ? 1 : L.params.alpha.values[L.at[o % L.outSize]]),
  weights: (L, x, o, weight) => weight("alpha", L.at[o % L.outSize], Math.min(x[0][o], 0)),
};

/** The places under a pool's window, and the first of those with the largest number. */
function contest(L, x, o) {
  const C = last(L.inShape), c = o % C, places = [];
  underWindow(L, Math.floor(o / C), (tap, pixel) => places.push(pixel * C + c));
  return { places, winner: places.reduce((best, i) => (x[0][i] > x[0][best] ? i : best)) };
}

const max = {
  value: (L, x, o) => x[0][contest(L, x, o).winner],
  parts: (L, x, o, part) => part(0, contest(L, x, o).winner, 1),
  weights() {},
};

const multiply = {
  value: (L, x, o) => x.reduce((y, each, k) => y * each[stretched(L, o, k)], 1),
  parts(L, x, o, part) {
    const factors = x.map((each, k) => each[stretched(L, o, k)]);
    factors.forEach((_, k) => part(k, stretched(L, o, k), product(factors.filter((_, other) => other !== k))));
  },
  weights() {},
};

const opaque = { value: (L, x, o) => L.given[o], parts() {}, weights() {} };

const RULES = {
  conv: linear(convTerms, { bias: channelBias }),
  conv_transpose: linear(convTransposeTerms, { bias: channelBias }),
  affine: linear(affineTerms, { bias: channelBias }),
  fixed: linear(fixedTerms, { constant: (L, o) => L.constant[o % L.outSize] }),
  normalize: linear(
    (L, o, term) => term(o, 1 / L.std[o % L.std.length]),
    { constant: (L, o) => -L.mean[o % L.mean.length] / L.std[o % L.std.length] },
  ),
  scale: linear(scaleTerms, { bias: (L, o) => (L.params.beta ? ["beta", L.at[o % L.outSize]] : null) }),
  mask: linear((L, o, term) => term(o, L.factors[o])),
  add: linear((L, o, term) => L.inShapes.forEach((_, k) => term(o, 1, undefined, undefined, k))),
  concat: linear(concatTerms),
  norm, softmax, pointwise, prelu, max, multiply, opaque,
};

// The loss of the scores, and its gradient: δ of the last map.
const LOSSES = {
  softmax: {
    value(loss, z, C) {
      let sum = 0;
      for (let first = 0; first < z.length; first += C) {
        softmaxRow(z, first, C).logs.forEach((each, c) => { sum -= loss.target[first + c] * each; });
      }
      return sum / loss.divisor;
    },
    slope: (loss, z, C, o) => (softmaxRow(z, o, C).p[o % C] - loss.target[o]) / loss.divisor,
  },
  mse: {
    value: (loss, z) => z.reduce((sum, each, i) => sum + (each - loss.target[i]) ** 2, 0) / loss.divisor,
    slope: (loss, z, C, o) => 2 * (z[o] - loss.target[o]) / loss.divisor,
  },
};

const scoresOf = (net) => net.maps[net.maps.length - 1];

/** The loss of these scores. */
function lossOf(net, z) {
  return LOSSES[net.loss.kind].value(net.loss, z, last(scoresOf(net).shape));
}

/** The values of every map, from those of the input and the parameters as they stand. */
function forward(net, input) {
  const values = [input.slice()];  // a slider may write on the input
  for (const L of net.nodes) {
    const x = L.inputs.map((m) => values[m]), y = new Float64Array(L.n * L.outSize);
    for (let o = 0; o < y.length; o++) y[o] = RULES[L.kind].value(L, x, o);
    values[L.output] = y;
  }
  return values;
}

/** δ of every map, and the gradient of every parameter, by the chain rule. */
function backward(net, values) {
  const deltas = values.map((each) => new Float64Array(each.length)), grads = new Map();
  const z = values[values.length - 1], C = last(scoresOf(net).shape);
  for (let o = 0; o < z.length; o++) deltas[deltas.length - 1][o] = LOSSES[net.loss.kind].slope(net.loss, z, C, o);
  for (const L of [...net.nodes].reverse()) {
    const x = L.inputs.map((m) => values[m]), delta = deltas[L.output];
    const own = Object.fromEntries(Object.entries(L.params).map(([name, each]) => [name, new Float64Array(each.values.length)]));
    const { gradient } = RULES[L.kind];
    for (let o = 0; o < delta.length; o++) {
      if (gradient) deltas[L.inputs[0]][o] += gradient(L, x, delta, o);
      else RULES[L.kind].parts(L, x, o, (k, i, slope) => { deltas[L.inputs[k]][i] += delta[o] * slope; });
      RULES[L.kind].weights(L, x, o, (name, j, slope) => { own[name][j] += delta[o] * slope; });
    }
    grads.set(L, own);
  }
  return { deltas, grads };
}
