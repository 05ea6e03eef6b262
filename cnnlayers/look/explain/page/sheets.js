// Maps of numbers as pictures that can be walked through: blue above 0, orange below.

const GAP = 6, LARGEST = 46;

/** How an array of this shape lies on a sheet: tiles of rows and columns. `at` gives the element at a place, or null. */
function layoutOf(shape) {
  if (shape.length === 3) {
    const [rows, columns, tiles] = shape;
    return { tiles, rows, columns, at: (t, r, c) => (r * columns + c) * tiles + t, place: (i) => [i % tiles, Math.floor(i / tiles / columns), Math.floor(i / tiles) % columns] };
  }
  if (shape.length === 2) {
    const [columns, rows] = shape;  // a signal: a row for each channel
    return { tiles: 1, rows, columns, at: (t, r, c) => c * rows + r, place: (i) => [0, i % rows, Math.floor(i / rows)] };
  }
  const size = product(shape), columns = Math.min(size, size <= 12 ? 12 : Math.max(8, Math.ceil(Math.sqrt(size))));
  const rows = Math.ceil(size / columns);
  return { tiles: 1, rows, columns, at: (t, r, c) => (r * columns + c < size ? r * columns + c : null), place: (i) => [0, Math.floor(i / columns), i % columns] };
}

/** A matrix, as it is written. */
const matrixLayout = (rows, columns) => ({ tiles: 1, rows, columns, at: (t, r, c) => r * columns + c, place: (i) => [0, Math.floor(i / columns), i % columns] });

