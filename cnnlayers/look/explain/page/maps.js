// The maps: the row of all of them, and what is picked with what comes before and after it.

const MOST_THUMBS = 16;

const sheets = [];

/** A sheet that is walked through; its key says which it is when all is shown anew. */
function sheetIn(host, key, options) {
  const sheet = new Sheet(host, options);
  sheet.canvas.dataset.key = key;
  sheets.push(sheet);
  return sheet;
}

/** A figure with this title in a host. */
function figureIn(host, title) {
  const figure = document.createElement("figure");
  figure.innerHTML = `<figcaption>${escaped(title)}</figcaption>`;
  host.append(figure);
  return figure;
}

// The row of all maps

/** The row of maps: drawn anew where its numbers have changed, else only the picked one is marked. */
function renderStrip(net) {
  const strip = $("strip"), key = [state.net, state.gradients, sample()].join();
  if (strip.dataset.key !== key || strip.now !== net.now) {
    strip.replaceChildren(...net.maps.map((_, m) => thumbnail(net, m)));
    strip.dataset.key = key;
    strip.now = net.now;
  }
  [...strip.children].forEach((button, m) => button.setAttribute("aria-pressed", String(m === state.map)));
  strip.children[state.map].scrollIntoView({ block: "nearest", inline: "nearest" });
}

function thumbnail(net, m) {
  const button = document.createElement("button"), { shape, size } = net.maps[m], from = m === 0 ? [] : producer(net, m).inputs;
  const called = (k) => (k === 0 ? "x" : producer(net, k).name);
  const away = from.length > 1 || (m > 0 && from[0] !== m - 1) ? `from ${from.map(called).join(" and ")}` : "";
  button.type = "button";
  button.className = "map";
  button.dataset.key = `strip ${m}`;
  button.setAttribute("aria-label", `${nameOf(net, m)}, ${shape.join(" × ")}`);
  button.addEventListener("click", () => pick(m, sample() * size));
  button.innerHTML = `<span class="picture"></span><span class="kind">${escaped(kindOf(net, m))}</span>`
    + `<span class="small">${escaped(called(m))} · ${shape.join(" × ")}</span><span class="small from">${escaped(away)}</span>`;
  const layout = layoutOf(shape), numbers = net.now[state.gradients ? "deltas" : "values"][m], first = sample() * size;
  const sheet = new Sheet(button.firstChild, { width: () => 96, height: 64 });
  sheet.show({ layout: { ...layout, tiles: Math.min(layout.tiles, MOST_THUMBS) }, values: (i) => numbers[first + i], label: "" });
  sheet.canvas.setAttribute("aria-hidden", "true");
  sheet.canvas.removeAttribute("aria-label");
  return button;
}

// What is picked, and its neighbours

const inputsOf = (net, L) => L.inputs.map((m) => net.now.values[m]);
const isPicked = (name, j) => state.weight.name === name && state.weight.j === j;

/** The outputs of a layer in the sample that is shown. */
const outputsOf = (L) => Array.from({ length: L.outSize }, (_, o) => sample() * L.outSize + o);

/** What the picked number, or the picked weight, is multiplied with or computed from, on input k of its layer. */
function marksBefore(net, L, k) {
  const marks = new Map(), rule = RULES[L.kind], x = inputsOf(net, L);
  if (state.weight) {
    for (const o of outputsOf(L)) rule.terms?.(L, o, (i, w, name, j) => { if (isPicked(name, j)) marks.set(i, "read"); });
    return marks;
  }
  rule.parts(L, x, state.place, (own, i) => { if (own === k) marks.set(i, "read"); });
  if (L.kind === "max") {
    const { places, winner } = contest(L, x, state.place);
    places.forEach((i) => marks.set(i, "read"));
    marks.set(winner, "picked");
  }
  return marks;
}

/** The picked number; or all that use the picked weight. */
function marksHere(net, L) {
  if (!state.weight) return new Map([[state.place, "picked"]]);
  const marks = new Map(), x = inputsOf(net, L);
  for (const o of outputsOf(L)) RULES[L.kind].weights(L, x, o, (name, j) => { if (isPicked(name, j)) marks.set(o, "read"); });
  return marks;
}

/** The outputs of layer L that read the picked number. */
function marksAfter(net, L) {
  const marks = new Map(), x = inputsOf(net, L);
  for (const o of outputsOf(L)) RULES[L.kind].parts(L, x, o, (k, i) => { if (L.inputs[k] === state.map && i === state.place) marks.set(o, "read"); });
  return marks;
}

