// Other ways to see a convolution, and two ways to doubt a gradient: each function gives what stands in one panel.

const table = (heads, rows, kind = "") => `<table class="${kind}">${heads.length ? `<tr>${heads.map((head) => `<th scope="col">${head}</th>`).join("")}</tr>` : ""}${rows.map((row) => `<tr>${row.join("")}</tr>`).join("")}</table>`;
const cell = (value, kind = "") => `<td class="${kind}">${typeof value === "number" ? shown(value) : value}</td>`;
const said = (text) => `<p>${text}</p>`;

/** The convolution as a product of matrices: the picked output is a row of patches times a column of filters. */
function im2colPanel(net, now, L, i) {
  const F = last(L.outShape), f = i % F, position = Math.floor(i / F), C = last(L.inShape), own = C / L.groups;
  const x = now.values[L.inputs[0]], W = L.params.W, taps = product(L.axes.map((axis) => axis.kernel));
  const first = Math.floor(f / (F / L.groups)) * own, positions = L.outSize / F;
  const patch = (at) => {
    const row = new Array(taps * own).fill(0);
    underWindow(L, at, (tap, pixel) => { for (let c = 0; c < own; c++) row[tap * own + c] = x[pixel * C + first + c]; });
    return row;
  };
  const filter = Array.from({ length: taps * own }, (_, k) => W.values[k * F + f]);
  const number = position % positions, sample = position - number;
  const near = Array.from({ length: positions }, (_, at) => at).filter((at) => positions <= 16 || Math.abs(at - number) <= 3);
  const picked = patch(position);
  const rows = near.map((at) => [`<th scope="row">${at}</th>`, ...patch(sample + at).map((value, k) => cell(value, `${at === number ? "on" : ""} ${value ? "" : "zero"}`)), cell("→", "arrow"), cell(now.values[L.output][(sample + at) * F + f], at === number ? "on strong" : "")]);
  const total = picked.reduce((sum, value, k) => sum + value * filter[k], 0), b = L.params.b ? L.params.b.values[f] : 0;
  return said(`Row ${number} of <i>cols</i> = im2col(x) is the patch under the filter at output ${placeOf(i % L.outSize, L.outShape).slice(0, -1).join(", ")}; column ${f} of W, written as a row above them, is the filter. Their product${L.params.b ? `, plus b[${f}] = ${shown(b)},` : ""} is ${shown(total + b)}.`)
    + `<div class="wide" tabindex="0" role="region" aria-label="matrices">${table(["row", ...filter.map((_, k) => k), "", `y[…, ${f}]`], [["<th scope=\"row\">W</th>", ...filter.map((value) => cell(value, "weight")), cell(""), cell(L.params.b ? `+ ${shown(b)}` : "")], ...rows], "matrix")}</div>`
    + said("Backward in the same matrices: dW = colsᵀ δ, and dx = col2im(δ Wᵀ), which adds every patch back to where it was read.");
}

