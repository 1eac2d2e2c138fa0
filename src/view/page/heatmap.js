// All weights of the view at once: cells painted on a canvas, labels and cross-hair drawn around them as SVG.

const HEATMAP_SIDE = 430;
const HEATMAP_LABEL = 11;
const COLUMN_ANGLE = -55;

// A canvas with values [rows, columns], one pixel a cell; `top` is the value with the deepest colour.
function paintedCells(rows, columns, values, top) {
  const canvas = document.createElement('canvas');
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext('2d');
  const image = context.createImageData(columns, rows);
  const scale = currentScale();
  values.forEach((value, cell) => {
    const colour = scale[Math.min(255, Math.round(255 * value / top))];
    image.data[4 * cell] = colour[0];
    image.data[4 * cell + 1] = colour[1];
    image.data[4 * cell + 2] = colour[2];
    image.data[4 * cell + 3] = 255;
  });
  context.putImageData(image, 0, 0);
  return canvas;
}

function heatmapLabel(unit) {
  return clipped(unit.short ?? unit.text, 14);
}

function widestLabel(units) {
  return units.reduce((most, unit) => Math.max(most, textWidth(heatmapLabel(unit), HEATMAP_LABEL)), 0);
}

class Heatmap {
  // context: {captions: {key, query}, stretch, label}
  constructor(view, width, context) {
    Object.assign(this, {view, context});
    const [rows, columns] = [view.rows.length, view.columns.length];
    this.left = 28 + widestLabel(view.rows);
    this.top = 30 + 0.82 * widestLabel(view.columns);
    const cellBeside = (right) => Math.min(26, (width - this.left - right) / columns, HEATMAP_SIDE / rows);
    this.right = this.overhang(cellBeside(0));
    this.cell = cellBeside(this.right);
    this.width = columns * this.cell;
    this.height = rows * this.cell;
    this.cursor = svgElement('g');
    const [w, h] = [this.left + this.width + this.right, this.top + this.height + 6];
    this.svg = svgElement('svg', {
      width: w, height: h, viewBox: `0 0 ${w} ${h}`, tabindex: 0, role: 'application',
      'aria-roledescription': 'heat map', 'aria-label': context.label,
    }, [...this.cells(), ...this.captions(), ...this.labels(), this.cursor]);
  }

  // How far slanted column labels reach beyond the last column.
  overhang(cell) {
    const count = this.view.columns.length;
    return this.view.columns.reduce((most, unit, column) => {
      const reach = 0.58 * textWidth(heatmapLabel(unit), HEATMAP_LABEL) + 10 - (count - column - 0.5) * cell;
      return Math.max(most, reach);
    }, 4);
  }

  cells() {
    const {view} = this;
    const top = this.context.stretch && view.largest > 0 ? view.largest : 1;
    const canvas = paintedCells(view.rows.length, view.columns.length, view.values, top);
    const box = {x: this.left, y: this.top, width: this.width, height: this.height};
    return [
      svgElement('image', {
        href: canvas.toDataURL(), ...box, preserveAspectRatio: 'none', 'image-rendering': 'pixelated'}),
      ...this.hatching(), ...this.lattice(),
      svgElement('rect', {...box, fill: 'none', stroke: themeColour('line')}),
    ];
  }

  // What a row cannot see is hatched: not allowed is not the same as not looked at.
  hatching() {
    const {view} = this;
    const path = view.rows.map((_, row) => {
      const from = view.columns.findIndex((__, column) => view.masked(row, column));
      if (from < 0) return '';
      return `M${this.x(from)} ${this.y(row)}H${this.left + this.width}V${this.y(row + 1)}H${this.x(from)}Z`;
    }).join('');
    if (path === '') return [];
    const stripe = svgElement('path', {d: 'M-1 5L5 -1M3 9L9 3', stroke: themeColour('hatch'), 'stroke-width': 1.2});
    const pattern = svgElement('pattern', {id: 'hatch', width: 8, height: 8, patternUnits: 'userSpaceOnUse'}, [
      svgElement('rect', {width: 8, height: 8, fill: themeColour('surface')}), stripe]);
    return [svgElement('defs', {}, [pattern]), svgElement('path', {d: path, fill: 'url(#hatch)'})];
  }