function renderMaps(net) {
  const { map, weight, gradients } = state, L = producer(net, map), readers = consumers(net, map);
  const [before, here, after] = ["before", "here", "after"].map($);
  sheets.length = 0;
  [before, here, after].forEach((host) => host.replaceChildren());
  if (L) {
    L.inputs.forEach((m, k) => showMap(before, m, "values", marksBefore(net, L, k), L.inputs.length > 1 ? 130 : 220));
    showWeights(before, net, L);
  } else {
    before.innerHTML = '<p class="note">The input comes from nowhere: pick a number of another map to see what it is computed from.</p>';
  }
  showMap(here, map, gradients ? "deltas" : "values", marksHere(net, L), 300);
  if (weight) {
    const others = net.n > 1 ? ", and so do those of the other samples" : "";
    after.innerHTML = `<p class="note">A weight stands before the outputs that use it: all those marked send their δ to it${others}.</p>`;
    return;
  }
  for (const R of readers) showMap(after, R.output, "deltas", marksAfter(net, R), readers.length > 1 ? 130 : 260);
  if (map === net.maps.length - 1) showLoss(after, net);
}

/** A map of the sample that is shown; `which` is "values" or "deltas". */
function showMap(host, m, which, marks, height) {
  const net = current(), { shape, size } = net.maps[m], numbers = net.now[which][m], first = sample() * size;
  const title = `${nameOf(net, m)}: ${which === "values" ? "values" : "gradients"}`;
  const inside = new Map([...marks].filter(([i]) => i >= first && i < first + size).map(([i, mark]) => [i - first, mark]));
  sheetIn(figureIn(host, title), `${host.id} ${m}`, {
    width: () => host.clientWidth - 8, height, pick: (i) => pick(m, first + i), tell: (i) => announce(about(m, first + i)),
  }).show({ layout: layoutOf(shape), values: (i) => numbers[first + i], marks: inside, label: title });
}

/** Which of a parameter's numbers are shown for output o, and how: a title, a layout, and the number at each place of it. */
function arranged(L, name, { shape, values }, o) {
  const channels = last(L.outShape), c = o % channels;
  if (name !== "W") return { title: name, layout: layoutOf([values.length]), to: (i) => i, height: 150 };
  const height = values.length <= 40 ? 300 : 150, [a, b] = shape.slice(-2), taps = shape.slice(0, -2);
  if (L.kind === "conv") return { title: `W, filter ${c} of ${channels}`, layout: layoutOf([...taps, a]), to: (i) => i * channels + c, height };
  if (L.kind === "conv_transpose") return { title: `W, for output channel ${c}`, layout: layoutOf([...taps, b]), to: (i) => (Math.floor(i / b) * a + (c % a)) * b + i % b, height };
  if (values.length <= 200) return { title: "W, a row for each input, a column for each output", layout: matrixLayout(a, b), to: (i) => i, height };
  return { title: `W, column ${c} of ${channels}`, layout: layoutOf([a]), to: (i) => i * channels + c, height };
}

function showWeights(host, net, L) {
  const node = net.nodes.indexOf(L), used = {}, { weight, gradients, place } = state;
  RULES[L.kind].weights(L, inputsOf(net, L), place, (name, j) => { (used[name] ??= new Set()).add(j); });
  for (const [name, array] of Object.entries(L.params)) {
    const { title, layout, to, height } = arranged(L, name, array, place), grads = net.now.grads.get(L)[name], marks = new Map();
    for (let i = 0; i < layout.tiles * layout.rows * layout.columns; i++) {
      if (weight && isPicked(name, to(i))) marks.set(i, "picked");
      else if (used[name]?.has(to(i))) marks.set(i, "read");
    }
    sheetIn(figureIn(host, `${gradients ? "gradient of " : ""}${title}`), `weights ${name}`, {
      width: () => host.clientWidth - 8, height, pick: (i) => pickWeight(node, name, to(i)),
      tell: (i) => announce(`${named(name, to(i), array.shape, 1)}: value ${shown(array.values[to(i)])}, gradient ${shown(grads[to(i)])}`),
    }).show({ layout, values: (i) => (gradients ? grads : array.values)[to(i)], marks, label: title });
  }
}

/** What comes after the last map: the loss, and of scores the probabilities beside their targets. */
function showLoss(host, net) {
  const m = net.maps.length - 1, z = net.now.values[m], C = last(net.maps[m].shape), first = sample() * net.maps[m].size;
  host.innerHTML = `<p class="note">The loss: L = ${shown(lossOf(net, z))}</p>`;
  if (net.loss.kind !== "softmax") return;
  const { p } = softmaxRow(z, first, C), classes = [...p].map((_, c) => `<th scope="col">${escaped(net.classes[c])}</th>`).join("");
  const row = (name, numbers) => `<tr><th scope="row">${name}</th>${numbers.map((each) => cell(each)).join("")}</tr>`;
  const targets = [...p].map((_, c) => net.loss.target[first + c]);
  host.innerHTML += `<div class="wide"><table class="matrix"><tr><th>class</th>${classes}</tr>${row("p", [...p])}${row("t", targets)}${row("p − t", [...p].map((each, c) => each - targets[c]))}</table></div>`;
}