/** The matrix M of a convolution from one channel to one filter: y = M x̄, dx̄ = Mᵀ δ. */
function matrixPanel(net, now, L, i, transposed) {
  const [rows, columns] = L.axes, F = last(L.outShape), f = i % F, C = last(L.inShape), own = C / L.groups, W = L.params.W;
  const c = 0, first = Math.floor(f / (F / L.groups)) * own;
  const after = (axis) => Math.max(0, (axis.out - 1) * axis.stride + axis.dilation * (axis.kernel - 1) + 1 - axis.before - axis.size);
  const [high, wide] = [rows, columns].map((axis) => axis.before + axis.size + after(axis));
  const outputs = rows.out * columns.out, inputs = high * wide;
  if (outputs * inputs > 1200) return said(`The matrix of this convolution has ${outputs} × ${inputs} entries for each pair of channels, nearly all of them 0: too many to show. Each row holds the ${rows.kernel * columns.kernel} weights of the filter.`);
  const M = Array.from({ length: outputs }, () => new Array(inputs).fill(null));
  for (let o = 0; o < outputs; o++) {
    for (let kh = 0; kh < rows.kernel; kh++) {
      for (let kw = 0; kw < columns.kernel; kw++) {
        const at = (Math.floor(o / columns.out) * rows.stride + kh * rows.dilation) * wide + (o % columns.out) * columns.stride + kw * columns.dilation;
        M[o][at] = kh * columns.kernel + kw;
      }
    }
  }
  const weight = (tap) => W.values[(tap * own + c) * F + f];
  const sample = Math.floor(i / L.outSize), x = now.values[L.inputs[0]], delta = now.deltas[L.output];
  const vector = transposed
    ? Array.from({ length: outputs }, (_, o) => delta[sample * L.outSize + o * F + f])
    : Array.from({ length: inputs }, (_, at) => {
      const r = Math.floor(at / wide) - rows.before, k = (at % wide) - columns.before;
      return r < 0 || k < 0 || r >= rows.size || k >= columns.size ? 0 : x[((sample * rows.size + r) * columns.size + k) * C + first + c];
    });
  const lines = transposed ? Array.from({ length: inputs }, (_, at) => M.map((row) => row[at])) : M;
  const body = lines.map((line) => [...line.map((tap) => (tap === null ? '<td class="zero">0</td>' : `<td class="tap" style="--hue: ${tap * 137 % 360}">${shown(weight(tap))}</td>`)),
    cell("=", "arrow"), cell(line.reduce((sum, tap, k) => sum + (tap === null ? 0 : weight(tap) * vector[k]), 0), "strong")]);
  const many = own > 1 ? ` Here for channel ${first + c} alone: y is the sum over the ${own} channels that the filter reads.` : "";
  return said(transposed
    ? `Mᵀ δ, with δ above the columns: what came to x through a weight goes back through the same weight.${high * wide > rows.size * columns.size ? " The rows of the padding are for nobody." : ""}${many}`
    : `M x̄, with x̄ (x in its padding) above the columns. Each colour is one weight of filter ${f}: the few weights stand in every row, and all the rest is 0.${many}`)
    + `<div class="wide" tabindex="0" role="region" aria-label="matrices">${table([], [[...vector.map((value) => cell(value, "weight")), cell("", "arrow"), cell(transposed ? "dx̄" : "y")], ...body], "matrix")}</div>`;
}

/** Aᵀ, G and Bᵀ of F(4, 3): polynomials of tile and filter at five points and at infinity, and back. */
function winogradMatrices() {
  const points = [0, 3 / 4, -3 / 4, 3 / 2, -3 / 2];
  // The coefficients of the product of (x − each), the constant first, in six places.
  const polynomial = (roots) => roots.reduce((p, root) => p.map((each, k) => (k ? p[k - 1] : 0) - root * each), [1, 0, 0, 0, 0, 0]);
  const others = (a) => points.filter((each) => each !== a);
  const powers = (a, count) => Array.from({ length: count }, (_, k) => a ** k);
  const columns = [...points.map((a) => powers(a, 4)), [0, 0, 0, 1]];
  return {
    AT: [0, 1, 2, 3].map((k) => columns.map((column) => column[k])),
    G: [...points.map((a) => powers(a, 3).map((each) => each / product(others(a).map((b) => a - b)))), [0, 0, 1]],
    BT: [...points.map((a) => polynomial(others(a))), polynomial(points)],
  };
}

