// What is picked, and what the page shows of it.

const DATA = revived(JSON.parse(document.getElementById("data").textContent));
const $ = (id) => document.getElementById(id);
const state = { net: 0, map: 0, place: 0, weight: null, gradients: false, step: null };
const MOST_ROWS = 60;

/** Give each node its sizes, and the net what it holds. */
function prepared(net) {
  net.n = net.batch;
  net.maps.forEach((map) => { map.size = product(map.shape); });
  for (const L of net.nodes) {
    Object.assign(L, L.described, { n: net.n });
    L.inShapes = L.inputs.map((m) => net.maps[m].shape);
    [L.inShape] = L.inShapes;
    L.outShape = net.maps[L.output].shape;
    L.inSize = product(L.inShape);
    L.outSize = product(L.outShape);
    if (L.kind === "opaque") L.given = net.maps[L.output].values;
  }
  net.isOpaque = net.nodes.some((L) => L.kind === "opaque");
  net.input = net.maps[0].values;
  net.rest = { values: net.maps.map((map) => map.values), deltas: net.maps.map((map) => map.grads), grads: new Map(net.nodes.map((L) => [L, Object.fromEntries(Object.entries(L.params).map(([name, each]) => [name, each.grads]))])) };
  net.now = net.rest;
  return net;
}

const current = () => DATA.nets[state.net];
const producer = (net, m) => net.nodes.find((L) => L.output === m);
const consumers = (net, m) => net.nodes.filter((L) => L.inputs.includes(m));
const nameOf = (net, m) => (m === 0 ? "x, the input" : `${producer(net, m).name} ${kindOf(net, m)}`);
const kindOf = (net, m) => (m === 0 ? "input" : producer(net, m).kindName);

function pick(map, place) {
  Object.assign(state, { map, place, weight: null });
  render();
  announce(`picked ${about(map, place)}`);
}

function pickWeight(node, name, j) {
  const net = current();
  if (state.map !== net.nodes[node].output) Object.assign(state, { map: net.nodes[node].output, place: 0 });
  Object.assign(state, { weight: { node, name, j }, gradients: true });
  render();
  announce(`picked weight ${named(name, j, net.nodes[node].params[name].shape, 1)}`);
}

/** A number in words. */
function about(m, i) {
  const net = current();
  return `${nameOf(net, m)}, ${named(m ? "y" : "x", i, net.maps[m].shape, net.n)}: value ${shown(net.now.values[m][i])}, gradient ${shown(net.now.deltas[m][i])}`;
}

function announce(text) { $("status").textContent = text; }

const sample = () => Math.floor(state.place / current().maps[state.map].size);

/** An explanation as HTML; the total carries the numbers for whoever checks them. */
function sumHTML(part, python) {
  const count = part.rows.filter((row) => row[4] !== 0), first = count.length ? count : part.rows;
  const products = first.slice(0, 8).map(([, a, , b]) => `${factor(a)} · ${factor(b)}`).join(" + ");
  const zeros = count.length && part.rows.length - count.length, more = first.length - 8;
  const others = [...(more > 0 ? [`${more} more`] : []), ...(zeros ? [`${zeros} that are 0`] : [])].join(" and ");
  const line = part.rows.length ? `<p class="numbers">${products}${more > 0 ? " + …" : ""}${others ? ` (and ${others})` : ""} = <b>${shown(part.total)}</b></p>` : "";
  const rows = part.rows.slice(0, MOST_ROWS).map(([from, a, by, b, result, link]) => [
    `<td>${link ? `<button type="button" class="link" data-map="${link.map}" data-place="${link.i}">${from}</button>` : from}</td>`, cell(a), `<td>${by}</td>`, cell(b), cell(result)]);
  const left = part.rows.length > MOST_ROWS ? `<p>and ${part.rows.length - MOST_ROWS} more</p>` : "";
  if (part.isOpaque) return `<h4>${escaped(part.title)}</h4><p class="equation">${part.equation}</p>${python === undefined ? "" : `<p class="total">Python: ${shown(python)}</p>`}`;
  const heads = part.heads && part.rows.length ? `<div class="terms" tabindex="0" role="region" aria-label="the products">${table(part.heads, rows)}${left}</div>` : "";
  return `<h4>${escaped(part.title)}</h4><p class="equation">${part.equation}</p>${part.lines.map((each) => `<p class="numbers">${each}</p>`).join("")}${line}${heads}${python === undefined ? "" : total(part.total, python)}`;
}

