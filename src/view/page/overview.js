// Every layer and head of one kind of attention at a glance, each named by what it was measured to do.

// What the measured patterns mean, for people.
function patternMeaning(name, kind) {
  const here = kind === 'decoder' ? 'the piece just read' : 'itself';
  return {
    previous: `looks one piece before ${here}`,
    same: `looks at ${here}`,
    next: 'looks at the next piece',
    first: 'looks at the first piece, whatever it is: a resting place (\u201csink\u201d)',
    last: 'looks at the last piece, whatever it is: a resting place (\u201csink\u201d)',
    broad: 'spreads over all pieces',
    aligned: 'each target piece looks at one source piece, and different ones',
    mixed: 'no single pattern takes 40 % of the attention',
  }[name];
}

// Rows and columns that an arrow key moves by.
const ARROWS = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]};

function headName(head) {
  return head === MEAN ? 'mean' : `head ${head + 1}`;
}

function percent(share) {
  return `${(100 * share).toFixed(share >= 0.9995 || share === 0 ? 0 : 1)} %`;
}

class Overview {
  // select({layer, head}) is called when a thumbnail is chosen.
  constructor(sentence, kind, select) {
    Object.assign(this, {sentence, kind, select});
    this.layers = sentence.layers(kind);
    this.heads = [MEAN, ...Array(Math.max(...this.layers.map((layer) => sentence.map(kind, layer).heads))).keys()];
    this.cells = new Map();
    this.element = document.createElement('div');
    this.element.className = 'heads';
    this.element.setAttribute('role', 'grid');
    this.element.setAttribute('aria-label', 'Layers and heads');
    this.element.style.setProperty('--columns', this.heads.length);
    this.element.append(this.header(), ...this.layers.map((layer) => this.row(layer)));
    this.element.addEventListener('keydown', (event) => this.move(event));
  }

  line(children) {
    const line = document.createElement('div');
    line.setAttribute('role', 'row');
    line.append(...children);
    return line;
  }

  caption(text, role) {
    const caption = document.createElement('span');
    caption.setAttribute('role', role);
    caption.textContent = text;
    return caption;
  }

  header() {
    return this.line([this.caption('', 'columnheader'),
                      ...this.heads.map((head) => this.caption(headName(head), 'columnheader'))]);
  }

  row(layer) {
    const map = this.sentence.map(this.kind, layer);
    const cells = this.heads.filter((head) => head === MEAN || head < map.heads).map((head) => this.cell(map, head));
    return this.line([this.caption(`layer ${layer + 1}`, 'rowheader'), ...cells]);
  }

  cell(map, head) {
    const {name, score} = map.patternsOf(head);
    const button = document.createElement('button');
    button.type = 'button';
    button.title = `${name} ${score.toFixed(2)}: ${patternMeaning(name, this.kind)}`;
    button.setAttribute('aria-label', `layer ${map.layer + 1}, ${headName(head)}: ${button.title}`);
    const caption = document.createElement('span');
    caption.textContent = name;
    const number = document.createElement('b');
    number.textContent = score.toFixed(2);
    button.append(this.thumbnail(map, head), caption, number);
    button.addEventListener('click', () => this.select({layer: map.layer, head}));
    this.cells.set(`${map.layer} ${head}`, button);
    const cell = document.createElement('div');
    cell.setAttribute('role', 'gridcell');
    cell.append(button);
    return cell;
  }

  // Scaled to the head's own largest weight, so that its shape is seen.
  thumbnail(map, head) {
    const weights = map.weights(head);
    const largest = weights.reduce((most, weight) => Math.max(most, weight), 0);
    const canvas = paintedCells(map.rows, map.columns, weights, largest || 1);
    canvas.setAttribute('aria-hidden', 'true');
    return canvas;
  }

  show(layer, head) {
    for (const [place, button] of this.cells) {
      const chosen = place === `${layer} ${head}`;
      button.setAttribute('aria-pressed', chosen);
      button.tabIndex = chosen ? 0 : -1;
    }
  }

  // Arrow keys walk over the grid; Enter chooses, as on any button.
  move(event) {
    const step = ARROWS[event.key];
    if (!step) return;
    const [place] = [...this.cells].find(([, button]) => button === document.activeElement) ?? [];
    if (place === undefined) return;
    const [layer, head] = place.split(' ');
    const row = this.layers.indexOf(Number(layer)) + step[0];
    const column = this.heads.findIndex((entry) => String(entry) === head) + step[1];
    this.cells.get(`${this.layers[row]} ${this.heads[column]}`)?.focus();
    event.preventDefault();
    event.stopPropagation();
  }
}
