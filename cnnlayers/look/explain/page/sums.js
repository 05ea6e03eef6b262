// What a number is the sum of: a value forward, a gradient backward, the gradient of a weight. Each explanation is
//   { title, equation, lines, heads, rows, total }
// with `rows` of [name, number, name, number, product], whose products add up to `total` with what `lines` say.

// Equations for people.
const EQUATIONS = {
  conv: ["y[i, j, f] = Σ x[i s + kh d − p, j s + kw d − p, c] W[kh, kw, c, f] + b[f], with stride s, dilation d and padding p", "dx = Σ δ W, over every output that reads this pixel, each through its own weight", "dW = Σ δ x, over every place of the filter"],
  conv_transpose: ["y = Σ x W + b, over every input pixel whose window covers this output", "dx = Σ δ W: a convolution of δ", "dW = Σ δ x, over every place of the filter"],
  affine: ["y[m] = Σ x[d] W[d, m] + b[m]", "dx[d] = Σ δ[m] W[d, m]: δ Wᵀ", "dW[d, m] = δ[m] x[d]: xᵀ δ"],
  fixed: ["y = Σ x m, with fixed factors m", "dx = Σ δ m: every output gives δ back through the factor it was read with", ""],
  normalize: ["y = (x − mean) / std", "dx = δ / std", ""],
  scale: ["y = γ x + β", "dx = γ δ", "dγ = Σ δ x, dβ = Σ δ"],
  mask: ["y = x m, m = 0 or 1 / (1 − p)", "dx = δ m", ""],
  add: ["y = a + b: the two ways meet", "δ goes back along both ways, as it is", ""],
  concat: ["y = the channels of the branches, side by side", "each branch gets the δ of its own channels", ""],
  multiply: ["y = a b …: the branches, number by number", "da = Σ δ b …: δ times all the other factors", ""],
  norm: ["x̂ = (x − mean) / √(var + ε), y = γ x̂ + β", "dx = γ / √(var + ε) (δ − mean of δ − x̂ · mean of δ x̂)", "dγ = Σ δ x̂, dβ = Σ δ"],
  softmax: ["pᵢ = exp zᵢ / Σ exp zⱼ", "dzᵢ = pᵢ (δᵢ − Σ pⱼ δⱼ)", ""],
  prelu: ["y = x where x > 0, else α x", "dx = δ where x > 0, else α δ", "dα = Σ δ x where x < 0"],
  max: ["y = the largest x under the window", "dx = Σ δ of the windows in which this pixel is the largest", ""],
  opaque: Array(3).fill("a layer that this page has no rule for: its numbers are Python's"),
};

const SIGNAL = "y[i, f] = Σ x[i s + k d − p, c] W[k, c, f] + b[f], with stride s, dilation d and padding p";

/** What kind of step: 0 forward, 1 backward, 2 of a weight. */
const equationOf = (L, which) => (L.kind === "conv" && L.inShape.length === 2 && which === 0 ? SIGNAL : L.kind === "pointwise"
  ? [`y = ${FUNCTIONS[L.function].text}`, `dx = δ · f′(x), f′(x) = ${FUNCTIONS[L.function].slopeText}`, ""]
  : EQUATIONS[L.kind])[which];

/** x[2, 0, 1], with the sample before it if there are several. */
function named(symbol, i, shape, n) {
  const size = product(shape), place = placeOf(i % size, shape);
  return `${symbol}[${[...(n > 1 ? [Math.floor(i / size)] : []), ...place].join(", ")}]`;
}

const inputName = (net, L, k) => (L.inputs.length > 1 ? `${"abcdefgh"[k] ?? `x${k}`}` : "x");
const titleOf = (L) => `${L.name ? `${L.name}: ` : ""}${L.text}`;