function total(value, python) {
  const net = current();
  const beside = net.moved ? "moved, so Python has no number for it" : `Python: ${shown(python)}`;
  return `<p class="total">together <b>${shown(value)}</b> <span>${beside}</span></p>`;
}

/** All sums of what is picked, as numbers: what the page shows, and what Python computed. */
function sums() {
  const net = current(), { map, place, weight } = state;
  if (weight) {
    const L = net.nodes[weight.node];
    return { weight: [weightSum(net, net.now, L, weight.name, weight.j).total, L.params[weight.name].grads[weight.j]] };
  }
  return {
    forward: [forwardSum(net, net.now, map, place).total, net.maps[map].values[place]],
    backward: [backwardSum(net, net.now, map, place).total, net.maps[map].grads[place]],
  };
}

function renderSums(net) {
  const { map, place, weight } = state;
  const picked = $("picked");
  if (weight) {
    const L = net.nodes[weight.node];
    picked.textContent = `${nameOf(net, L.output)}, weight ${named(weight.name, weight.j, L.params[weight.name].shape, 1)} = ${shown(L.params[weight.name].values[weight.j])}`;
    $("forward").innerHTML = `<h3>Its value</h3><p>${L.params[weight.name].frozen ? "It is frozen: it does not train." : "It is learned: SGD takes lr · gradient away from it in each step."}</p>`;
    $("backward").innerHTML = `<h3>Where its gradient comes from</h3>${sumHTML(weightSum(net, net.now, L, weight.name, weight.j), L.params[weight.name].grads[weight.j])}`;
    return;
  }
  picked.textContent = `${nameOf(net, map)}, ${named(map ? "y" : "x", place, net.maps[map].shape, net.n)} = ${shown(net.now.values[map][place])}, gradient ${shown(net.now.deltas[map][place])}`;
  $("forward").innerHTML = `<h3>Where its value comes from</h3>${sumHTML(forwardSum(net, net.now, map, place), net.maps[map].values[place])}`;
  const back = backwardSum(net, net.now, map, place);
  const ways = back.parts.length > 1 ? `<p>${back.parts.length} ways lead from it to the loss; what comes back along them adds up: ${back.parts.map((part) => factor(part.total)).join(" + ")}.</p>` : "";
  $("backward").innerHTML = `<h3>Where its gradient comes from</h3>${ways}${back.parts.map((part) => sumHTML(part)).join("")}${back.parts.some((part) => part.isOpaque) ? `<p class="total">Python: ${shown(net.maps[map].grads[place])}</p>` : total(back.total, net.maps[map].grads[place])}`;
}

/** What a layer's parameter is called in the net. */
const arrayName = (L, name) => (L.name ? `${L.name}.${name}` : name);

/** What may be changed and checked: the picked weight, or the picked number of the input. */
function changeable(net) {
  if (state.weight) {
    const { node, name, j } = state.weight, L = net.nodes[node];
    return { name: arrayName(L, name), j, values: L.params[name].values, shape: L.params[name].shape, gradient: net.now.grads.get(L)[name][j], label: named(name, j, L.params[name].shape, 1) };
  }
  if (state.map === 0) return { name: "x", j: state.place, values: net.input, shape: net.maps[0].shape, gradient: net.now.deltas[0][state.place], label: named("x", state.place, net.maps[0].shape, net.n) };
  return null;
}

/** The convolution that gives the picked number, or else one that reads it, and the output to look at. */
function convolution(net) {
  const gives = producer(net, state.map), reads = consumers(net, state.map).find((L) => L.kind === "conv");
  if (gives && gives.kind === "conv") return [gives, state.place];
  if (!reads) return [null, 0];
  for (let o = sample() * reads.outSize; o < (sample() + 1) * reads.outSize; o++) {
    let isRead = false;
    RULES.conv.terms(reads, o, (i) => { isRead ||= i === state.place; });
    if (isRead) return [reads, o];
  }
  return [reads, sample() * reads.outSize];
}

