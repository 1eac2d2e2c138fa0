// The main figure: what is looked at above (or left), who looks below (or right), a curve for each weight between them.

const TOKEN_HEIGHT = 28;
const TOKEN_PADDING = 7;
const CAPTION = 20;   // room for the name of a lane
const NUMBERS = 18;   // room for weights beside a lane

function tokenText(unit) {
  return clipped(unit.text, 24);
}

function tokenWidth(unit, size) {
  return Math.max(14, textWidth(tokenText(unit), size)) + 2 * TOKEN_PADDING;
}

// Left edges of a lane's tokens when set side by side: pieces of a word touch, words keep `gap` between them.
function laneOffsets(units, size, gap) {
  let x = 0;
  const offsets = units.map((unit, place) => {
    if (place > 0) x += unit.begins ? gap : 1;
    const left = x;
    x += tokenWidth(unit, size);
    return left;
  });
  return {offsets, width: x};
}

// Tokens in two rows when both sentences fit the width, else null.
function horizontalLayout(view, width, size) {
  const gap = 9;
  const lanes = [view.columns, view.rows];
  const natural = lanes.map((units) => laneOffsets(units, size, gap).width);
  const widest = Math.max(...natural);
  if (widest > width) return null;
  const spread = Math.min(width, widest * 1.25);
  const height = 2 * (CAPTION + NUMBERS + TOKEN_HEIGHT) + 168;
  const boxes = lanes.map((units, lane) => {
    const gaps = units.filter((unit, place) => place > 0 && unit.begins).length;
    const extra = gaps > 0 ? Math.min(46, (spread - natural[lane]) / gaps) : 0;
    const line = laneOffsets(units, size, gap + extra);
    const y = lane === 0 ? CAPTION + NUMBERS : height - CAPTION - NUMBERS - TOKEN_HEIGHT;
    return line.offsets.map((x, place) => ({
      x: (width - line.width) / 2 + x, y, width: tokenWidth(units[place], size), height: TOKEN_HEIGHT}));
  });
  return {vertical: false, size, width, height, key: boxes[0], query: boxes[1]};
}

function verticalLayout(view, width) {
  const count = Math.max(view.rows.length, view.columns.length);
  const row = count <= 40 ? 26 : count <= 100 ? 21 : 17;
  const size = count <= 40 ? 14 : count <= 100 ? 13 : 11;
  const widest = (units) => units.reduce((most, unit) => Math.max(most, tokenWidth(unit, size)), 0);
  const side = 52;   // room for weights outside the lanes
  const lanes = Math.min(width, 760);
  const left = Math.max(side + widest(view.columns), (width - lanes) / 2 + lanes * 0.3);
  const right = Math.min(width - side - widest(view.rows), (width + lanes) / 2 - lanes * 0.3);
  const boxes = (units, place) => units.map((unit, i) => {
    const own = tokenWidth(unit, size);
    return {x: place(own), y: CAPTION + 8 + i * row, width: own, height: row - 3};
  });
  return {
    vertical: true, size, width, height: CAPTION + 12 + count * row,
    key: boxes(view.columns, (own) => left - own), query: boxes(view.rows, () => Math.max(right, left + 60)),
  };
}

function curve(layout, row, column) {
  const key = layout.key[column];
  const query = layout.query[row];
  if (layout.vertical) {
    const [x1, y1] = [key.x + key.width + 3, key.y + key.height / 2];
    const [x2, y2] = [query.x - 3, query.y + query.height / 2];
    const middle = (x1 + x2) / 2;
    return `M${x1.toFixed(1)} ${y1.toFixed(1)}C${middle.toFixed(1)} ${y1.toFixed(1)} ${middle.toFixed(1)} ` +
        `${y2.toFixed(1)} ${x2.toFixed(1)} ${y2.toFixed(1)}`;
  }
  const [x1, y1] = [key.x + key.width / 2, key.y + key.height + 3];
  const [x2, y2] = [query.x + query.width / 2, query.y - 3];
  const middle = (y1 + y2) / 2;
  return `M${x1.toFixed(1)} ${y1.toFixed(1)}C${x1.toFixed(1)} ${middle.toFixed(1)} ${x2.toFixed(1)} ` +
      `${middle.toFixed(1)} ${x2.toFixed(1)} ${y2.toFixed(1)}`;
}