/** Where a value comes from. */
function forwardSum(net, now, m, i) {
  const L = net.nodes.find((node) => node.output === m);
  if (!L) return { title: "the input", equation: "x is given", lines: [], rows: [], total: now.values[m][i] };
  const rule = RULES[L.kind], x = L.inputs.map((each) => now.values[each]);
  const found = { title: titleOf(L), equation: equationOf(L, 0), lines: [], rows: [], total: rule.value(L, x, i), isOpaque: L.kind === "opaque" };
  if (rule.isLinear) {
    found.heads = ["input", "value", "factor", "value", "product"];
    rule.terms(L, i, (at, w, name, j, k = 0) => {
      const from = named(inputName(net, L, k), at, L.inShapes[k], net.n);
      found.rows.push([from, x[k][at], name ? named(name, j, L.params[name].shape, 1) : "", w, w * x[k][at], { map: L.inputs[k], i: at }]);
    });
    const added = rule.bias(L, i), constant = rule.constant(L, i);
    if (added) found.rows.push(["", 1, named(added[0], added[1], L.params[added[0]].shape, 1), L.params[added[0]].values[added[1]], L.params[added[0]].values[added[1]], null]);
    if (constant) found.rows.push(["", 1, "constant", constant, constant, null]);
    const under = L.axes && product(L.axes.map((axis) => axis.kernel));
    if (L.kind === "conv" && found.rows.length - (added ? 1 : 0) < under * L.params.W.shape.at(-2)) found.lines.push("The window hangs over the edge: what it reads there is 0.");
  } else if (L.kind === "max") {
    const { places, winner } = contest(L, x, i);
    found.heads = ["input", "value", "", "factor", "product"];
    for (const at of places) found.rows.push([named("x", at, L.inShape, net.n), x[0][at], at === winner ? "the winner" : "", at === winner ? 1 : 0, at === winner ? x[0][at] : 0, { map: L.inputs[0], i: at }]);
  } else if (L.kind === "multiply") {
    found.lines.push(`${x.map((each, k) => factor(each[stretched(L, i, k)])).join(" · ")} = ${shown(found.total)}`);
  } else if (L.kind === "norm") {
    const s = statistics(L, x, i);
    found.lines.push(
      `mean = ${shown(s.mean)}, var = ${shown(s.variance)}: ${L.mean ? "the running ones, constants" : `of ${s.company.length} numbers`}`,
      `x̂ = (${shown(x[0][i])} − ${factor(s.mean)}) / √(${shown(s.variance)} + ${shown(L.eps)}) = ${shown((x[0][i] - s.mean) / s.sigma)}`,
      `y = ${factor(s.gamma)} · ${factor((x[0][i] - s.mean) / s.sigma)} + ${factor(s.beta)} = ${shown(found.total)}`,
    );
  } else if (L.kind === "softmax") {
    const { row } = softmaxRow(x[0], i, last(L.outShape));
    found.lines.push(`exp(${shown(x[0][i])}) / (${[...row].map((z) => `exp(${shown(z)})`).join(" + ")}) = ${shown(found.total)}`);
  } else if (L.kind === "pointwise" || L.kind === "prelu") {
    found.lines.push(`x = ${shown(x[0][i])}, so y = ${shown(found.total)}`);
  }
  return found;
}

/** What comes back to a number: a part for each layer that reads it, and their sum. */
function backwardSum(net, now, m, i) {
  const parts = [];
  for (const L of net.nodes) {
    const ks = L.inputs.flatMap((each, k) => (each === m ? [k] : []));
    if (ks.length) parts.push(backwardPart(net, now, L, ks, i));
  }
  if (m === net.maps.length - 1) parts.push(lossPart(net, now, i));
  return { parts, total: parts.reduce((sum, part) => sum + part.total, 0) };
}