/** Winograd's way on the tile of the picked output: 36 products for 16 results. */
function winogradPanel(net, now, L, i) {
  const { AT, G, BT } = winogradMatrices(), [rows, columns] = L.axes, F = last(L.outShape), f = i % F, C = last(L.inShape);
  const position = Math.floor(i / F), ow = position % columns.out, oh = Math.floor(position / columns.out) % rows.out;
  const sample = Math.floor(i / L.outSize), top = oh - oh % 4, left = ow - ow % 4, own = C / L.groups;
  const first = Math.floor(f / (F / L.groups)) * own, x = now.values[L.inputs[0]], W = L.params.W.values;
  const times = (A, B) => A.map((row) => B[0].map((_, c) => row.reduce((sum, each, k) => sum + each * B[k][c], 0)));
  const turned = (A) => A[0].map((_, c) => A.map((row) => row[c]));
  const both = (A, X) => times(times(A, X), turned(A));
  const square = (n, give) => Array.from({ length: n }, (_, r) => Array.from({ length: n }, (_, c) => give(r, c)));
  let summed = square(6, () => 0), shownOnce = null;
  for (let c = 0; c < own; c++) {
    const d = square(6, (r, k) => {
      const row = top + r - rows.before, column = left + k - columns.before;
      return row < 0 || column < 0 || row >= rows.size || column >= columns.size ? 0 : x[((sample * rows.size + row) * columns.size + column) * C + first + c];
    });
    const g = square(3, (r, k) => W[((r * 3 + k) * own + c) * F + f]);
    const D = both(BT, d), U = both(G, g), products = square(6, (r, k) => D[r][k] * U[r][k]);
    shownOnce ??= { d, g, D, U, products };
    summed = square(6, (r, k) => summed[r][k] + products[r][k]);
  }
  const y = both(AT, summed), b = L.params.b ? L.params.b.values[f] : 0;
  const results = square(4, (r, k) => y[r][k] + b);
  const here = square(4, (r, k) => (top + r < rows.out && left + k < columns.out ? now.values[L.output][((sample * rows.out + top + r) * columns.out + left + k) * F + f] : null));
  const picture = (title, X) => `<figure><figcaption>${title}</figcaption>${table([], X.map((row) => row.map((value) => cell(value === null ? "outside" : value))), "matrix")}</figure>`;
  const { d, g, D, U, products } = shownOnce, sum = own > 1 ? `the sum of the products over ${own} channels` : "the products";
  return said(`Four by four results have 16 · 9 = 144 products with weights. Winograd's method takes the tile d to points, BᵀdB, and the filter too, GgGᵀ (once for all tiles); there it needs 36 products${own > 1 ? " for each channel" : ""}, and Aᵀ(…)A gives the same results.${own > 1 ? " Shown for the first channel:" : ""}`)
    + `<div class="wide figures" tabindex="0" role="region" aria-label="tables">${picture("d, the tile", d)}${picture("g, the filter", g)}${picture("BᵀdB", D)}${picture("GgGᵀ", U)}${picture("the 36 products", products)}${picture(`AᵀMA${b ? " + b" : ""}, from ${sum}`, results)}${picture("the map's own numbers", here)}</div>`;
}

/** The gradient of a number beside finite differences: Python's, where it took one, and this page's. */
function checkPanel(net, picked) {
  const { name, j, gradient, values, label } = picked, python = net.checks[name]?.[j], h = 1e-5;
  const at = (step) => {
    const old = values[j];
    values[j] = old + step;
    const found = forward(net, net.input);
    values[j] = old;
    return lossOf(net, found[found.length - 1]);
  };
  const rows = [["gradient of the backward pass", gradient]];
  if (python !== undefined && !net.moved) rows.push(["(L(w + h) − L(w − h)) / 2h, computed in Python beforehand", python]);
  if (!net.isOpaque) rows.push(["the same, computed in this page now", (at(h) - at(-h)) / (2 * h)]);
  const symbol = name.split(".").pop();
  const others = Object.keys(net.checks[name] ?? {}).map((place) => `<button type="button" class="link" data-array="${name}" data-place="${place}">${named(symbol, Number(place), picked.shape, symbol === "x" ? net.n : 1)}</button>`);
  return said(`How much does the loss change when ${label} does, if nobody knows the backward pass? h = 10⁻⁵.`)
    + table(["", label], rows.map(([text, value]) => [`<th scope="row">${text}</th>`, `<td data-check>${shown(value)}</td>`]))
    + said(`Python checked ${others.join(", ")}.`);
}