/** The largest cells with which the tiles fit: how many tiles stand side by side, and the size of a cell. */
function fitted({ tiles, rows, columns }, width, height) {
  let best = { across: 1, cell: 0 };
  for (let across = 1; across <= tiles; across++) {
    const down = Math.ceil(tiles / across);
    const cell = Math.min(LARGEST, (width - (across - 1) * GAP) / (across * columns), (height - (down - 1) * GAP) / (down * rows));
    if (cell > best.cell) best = { across, cell };
  }
  return { across: best.across, cell: best.cell >= 4 ? Math.floor(best.cell) : Math.max(best.cell, 0.5) };
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** A canvas with a map on it. Options: label, width, height, pick(i), tell(i). */
class Sheet {
  constructor(host, options) {
    this.options = options;
    this.canvas = document.createElement("canvas");
    this.canvas.className = "sheet";
    host.append(this.canvas);
    if (!options.pick) return;
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "application");
    this.canvas.setAttribute("aria-roledescription", "map of numbers");
    this.canvas.addEventListener("click", (event) => { const i = this.under(event); if (i !== null) options.pick(i); });
    this.canvas.addEventListener("mousemove", (event) => { const i = this.under(event); if (i !== null) options.tell(i); });
    this.canvas.addEventListener("keydown", (event) => this.key(event));
  }

  /** Draw numbers: `layout`, `values(i)`, `marks` (a Map from i to "picked" or "read"), `label`. */
  show({ layout, values, marks = new Map(), label }) {
    Object.assign(this, { layout, values, marks });
    const { across, cell } = fitted(layout, this.options.width(), this.options.height), scale = window.devicePixelRatio || 1;
    Object.assign(this, { across, cell });
    const wide = across * layout.columns * cell + (across - 1) * GAP;
    const high = Math.ceil(layout.tiles / across) * (layout.rows * cell + GAP) - GAP;
    this.canvas.width = Math.ceil(wide * scale) + 4 * scale;
    this.canvas.height = Math.ceil(high * scale) + 4 * scale;
    this.canvas.style.width = `${Math.ceil(wide) + 4}px`;
    this.canvas.style.height = `${Math.ceil(high) + 4}px`;
    this.canvas.setAttribute("aria-label", `${label}. Arrow keys walk through it${layout.tiles > 1 ? ", Page Up and Page Down through its channels" : ""}, Enter picks.`);
    const picked = [...marks].find(([, mark]) => mark === "picked");
    if (this.cursor === undefined || picked) this.cursor = picked ? picked[0] : 0;
    this.draw(scale);
  }

  draw(scale = window.devicePixelRatio || 1) {
    const pen = this.canvas.getContext("2d"), { layout, cell } = this;
    const [blue, orange, paper, ink, rule, purple] = ["blue", "orange", "paper", "ink", "rule", "purple"].map(colour);
    let most = 1e-30;
    this.each((i) => { const size = Math.abs(this.values(i)); if (size > most && size < Infinity) most = size; });
    pen.setTransform(scale, 0, 0, scale, 2 * scale, 2 * scale);
    pen.clearRect(-2, -2, this.canvas.width, this.canvas.height);
    pen.font = `${Math.min(13, Math.floor(cell * 0.34))}px ${colour("mono")}`;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    this.each((i, x, y) => {
      const value = this.values(i), share = Math.min(1, Math.abs(value) / most), lined = cell >= 7 ? 1 : 0;
      pen.fillStyle = paper;
      pen.fillRect(x, y, cell, cell);
      pen.globalAlpha = 0.9 * share;
      pen.fillStyle = value > 0 ? blue : orange;
      pen.fillRect(x, y, cell - lined, cell - lined);
      pen.globalAlpha = 1;
      if (lined) {
        pen.strokeStyle = rule;
        pen.lineWidth = 1;
        pen.strokeRect(x - 0.5, y - 0.5, cell, cell);
      }
      if (cell >= 30) {
        pen.fillStyle = share > 0.62 ? paper : ink;
        pen.fillText(short(value, cell), x + cell / 2 - 0.5, y + cell / 2);
      }
    });
    if (cell < 7) {  // no lines between cells: at least one round each tile
      pen.strokeStyle = rule;
      pen.lineWidth = 1;
      for (let t = 0; t < layout.tiles; t++) {
        const [left, top] = this.corner(t);
        pen.strokeRect(left - 0.5, top - 0.5, layout.columns * cell + 1, layout.rows * cell + 1);
      }
    }
    const outlined = (mark, stroke, thick) => this.each((i, x, y) => {
      if (this.marks.get(i) !== mark) return;
      pen.strokeStyle = stroke;
      pen.lineWidth = thick;
      const size = Math.max(cell - 1, 3);
      pen.strokeRect(x + thick / 2 - 1, y + thick / 2 - 1, size - thick + 2, size - thick + 2);
    });
    outlined("read", purple, cell >= 12 ? 2 : 1);
    outlined("picked", ink, cell >= 12 ? 3 : 2);
    if (document.activeElement === this.canvas) {
      this.each((i, x, y) => {
        if (i !== this.cursor) return;
        pen.strokeStyle = ink;
        pen.lineWidth = 1;
        pen.setLineDash([3, 2]);
        pen.strokeRect(x - 1.5, y - 1.5, cell + 2, cell + 2);
        pen.setLineDash([]);
      });
    }
  }

  /** Where a tile begins. */
  corner(t) {
    const { rows, columns } = this.layout, { across, cell } = this;
    return [(t % across) * (columns * cell + GAP), Math.floor(t / across) * (rows * cell + GAP)];
  }

  /** Call see(i, x, y) for each element and where its cell is. */
  each(see) {
    const { tiles, rows, columns, at } = this.layout, { cell } = this;
    for (let t = 0; t < tiles; t++) {
      const [left, top] = this.corner(t);
      for (let r = 0; r < rows; r++) {
        for (let c = 0; c < columns; c++) {
          const i = at(t, r, c);
          if (i !== null) see(i, left + c * cell, top + r * cell);
        }
      }
    }
  }

  under(event) {
    const box = this.canvas.getBoundingClientRect(), x = event.clientX - box.left - 2, y = event.clientY - box.top - 2;
    const { tiles, rows, columns, at } = this.layout, { across, cell } = this;
    const right = columns * cell + GAP, down = rows * cell + GAP;
    const t = Math.floor(y / down) * across + Math.floor(x / right);
    const r = Math.floor((y % down) / cell), c = Math.floor((x % right) / cell);
    return x >= 0 && y >= 0 && t >= 0 && t < tiles && r < rows && c < columns ? at(t, r, c) : null;
  }

  key(event) {
    const { tiles, rows, columns, at, place } = this.layout, [t, r, c] = place(this.cursor);
    const moves = { ArrowLeft: [t, r, c - 1], ArrowRight: [t, r, c + 1], ArrowUp: [t, r - 1, c], ArrowDown: [t, r + 1, c], PageUp: [t - 1, r, c], PageDown: [t + 1, r, c] };
    if (event.key === "Enter" || event.key === " ") {
      this.options.pick(this.cursor);
    } else if (event.key in moves) {
      const [tile, row, column] = moves[event.key];
      if (tile < 0 || tile >= tiles || row < 0 || row >= rows || column < 0 || column >= columns) return event.preventDefault();
      const to = at(tile, row, column);
      if (to !== null) {
        this.cursor = to;
        this.options.tell(to);
        this.draw();
      }
    } else {
      return undefined;
    }
    return event.preventDefault();
  }
}