function backwardPart(net, now, L, ks, i) {
  const x = L.inputs.map((each) => now.values[each]), delta = now.deltas[L.output];
  const found = { title: titleOf(L), equation: equationOf(L, 1), lines: [], rows: [], total: 0, isOpaque: L.kind === "opaque" };
  if (L.kind === "norm" && !L.mean) {
    const s = statistics(L, x, i), { of, along } = normMeans(L, x, delta, i), scaled = s.gamma * delta[i], own = (x[0][i] - s.mean) / s.sigma;
    found.total = norm.gradient(L, x, delta, i);
    found.lines.push(
      `γ δ = ${shown(scaled)}; over ${s.company.length} numbers the mean of γ δ is ${shown(of)}, that of γ δ x̂ is ${shown(along)}; x̂ = ${shown(own)}`,
      `(${shown(scaled)} − ${factor(of)} − ${factor(own)} · ${factor(along)}) / ${shown(s.sigma)} = ${shown(found.total)}`,
    );
    return found;
  }
  if (L.kind === "softmax") {
    const { first, p } = softmaxRow(x[0], i, last(L.outShape));
    const mean = p.reduce((sum, each, c) => sum + each * delta[first + c], 0);
    found.total = softmax.gradient(L, x, delta, i);
    found.lines.push(`Σ pⱼ δⱼ = ${shown(mean)}`, `${shown(p[i - first])} · (${shown(delta[i])} − ${factor(mean)}) = ${shown(found.total)}`);
    return found;
  }
  found.heads = ["output", "δ", "factor", "value", "product"];
  const rule = RULES[L.kind], sample = Math.floor(i / product(L.inShapes[ks[0]]));
  for (let o = sample * L.outSize; o < (sample + 1) * L.outSize; o++) {
    const row = (k, at, slope, name) => {
      if (at !== i || !ks.includes(k) || (slope === 0 && L.kind !== "pointwise" && !name)) return;
      found.rows.push([named("δ", o, L.outShape, net.n), delta[o], name ?? "", slope, delta[o] * slope, { map: L.output, i: o }]);
      found.total += delta[o] * slope;
    };
    if (rule.isLinear) rule.terms(L, o, (at, w, name, j, k = 0) => row(k, at, w, name && named(name, j, L.params[name].shape, 1)));
    else rule.parts(L, x, o, (k, at, slope) => row(k, at, slope));
  }
  if (L.kind === "pointwise" || L.kind === "prelu") found.lines.push(`x = ${shown(x[0][i])}, so the slope is ${shown(found.rows[0]?.[3] ?? 0)}`);
  if (L.kind === "max" && !found.rows.length) found.lines.push("It is the largest of no window, so nothing comes back.");
  return found;
}

function lossPart(net, now, i) {
  const z = now.values[net.maps.length - 1], C = last(scoresOf(net).shape), { kind, target, divisor } = net.loss;
  const total = LOSSES[kind].slope(net.loss, z, C, i), over = divisor === 1 ? "" : ` / ${divisor}`;
  if (kind === "softmax") {
    const { p } = softmaxRow(z, i, C);
    return { title: "the loss", equation: `L = −Σ t log p, p = softmax(z); δ = (p − t)${over}, where t is what p should be: ${target.every((each) => each === 0 || each === 1) ? "e<sub>y</sub>, 1 at the label" : "the targets"}`, rows: [], total,
      lines: [`p = ${shown(p[i % C])}, t = ${shown(target[i])}`, `(${shown(p[i % C])} − ${shown(target[i])})${over} = ${shown(total)}`] };
  }
  return { title: "the loss", equation: `L = Σ (z − t)²${over}; δ = 2 (z − t)${over}`, rows: [], total,
    lines: [`2 (${shown(z[i])} − ${factor(target[i])})${over} = ${shown(total)}`] };
}

/** The products of x and δ that the gradient of a weight is the sum of. */
function weightSum(net, now, L, name, j) {
  const x = L.inputs.map((each) => now.values[each]), delta = now.deltas[L.output], rule = RULES[L.kind];
  const found = { title: `${titleOf(L)}, ${named(name, j, L.params[name].shape, 1)}`, equation: equationOf(L, 2), lines: [], rows: [], total: 0, isOpaque: L.kind === "opaque",
    heads: ["output", "δ", "factor", "value", "product"] };
  for (let o = 0; o < delta.length; o++) {
    const read = [];
    if (rule.isLinear) rule.terms(L, o, (i, w, own, at, k = 0) => { if (own === name && at === j) read.push(named(inputName(net, L, k), i, L.inShapes[k], net.n)); });
    rule.weights(L, x, o, (own, at, slope) => {
      if (own !== name || at !== j) return;
      found.rows.push([named("δ", o, L.outShape, net.n), delta[o], read.shift() ?? (L.kind === "norm" && name === "gamma" ? "x̂" : ""), slope, delta[o] * slope, { map: L.output, i: o }]);
      found.total += delta[o] * slope;
    });
  }
  return found;
}