  lattice() {
    if (this.cell < 9) return [];
    const lines = [
      ...this.view.columns.map((_, column) => `M${this.x(column)} ${this.top}v${this.height}`),
      ...this.view.rows.map((_, row) => `M${this.left} ${this.y(row)}h${this.width}`),
    ];
    return [svgElement('path', {d: lines.join(''), stroke: themeColour('surface'), 'stroke-width': 1, fill: 'none'})];
  }

  x(column) {
    return this.left + column * this.cell;
  }

  y(row) {
    return this.top + row * this.cell;
  }

  captions() {
    const style = {'font-size': HEATMAP_LABEL, fill: themeColour('muted')};
    const middle = this.top + this.height / 2;
    return [
      svgLabel(`${this.context.captions.key} \u2192`, {x: this.left, y: 11, ...style}),
      svgLabel(`\u2190 ${this.context.captions.query}`, {
        x: 11, y: middle, transform: `rotate(-90 11 ${middle})`, 'text-anchor': 'middle', ...style}),
    ];
  }

  rowLabel(row, style) {
    return svgLabel(heatmapLabel(this.view.rows[row]), {
      x: this.left - 6, y: this.y(row + 0.5) + 4, 'text-anchor': 'end', 'font-size': HEATMAP_LABEL, ...style});
  }

  columnLabel(column, style) {
    const [x, y] = [this.x(column + 0.5) + 3, this.top - 5];
    return svgLabel(heatmapLabel(this.view.columns[column]), {
      x, y, transform: `rotate(${COLUMN_ANGLE} ${x} ${y})`, 'font-size': HEATMAP_LABEL, ...style});
  }

  // As many labels as there is room for.
  labels() {
    const step = Math.max(1, Math.ceil(11 / this.cell));
    const style = {fill: themeColour('muted')};
    const every = (units, label) => units.map((_, place) => place).filter((place) => place % step === 0).map(label);
    this.labelGroup = svgElement('g', {}, [
      ...every(this.view.rows, (row) => this.rowLabel(row, style)),
      ...every(this.view.columns, (column) => this.columnLabel(column, style)),
    ]);
    return [this.labelGroup];
  }

  // The cell under a pointer, or null.
  cellAt(event) {
    const box = this.svg.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left - this.left) / this.cell);
    const row = Math.floor((event.clientY - box.top - this.top) / this.cell);
    const inside = row >= 0 && row < this.view.rows.length && column >= 0 && column < this.view.columns.length;
    return inside ? {query: row, key: column} : null;
  }

  // focus: {query, key}, places or null.
  show(focus) {
    const marks = [];
    const line = {fill: 'none', stroke: themeColour('ink'), 'stroke-width': 1.5};
    const halo = {stroke: themeColour('surface'), 'stroke-width': 5, 'paint-order': 'stroke'};
    const strong = {fill: themeColour('ink'), 'font-weight': 600, ...halo};
    this.labelGroup.setAttribute('opacity', focus.query === null && focus.key === null ? 1 : 0.6);
    if (focus.query !== null) {
      const row = {x: this.left, y: this.y(focus.query), width: this.width, height: this.cell};
      marks.push(svgElement('rect', {...row, ...line}), this.rowLabel(focus.query, strong));
    }
    if (focus.key !== null) {
      const column = {x: this.x(focus.key), y: this.top, width: this.cell, height: this.height};
      marks.push(svgElement('rect', {...column, ...line}), this.columnLabel(focus.key, strong));
    }
    this.cursor.replaceChildren(...marks);
  }
}

// The colours from 0 to `top`, as a bar.
function paintLegend(canvas, top) {
  canvas.width = 256;
  canvas.height = 1;
  const values = Float32Array.from({length: 256}, (_, step) => step / 255 * top);
  canvas.getContext('2d').drawImage(paintedCells(1, 256, values, top), 0, 0);
}