// Draws a view and then, without drawing it anew, what is in focus.
class Figure {
  // context: {captions: {key, query}, share, stretch, label}
  constructor(view, width, fullWidth, context) {
    Object.assign(this, {view, context});
    this.layout = [15, 14, 13].reduce((layout, size) => layout ?? horizontalLayout(view, fullWidth, size), null) ??
        verticalLayout(view, width);
    this.ink = css(rgbOf(prefersDark() ? 0.8 : 0.9));
    this.strongest = view.strongest(context.share);
    this.allArcs = svgElement('g', {fill: 'none'}, this.strongest.arcs.map((arc) => this.arc(arc)));
    this.focusArcs = svgElement('g', {fill: 'none'});
    this.ties = {key: this.tiesOf('key', view.columns), query: this.tiesOf('query', view.rows)};
    this.tokens = {key: this.lane('key', view.columns), query: this.lane('query', view.rows)};
    const {width: w, height: h} = this.layout;
    const frame = {width: w, height: h, viewBox: `0 0 ${w} ${h}`, role: 'group', 'aria-label': context.label};
    this.svg = svgElement('svg', frame, [
      ...this.captions(), this.ties.key, this.ties.query, this.allArcs, this.focusArcs,
      ...this.tokens.key.map((token) => token.group), ...this.tokens.query.map((token) => token.group),
    ]);
  }

  // Opacity is the weight itself, or its part of the largest weight when colours are stretched.
  opacity(weight) {
    return Math.min(1, this.context.stretch && this.view.largest > 0 ? weight / this.view.largest : weight);
  }

  arc({row, column, weight}) {
    const opacity = this.opacity(weight);
    return svgElement('path', {
      d: curve(this.layout, row, column), stroke: this.ink, 'stroke-opacity': opacity.toFixed(3),
      'stroke-width': (1.2 + 2.8 * opacity).toFixed(2), 'stroke-linecap': 'round',
    });
  }

  captions() {
    const {width, height, vertical, key, query} = this.layout;
    const style = {'font-size': 12, fill: themeColour('muted')};
    const {captions} = this.context;
    if (vertical) {
      const keyEdge = Math.max(...key.map((box) => box.x + box.width)) - TOKEN_PADDING;
      const queryEdge = Math.min(query[0].x + TOKEN_PADDING, width - textWidth(captions.query, 12));
      return [svgLabel(captions.key, {x: keyEdge, y: 14, 'text-anchor': 'end', ...style}),
              svgLabel(captions.query, {x: queryEdge, y: 14, ...style})];
    }
    return [svgLabel(captions.key, {x: width / 2, y: 13, 'text-anchor': 'middle', ...style}),
            svgLabel(captions.query, {x: width / 2, y: height - 6, 'text-anchor': 'middle', ...style})];
  }

  // A thin line joins the pieces of one word.
  tiesOf(lane, units) {
    const words = wordGroups(units).filter((group) => group.length > 1);
    return svgElement('g', {stroke: themeColour('tie'), 'stroke-width': 1.5},
                      words.map((word) => this.tie(lane, word[0], word.at(-1))));
  }

  tie(lane, firstPlace, lastPlace) {
    const [first, last] = [this.layout[lane][firstPlace], this.layout[lane][lastPlace]];
    if (this.layout.vertical) {
      const x = lane === 'key' ? first.x + first.width + 0.5 : first.x - 0.5;
      return svgElement('line', {x1: x, y1: first.y + 3, x2: x, y2: last.y + last.height - 3});
    }
    const y = first.y + first.height - 2.5;
    return svgElement('line', {x1: first.x + TOKEN_PADDING, y1: y, x2: last.x + last.width - TOKEN_PADDING, y2: y});
  }

