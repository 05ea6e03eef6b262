// Arrays as Python wrote them, places in them, and how a number is shown.

/** An array from its base64 text: little-endian float64 or int32. */
function decoded({ type, data }) {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  return type === "f8" ? new Float64Array(bytes.buffer) : new Int32Array(bytes.buffer);
}

/** Replace what stands for an array, at any depth, by the array. */
function revived(value) {
  if (value === null || typeof value !== "object") return value;
  if (typeof value.data === "string") return decoded(value);
  if (Array.isArray(value)) return value.map(revived);
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, revived(each)]));
}

const product = (sizes) => sizes.reduce((a, b) => a * b, 1);

/** The place of element i of an array of this shape, in row-major order: [row, column, channel]. */
function placeOf(i, shape) {
  const place = [];
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    place.unshift(i % shape[axis]);
    i = Math.floor(i / shape[axis]);
  }
  return place;
}

/** Six digits, and no more than are needed; a minus sign that cannot be taken for a hyphen. */
function shown(value) {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (size < 1e-12) return "0";
  const text = size < 1e-4 || size >= 1e6 ? value.toExponential(5).replace(/\.?0+e/, "e") : String(Number(value.toPrecision(6)));
  return text.replaceAll("-", "−");
}

/** As few digits as a cell of this many pixels holds. */
function short(value, width) {
  const size = Math.abs(value), digits = width >= 44 && size >= 0.1 ? 3 : 2;
  if (size < 1e-12) return "0";
  if (size >= 1000 || size < 0.005) return value.toExponential(0).replace("e+", "e").replaceAll("-", "−");
  return String(Number(value.toPrecision(digits))).replace(/^(-?)0\./, "$1.").replaceAll("-", "−");
}

/** A number as a factor: in brackets if it is negative. */
const factor = (value) => (value < 0 ? `(${shown(value)})` : shown(value));

const escaped = (text) => text.replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);