/** Fill the panels that are open, but for the one whose slider moves. */
function renderPanels(net, but = "") {
  const [L, o] = convolution(net), isConv = Boolean(L);
  const isWinograd = isConv && L.axes.every((axis) => axis.kernel === 3 && axis.stride === 1 && axis.dilation === 1);
  const fill = (id, isThere, give) => {
    const panel = $(id);
    if (id === but) return;
    panel.hidden = !isThere;
    if (isThere && panel.open) panel.querySelector("div").innerHTML = give();
  };
  fill("im2col", isConv, () => im2colPanel(net, net.now, L, o));
  fill("matrix", isConv, () => matrixPanel(net, net.now, L, o, false) + matrixPanel(net, net.now, L, o, true));
  fill("winograd", isWinograd, () => winogradPanel(net, net.now, L, o));
  const picked = changeable(net);
  const hint = "Pick a weight, or a number of the input.";
  fill("check", true, () => (picked ? checkPanel(net, picked) : said(hint)));
  fill("change", true, () => (net.isOpaque ? said("This net has a layer that the page has no rule for, so it cannot be computed anew here.") : picked ? changeHTML(net, picked) : said(hint)));
  const slider = but ? null : $("slider");
  if (slider) slider.addEventListener("input", () => change(net, picked, Number(slider.value)));
  const reset = but ? null : $("reset");
  if (reset) reset.addEventListener("click", () => { restore(net); render(); });
}

function changeHTML(net, picked) {
  const isMoved = net.moved?.values === picked.values && net.moved.j === picked.j, start = isMoved ? net.moved.old : picked.values[picked.j];
  const reach = Math.max(1, 2 * Math.abs(start));
  return `${said(`Move ${picked.label} and the page computes the net anew, in plain loops.`)}
    <label>${picked.label} <input id="slider" type="range" min="${start - reach}" max="${start + reach}" step="${reach / 200}" value="${picked.values[picked.j]}"></label> <button type="button" id="reset">back</button>
    <p class="numbers" id="moved" aria-live="polite">${isMoved ? net.moved.said : ""}</p>`;
}

/** Put another number in place of the picked one, and compute the net with it. */
function change(net, picked, value) {
  if (!net.moved || net.moved.values !== picked.values || net.moved.j !== picked.j) {
    restore(net);
    net.moved = { values: picked.values, j: picked.j, old: picked.values[picked.j], gradient: changeable(net).gradient, loss: net.loss.value };
  }
  const { moved } = net;
  picked.values[picked.j] = value;
  const values = forward(net, net.input), back = backward(net, values), step = value - moved.old;
  net.now = { values, deltas: back.deltas, grads: back.grads };
  const loss = lossOf(net, values[values.length - 1]);
  moved.said = `${picked.label}: ${shown(moved.old)} → ${shown(value)}. L: ${shown(moved.loss)} → ${shown(loss)}, a change of <b data-change>${shown(loss - moved.loss)}</b>; gradient · step = ${factor(moved.gradient)} · ${factor(step)} = <b data-expected>${shown(moved.gradient * step)}</b>`;
  $("moved").innerHTML = moved.said;
  renderHead(net);
  renderStrip(net);
  renderMaps(net);
  renderSums(net);
  renderPanels(net, "change");
}

function restore(net) {
  if (!net.moved) return;
  net.moved.values[net.moved.j] = net.moved.old;
  net.moved = null;
  net.now = net.rest;
}

function renderHead(net) {
  const z = net.now.values[net.maps.length - 1], C = last(scoresOf(net).shape), loss = lossOf(net, z);
  let answer = `loss ${shown(loss)}`;
  if (net.loss.kind === "softmax") {
    const { p, row } = softmaxRow(z, sample() * C, C), best = row.indexOf(Math.max(...row));
    const target = net.loss.target.slice(sample() * C, (sample() + 1) * C), label = target.indexOf(Math.max(...target));
    answer = `answer ${net.classes[best]} (${(100 * p[best]).toFixed(1)} %), label ${net.classes[label]}, loss ${shown(loss)}`;
  }
  $("answer").textContent = `${answer}${net.train ? "; as in a step of training" : ""}${net.moved ? "; with a number changed" : ""}`;
}