  lane(lane, units) {
    return units.map((unit, place) => this.token(lane, unit, place));
  }

  token(lane, unit, place) {
    const box = this.layout[lane][place];
    const shape = svgElement('rect', {...box, rx: 6});
    const text = svgLabel(tokenText(unit), {
      x: box.x + box.width / 2, y: box.y + box.height / 2, 'font-size': this.layout.size, 'text-anchor': 'middle',
      'dominant-baseline': 'central'});
    const number = svgLabel('', {...this.numberPlace(lane, box), 'font-size': 11, fill: themeColour('muted')});
    const group = svgElement('g', {
      class: 'token', role: 'button', tabindex: place === 0 ? 0 : -1, 'data-lane': lane, 'data-place': place,
      'aria-label': `${unit.text}, ${this.context.captions[lane]}, ${place + 1} of ${this.layout[lane].length}`,
    }, [shape, text, number]);
    return {group, shape, text, number, unit};
  }

  tokenAt({query, key}) {
    return query !== null ? this.tokens.query[query] : this.tokens.key[key];
  }

  numberPlace(lane, box) {
    if (this.layout.vertical) {
      return lane === 'key' ? {x: box.x - 6, y: box.y + box.height / 2 + 4, 'text-anchor': 'end'} :
                              {x: box.x + box.width + 6, y: box.y + box.height / 2 + 4};
    }
    return {x: box.x + box.width / 2, y: lane === 'key' ? box.y - 5 : box.y + box.height + 13, 'text-anchor': 'middle'};
  }

  // focus: {query, key}, places or null; both together name a cell.
  show(focus, lock) {
    const lane = focus.query !== null ? 'query' : focus.key !== null ? 'key' : null;
    this.allArcs.setAttribute('visibility', lane ? 'hidden' : 'visible');
    this.focusArcs.replaceChildren(...(lane ? this.arcsOf(lane, focus[lane]) : []));
    for (const side of ['key', 'query']) {
      this.ties[side].setAttribute('visibility', lane === null || side === lane ? 'visible' : 'hidden');
      this.tokens[side].forEach((token, place) => this.paint(token, side, place, focus, lane, lock));
    }
  }

  arcsOf(lane, place) {
    return this.view.ranking(lane, place).filter((entry) => entry.weight > 0).reverse().map(
        (entry) => this.arc(lane === 'query' ? {row: place, column: entry.place, weight: entry.weight} :
                                               {row: entry.place, column: place, weight: entry.weight}));
  }

  paint(token, side, place, focus, lane, lock) {
    const chosen = focus[side] === place;
    token.group.setAttribute('aria-pressed', lock[side] === place);
    if (lane === null || side === lane) {
      token.shape.setAttribute('fill', chosen ? themeColour('ink') : 'transparent');
      token.shape.setAttribute('stroke', 'none');
      token.text.setAttribute('fill', themeColour(chosen ? 'surface' : token.unit.special || lane ? 'muted' : 'ink'));
      token.number.textContent = '';
      return;
    }
    const [row, column] = side === 'key' ? [focus.query, place] : [place, focus.key];
    const colour = rgbOf(this.opacity(this.view.at(row, column)));
    const hidden = this.view.masked(row, column);
    token.shape.setAttribute('fill', hidden ? 'transparent' : css(colour));
    token.shape.setAttribute('stroke', chosen ? themeColour('ink') : 'none');
    token.shape.setAttribute('stroke-width', 2);
    token.text.setAttribute('fill', hidden ? themeColour('faint') : inkOn(colour));
    token.number.textContent = hidden || this.view.at(row, column) < 0.005 ? '' : this.view.at(row, column).toFixed(2);
  }
}