function renderTour() {
  const { tour } = DATA;
  $("tour").hidden = !tour.length;
  if (!tour.length) return;
  const step = tour[state.step];
  $("tour-title").textContent = `${state.step + 1} of ${tour.length}: ${step.title}`;
  $("tour-text").innerHTML = step.text.map((each) => (each.startsWith("<table") ? `<div class="wide">${each}</div>` : said(each))).join("");
  $("previous").setAttribute("aria-disabled", String(!state.step));
  $("next").setAttribute("aria-disabled", String(state.step === tour.length - 1));
}

function goTo(step) {
  const { net, map, weight, place, gradients, open } = DATA.tour[step];
  restore(current());
  Object.assign(state, { step, net, map, place, weight, gradients });
  for (const panel of document.querySelectorAll("details")) {
    panel.open = panel.id === open;
    panel.classList.toggle("first", panel.open);  // before the sums: the step speaks of it
  }
  render();
}

/** Show all anew; what had the focus, or what stands in its place, has it again. */
function render() {
  const net = current(), focused = document.activeElement, key = focused?.dataset?.key;
  $("net").value = state.net;
  $("values").setAttribute("aria-pressed", String(!state.gradients));
  $("gradients").setAttribute("aria-pressed", String(state.gradients));
  $("samples").hidden = net.n === 1;
  $("sample").max = net.n - 1;
  $("sample").value = sample();
  renderTour();
  renderHead(net);
  renderStrip(net);
  renderMaps(net);
  renderSums(net);
  renderPanels(net);
  if (!focused.isConnected) (document.querySelector(`[data-key="${key}"]`) ?? document.querySelector("#here canvas")).focus({ preventScroll: true });
}

function start() {
  DATA.nets.forEach(prepared);
  DATA.nets.forEach((net, k) => $("net").add(new Option(net.title, k)));
  $("net").disabled = DATA.nets.length === 1;
  $("net").addEventListener("change", (event) => {
    restore(current());
    Object.assign(state, { net: Number(event.target.value), map: 1, place: 0, weight: null });
    render();
  });
  $("values").addEventListener("click", () => { state.gradients = false; render(); });
  $("gradients").addEventListener("click", () => { state.gradients = true; render(); });
  $("sample").addEventListener("change", (event) => {
    const net = current(), n = Math.min(Math.max(Math.round(Number(event.target.value)) || 0, 0), net.n - 1), { size } = net.maps[state.map];
    state.place = n * size + state.place % size;
    render();
    announce(`sample ${n}`);
  });
  $("previous").addEventListener("click", () => goTo(Math.max(state.step - 1, 0)));
  $("next").addEventListener("click", () => goTo(Math.min(state.step + 1, DATA.tour.length - 1)));
  for (const panel of document.querySelectorAll("details")) panel.addEventListener("toggle", () => { if (panel.open) renderPanels(current()); });
  document.addEventListener("click", (event) => {
    const { map, place, array, step } = event.target.dataset ?? {};
    if (step !== undefined) goTo(Number(step));
    else if (map !== undefined) pick(Number(map), Number(place));
    else if (array === "x") pick(0, Number(place));
    else if (array !== undefined) {
      const net = current(), node = net.nodes.findIndex((L) => Object.keys(L.params).some((name) => arrayName(L, name) === array));
      pickWeight(node, array.split(".").pop(), Number(place));
    }
  });
  document.addEventListener("focusin", () => sheets.forEach((sheet) => sheet.draw()));
  const anew = () => { $("strip").dataset.key = ""; render(); };
  window.addEventListener("resize", anew);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", anew);
  if (DATA.tour.length) goTo(0);
  else {
    state.map = current().maps.length > 1 ? 1 : 0;
    render();
  }
}

start();
